// RdmaMover: requests of peers. See joining.cc for the whole of it.

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "mover/clock.h"
#include "rdma/connecting.h"
#include "rdma/rdma_mover.h"

namespace sluice::rdma {

void RdmaMover::handle_request(rdma_cm_id* id, Bytes private_data) {
  id->context = nullptr;
  Introduction asked;
  const bool taken =
      parse(private_data, asked) &&
      (asked.role == Role::control ? accept_control(id, asked) : accept_data(id, asked));
  if (taken) return;
  ++counts_.refused;
  verbs_->reject(id, nullptr, 0);
  verbs_->destroy_id(id);
}

bool RdmaMover::accept_control(rdma_cm_id* id, const Introduction& asked) {
  const uint32_t slot = links_free_.take();
  if (slot == IndexPool::none) return false;
  Link& link = links_[slot];
  const char* why = "";
  Device* const device = device_of(id->verbs, why);
  if (device == nullptr || getrandom(link.token.data(), link.token.size(), 0) !=
                               static_cast<ssize_t>(link.token.size())) {
    free_link(slot);
    return false;
  }
  link.state = Link::State::joining;
  link.serial = serial_next_++;
  link.deadline = mover::now() + options_.dial_patience;
  ++timed_;
  set_timer(true);
  link.lanes = std::min<uint32_t>(asked.lanes, options_.lanes);
  link.write_bytes_max =
      std::min({asked.write_bytes_max, options_.arena.chunk_bytes, device->message_bytes_max()});
  const sockaddr* const peer = rdma_get_peer_addr(id);
  link.peer.length = sizeof link.peer.storage;
  std::memcpy(&link.peer.storage, peer,
              peer->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
  link.control = make_pair(slot, Role::control, control_lane);
  link.control->id = id;
  id->context = link.control.get();
  const auto introduction = emit({.role = Role::control,
                                  .lanes = static_cast<uint8_t>(link.lanes),
                                  .token = link.token,
                                  .write_bytes_max = link.write_bytes_max});
  set_ack_timeout(*verbs_, id);
  rdma_conn_param parameters = parameters_of(introduction);
  if (prepare(slot, *link.control, why) && verbs_->accept(id, &parameters) == 0) return true;
  note(fmt::format("replication, RDMA: {} cannot be accepted: {}", link.peer.text(), why));
  link.control->id = nullptr;  // the caller rejects it
  if (link.control->pair != nullptr) verbs_->destroy_qp(id);
  link.control->pair = nullptr;
  --timed_;
  free_link(slot);
  return false;
}

bool RdmaMover::accept_data(rdma_cm_id* id, const Introduction& asked) {
  for (uint32_t slot = 0; slot < links_.size(); ++slot) {
    Link& link = links_[slot];
    if (link.state != Link::State::joining || link.dialled || link.token != asked.token) continue;
    if (asked.lanes != link.lanes || link.data[asked.lane] != nullptr) return false;
    const auto introduction = emit({.role = Role::data,
                                    .lane = asked.lane,
                                    .lanes = asked.lanes,
                                    .token = link.token,
                                    .write_bytes_max = link.write_bytes_max});
    auto made = make_pair(slot, Role::data, asked.lane);
    made->id = id;
    set_ack_timeout(*verbs_, id);
    rdma_conn_param parameters = parameters_of(introduction);
    const char* why = "";
    if (!prepare(slot, *made, why) || verbs_->accept(id, &parameters) != 0) {
      if (made->pair != nullptr) verbs_->destroy_qp(id);
      return false;
    }
    id->context = made.get();
    link.data[asked.lane] = std::move(made);
    return true;
  }
  return false;
}

}  // namespace sluice::rdma
