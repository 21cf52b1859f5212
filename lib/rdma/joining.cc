// RdmaMover: from an address, or from a request, to a link that is up. rdma_cm(7) has the steps.
//
//   dialler                                            acceptor
//     resolve address, route; connect{control}     ->
//                                                  <-  accept{lanes, token}     a link is taken
//     each lane: resolve, connect{data, token}     ->
//                                                  <-  accept
//     all established: up                              all established: up

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mover/clock.h"
#include "rdma/connecting.h"
#include "rdma/rdma_mover.h"

namespace sluice::rdma {
namespace {

constexpr int resolve_ms_max = 2'000;
// InfiniBand specification, table 109 (REJ reasons); rdma_cm gives them as the event's status.
constexpr int rejected_no_service = 8;
constexpr int rejected_by_consumer = 28;

const char* why_rejected(int status) {
  switch (status) {
    case rejected_no_service:
      return "nothing listens there for RDMA: is sluiced running with --replica-listen, and does "
             "it "
             "use RDMA?";
    case rejected_by_consumer:
      return "it refused: another version of sluice, another device, or no room for another link";
    default:
      return "its RDMA device refused the connection";
  }
}

const char* why_no_address(int error) {
  switch (error) {
    case ENODEV:
      return "the IP route to that address is over no RDMA device";
    case EADDRNOTAVAIL:
      return "the local address is not on an RDMA device";
    case ETIMEDOUT:
    case EHOSTUNREACH:
      return "no answer to ARP or neighbour discovery for that address";
    case ENETUNREACH:
      return "no way to that address: see ip route get";
    default:
      return "the address cannot be resolved to an RDMA device";
  }
}

}  // namespace

// --------------------------------------------------------------------------------------- dialling

std::unique_ptr<QueuePair> RdmaMover::make_pair(uint32_t slot, Role role, uint8_t lane) const {
  auto out = std::make_unique<QueuePair>();
  out->link = slot;
  out->role = role;
  out->lane = lane;
  return out;
}

void RdmaMover::look_up(uint32_t slot) {
  Link& link = links_[slot];
  switch (link.lookup->poll()) {
    case mover::Lookup::State::pending:
      return;
    case mover::Lookup::State::failed:
      fail_link(slot, link.lookup->why());
      return;
    case mover::Lookup::State::found:
      link.state = Link::State::dialling;
      dial_next_address(slot, "the name has no address");
      return;
  }
}

/// `why`: what became of the address before.
void RdmaMover::dial_next_address(uint32_t slot, const char* why) {
  Link& link = links_[slot];
  destroy(link);
  const auto& addresses = link.lookup->addresses();
  while (link.address_next < addresses.size()) {
    link.peer = addresses[link.address_next++];
    link.control = make_pair(slot, Role::control, control_lane);
    if (start_resolving(slot, *link.control)) return;
    why = why_no_address(errno);
    destroy(link);
  }
  fail_link(slot, why);
}

bool RdmaMover::start_resolving(uint32_t slot, QueuePair& pair) {
  if (verbs_->create_id(channel_, &pair.id, &pair, RDMA_PS_TCP) != 0) return false;
  set_ack_timeout(*verbs_, pair.id);
  mover::SocketAddress source;
  if (!options_.local.empty()) {
    if (const auto local = mover::local_address(options_.local)) source = *local;
  }
  return verbs_->resolve_addr(pair.id, source.length > 0 ? source.get() : nullptr,
                              links_[slot].peer.get(), resolve_ms_max) == 0;
}

void RdmaMover::handle_resolved(QueuePair& pair) {
  const char* why = "";
  Link& link = links_[pair.link];
  Device* const device = device_of(pair.id->verbs, why);
  if (device == nullptr || (link.device != nullptr && link.device != device)) {
    fail_link(pair.link, why);
    return;
  }
  link.device = device;
  if (verbs_->resolve_route(pair.id, resolve_ms_max) != 0) {
    fail_link(pair.link, "no RDMA route to that address");
  }
}

void RdmaMover::handle_routed(QueuePair& pair) {
  Link& link = links_[pair.link];
  const char* why = "";
  const bool is_control = pair.role == Role::control;
  if (is_control) link.lanes = options_.lanes;  // to begin with
  if (!prepare(pair.link, pair, why)) {
    fail_link(pair.link, why);
    return;
  }
  const auto introduction = emit(
      {.role = pair.role,
       .lane = is_control ? uint8_t{0} : pair.lane,
       .lanes = static_cast<uint8_t>(link.lanes),
       .token = link.token,
       .write_bytes_max = std::min(options_.arena.chunk_bytes, link.device->message_bytes_max())});
  rdma_conn_param parameters = parameters_of(introduction);
  if (verbs_->connect(pair.id, &parameters) != 0) {
    fail_link(pair.link, "the RDMA device refused to connect");
  }
}

// -------------------------------------------------------------------------------- both directions

bool RdmaMover::prepare_link(uint32_t slot, Device& device, const char*& why) {
  Link& link = links_[slot];
  if (link.completions != nullptr) return true;
  link.device = &device;
  why = "the RDMA device has no completion queue left";
  const uint32_t entries = 2 * frame_slots + options_.lanes * (lane_requests + landings);
  // The slot's number, told with each event. NOLINTNEXTLINE(performance-no-int-to-ptr)
  void* const told = reinterpret_cast<void*>(uintptr_t{slot});
  link.completions =
      verbs_->create_cq(device.context(), static_cast<int>(entries), told, device.completions(), 0);
  if (link.completions == nullptr || ibv_req_notify_cq(link.completions, 0) != 0) return false;
  link.frames.resize(size_t{2} * frame_slots * replica::frame_bytes);
  link.frames_free = IndexPool(frame_slots);
  why = "no memory can be registered for frames: see the limit of locked memory";
  link.frames_region = verbs_->reg_mr(device.domain(), link.frames.data(), link.frames.size(),
                                      IBV_ACCESS_LOCAL_WRITE);
  return link.frames_region != nullptr;
}

bool RdmaMover::prepare(uint32_t slot, QueuePair& pair, const char*& why) {
  Link& link = links_[slot];
  Device* const device = device_of(pair.id->verbs, why);
  if (device == nullptr || !prepare_link(slot, *device, why)) return false;
  why = "the data queue pairs would be on another RDMA device";
  if (link.device != device) return false;
  const bool is_control = pair.role == Role::control;
  ibv_qp_init_attr attributes{};
  attributes.qp_type = IBV_QPT_RC;
  attributes.send_cq = attributes.recv_cq = link.completions;
  attributes.cap.max_send_wr = is_control ? frame_slots : lane_requests;
  attributes.cap.max_recv_wr = is_control ? frame_slots : landings;
  attributes.cap.max_send_sge = 1;
  attributes.cap.max_recv_sge = 1;
  why = "the RDMA device has no queue pair left, or not of that size";
  if (verbs_->create_qp(pair.id, device->domain(), &attributes) != 0) return false;
  pair.pair = pair.id->qp;
  why = "the RDMA device takes no receives";
  return post_receives(link, pair);
}

bool RdmaMover::post_receives(Link& link, QueuePair& pair) {
  if (pair.role == Role::control) {
    for (uint32_t i = 0; i < frame_slots; ++i) {
      if (!post_frame_in(link, i)) return false;
    }
    return true;
  }
  for (uint32_t i = 0; i < landings; ++i) {
    if (!post_landing(pair)) return false;
  }
  return true;
}

void RdmaMover::handle_established(QueuePair& pair, Bytes private_data) {
  const uint32_t slot = pair.link;
  Link& link = links_[slot];
  pair.established = true;
  if (!link.dialled) {
    join(slot, pair);
    return;
  }
  Introduction answer;
  const bool good = parse(private_data, answer) && answer.role == pair.role &&
                    answer.lanes <= options_.lanes &&
                    (pair.role == Role::control || answer.token == link.token);
  if (!good) {
    fail_link(slot, "what answers there is no sluice of this version");
    return;
  }
  if (pair.role == Role::control) {
    link.state = Link::State::joining;
    link.lanes = answer.lanes;
    link.token = answer.token;
    link.write_bytes_max = std::min(
        {answer.write_bytes_max, options_.arena.chunk_bytes, link.device->message_bytes_max()});
    for (uint32_t lane = 0; lane < link.lanes; ++lane) {
      link.data[lane] = make_pair(slot, Role::data, static_cast<uint8_t>(lane));
      if (start_resolving(slot, *link.data[lane])) continue;
      fail_link(slot, why_no_address(errno));
      return;
    }
  }
  join(slot, pair);
}

// One more queue pair is established; the last one brings the link up.
void RdmaMover::join(uint32_t slot, QueuePair& pair) {
  Link& link = links_[slot];
  if (pair.role == Role::data) ++link.joined;
  if (!link.control->established || link.joined < link.lanes) return;
  --timed_;
  link.state = Link::State::up;
  link.lookup.reset();
  ++counts_.links_up;
  if (!link.dialled) ++counts_.accepted;
  // What came before this was told is in the completion queue already.
  link.active = true;
  active_.push_back(slot);
  tell({.kind = Waiting::Kind::up, .slot = slot, .serial = link.serial});
}

// ------------------------------------------------------------------------------------- events

void RdmaMover::handle_cm_events() {
  constexpr uint32_t events_a_turn = 64;
  for (uint32_t i = 0; i < events_a_turn; ++i) {
    rdma_cm_event* event = nullptr;
    if (verbs_->get_cm_event(channel_, &event) != 0) return;
    const rdma_cm_event_type kind = event->event;
    const int status = event->status;
    rdma_cm_id* const id = event->id;
    rdma_cm_id* const listener = event->listen_id;
    std::array<std::byte, 256> copy{};
    size_t length = 0;
    if (kind == RDMA_CM_EVENT_CONNECT_REQUEST || kind == RDMA_CM_EVENT_ESTABLISHED) {
      const rdma_conn_param& parameters = event->param.conn;
      if (parameters.private_data != nullptr) {
        length = std::min<size_t>(parameters.private_data_len, copy.size());
        std::memcpy(copy.data(), parameters.private_data, length);
      }
    }
    // An identifier cannot be destroyed while an event of it is not acknowledged.
    verbs_->ack_cm_event(event);
    handle_cm_event(kind, status, id, listener, Bytes(copy).first(length));
  }
}

void RdmaMover::handle_cm_event(rdma_cm_event_type kind, int status, rdma_cm_id* id,
                                rdma_cm_id* listener, Bytes private_data) {
  static_cast<void>(listener);
  if (kind == RDMA_CM_EVENT_CONNECT_REQUEST) {
    handle_request(id, private_data);
    return;
  }
  if (kind == RDMA_CM_EVENT_DEVICE_REMOVAL) {
    note_gone(id->verbs);
    return;
  }
  auto* const pair = static_cast<QueuePair*>(id->context);
  if (pair == nullptr) return;  // the listener's
  switch (kind) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      handle_resolved(*pair);
      break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      handle_routed(*pair);
      break;
    case RDMA_CM_EVENT_ESTABLISHED:
      handle_established(*pair, private_data);
      break;
    case RDMA_CM_EVENT_DISCONNECTED: {
      Link& link = links_[pair->link];
      link.peer_left = true;
      if (link.state == Link::State::up || link.state == Link::State::closing) {
        start_draining(pair->link);
      } else if (link.state == Link::State::joining || link.state == Link::State::dialling) {
        fail_link(pair->link, "it closed the connection at once");
      }
      break;
    }
    case RDMA_CM_EVENT_ADDR_CHANGE:
      end_link(pair->link, replica::LinkEnd::device_error,
               "the address moved to another device (bonding?)");
      break;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_REJECTED:
      handle_failed(*pair, kind, status);
      break;
    default:
      break;  // TIMEWAIT_EXIT and multicast
  }
}

void RdmaMover::handle_failed(QueuePair& pair, rdma_cm_event_type kind, int status) {
  const char* why = "";
  switch (kind) {
    case RDMA_CM_EVENT_ADDR_ERROR:
      why = why_no_address(-status);
      break;
    case RDMA_CM_EVENT_ROUTE_ERROR:
      why = "no RDMA route to that address";
      break;
    case RDMA_CM_EVENT_REJECTED:
      why = why_rejected(status);
      break;
    default:
      why = "no answer over RDMA: is sluiced running there, and UDP port 4791 open?";
  }
  const Link& link = links_[pair.link];
  if (link.state == Link::State::dialling) {
    dial_next_address(pair.link, why);
  } else {
    end_link(pair.link, replica::LinkEnd::unreachable, why);
  }
}

}  // namespace sluice::rdma
