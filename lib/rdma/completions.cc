// RdmaMover: what completed. A completion with success is told; the first error that is not a flush
// says why the link ends.

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "rdma/rdma_mover.h"

namespace sluice::rdma {
namespace {

using replica::LinkEnd;

constexpr int completions_at_once = 32;
constexpr uint32_t completions_a_turn = 256;

LinkEnd end_of(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return LinkEnd::unreachable;
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return LinkEnd::receiver_not_ready;
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
    case IBV_WC_LOC_PROT_ERR:
      return LinkEnd::protection_error;
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_LOC_LEN_ERR:
      return LinkEnd::malformed;
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_ABORT_ERR:
      return LinkEnd::closed_by_peer;
    default:
      return LinkEnd::device_error;
  }
}

const char* cure_of(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return ": the peer is gone, or the network loses packets: look at PFC or ECN on the "
             "switches, "
             "the MTU at both ends, UDP port 4791; sluiced check shows the device's counters";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return ": the peer posted no receive: it stands still, or more was sent than it allows";
    case IBV_WC_REM_ACCESS_ERR:
      return ": the peer's key was wrong or revoked, or the peer died";
    case IBV_WC_MW_BIND_ERR:
      return ": memory regions will be used for grants from now on";
    default:
      return "";
  }
}

const char* name_of(Request kind) {
  switch (kind) {
    case Request::frame_out:
      return "a frame sent";
    case Request::frame_in:
      return "a frame's receive";
    case Request::write:
      return "a write";
    case Request::landing:
      return "a landing's receive";
    case Request::bind:
      return "the binding of a memory window";
    case Request::invalidate:
      return "the invalidation of a memory window";
  }
  return "?";
}

}  // namespace

bool RdmaMover::post_landing(QueuePair& pair) {
  // No bytes: the write has its own place, this takes the immediate.
  ibv_recv_wr request{};
  request.wr_id = request_id(Request::landing, pair.lane, 0);
  ibv_recv_wr* bad = nullptr;
  if (ibv_post_recv(pair.pair, &request, &bad) != 0) return false;
  ++pair.receives;
  return true;
}

bool RdmaMover::post_frame_in(Link& link, uint32_t number) {
  std::byte* const to = &link.frames[size_t{frame_slots + number} * replica::frame_bytes];
  ibv_sge part{.addr = reinterpret_cast<uint64_t>(to),
               .length = replica::frame_bytes,
               .lkey = link.frames_region->lkey};
  ibv_recv_wr request{};
  request.wr_id = request_id(Request::frame_in, control_lane, number);
  request.sg_list = &part;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  if (ibv_post_recv(link.control->pair, &request, &bad) != 0) return false;
  ++link.control->receives;
  return true;
}

// Which links have completions: until they have none again, they are looked at in every turn.
void RdmaMover::handle_completion_events(Device& device) {
  constexpr uint32_t events_a_turn = 64;
  for (uint32_t i = 0; i < events_a_turn; ++i) {
    ibv_cq* queue = nullptr;
    void* context = nullptr;
    if (verbs_->get_cq_event(device.completions(), &queue, &context) != 0) return;
    const auto slot = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(context));
    Link& link = links_[slot];
    ASSERT(link.completions == queue);
    ++link.events_unacked;
    const bool looks = link.state == Link::State::up || link.state == Link::State::closing ||
                       link.state == Link::State::draining;
    if (link.active || !looks) continue;  // join() looks itself
    link.active = true;
    active_.push_back(slot);
  }
}

void RdmaMover::reap(uint32_t slot) {
  Link& link = links_[slot];
  std::array<ibv_wc, completions_at_once> list;
  uint32_t seen = 0;
  bool armed = false;
  while (seen < completions_a_turn) {
    const int count = ibv_poll_cq(link.completions, completions_at_once, list.data());
    if (count > 0) {
      for (int i = 0; i < count; ++i) handle(slot, list[static_cast<size_t>(i)]);
      seen += static_cast<uint32_t>(count);
      continue;
    }
    if (armed || count < 0) break;
    // Once more after arming: what came in between makes no event.
    armed = ibv_req_notify_cq(link.completions, 0) == 0;
    if (!armed) break;
  }
  if (link.state == Link::State::draining && is_drained(link)) {
    finish_end(slot);
    return;
  }
  if (!armed || seen >= completions_a_turn) return;
  link.active = false;
  active_.erase(std::find(active_.begin(), active_.end(), slot));
}

void RdmaMover::handle(uint32_t slot, const ibv_wc& completion) {
  Link& link = links_[slot];
  const auto kind = static_cast<Request>(completion.wr_id >> 56);
  const auto lane = static_cast<uint8_t>(completion.wr_id >> 48);
  const auto number = static_cast<uint32_t>(completion.wr_id);
  QueuePair& pair = lane == control_lane ? *link.control : *link.data[lane];
  const bool received = kind == Request::frame_in || kind == Request::landing;
  --(received ? pair.receives : pair.sends);
  if (completion.status != IBV_WC_SUCCESS) {
    handle_error(slot, pair, kind, completion);
  } else if (received) {
    handle_received(slot, pair, kind, number, completion);
  } else {
    handle_success(slot, pair, kind, number, completion);
  }
}

void RdmaMover::handle_success(uint32_t slot, QueuePair& pair, Request kind, uint32_t number,
                               const ibv_wc& completion) {
  static_cast<void>(completion);
  Link& link = links_[slot];
  Waiting event{.slot = slot, .serial = link.serial, .number = number};
  switch (kind) {
    case Request::frame_out:
      ++counts_.frames_sent;
      link.frames_free.give_back(number);
      if (link.state == Link::State::closing && pair.sends == 0) start_draining(slot);
      return;
    case Request::write:
      ++counts_.writes_done;
      counts_.write_bytes_done += link.sources[number].length_bytes;
      event.kind = Waiting::Kind::done;
      tell(event);
      return;
    case Request::bind: {
      GrantSlot& grant = link.grants[number];
      grant.memory_window->rkey = grant.window.key;
      if (grant.state == GrantSlot::State::binding) grant.state = GrantSlot::State::open;
      event.kind = Waiting::Kind::granted;
      event.window = grant.window;
      tell(event);
      return;
    }
    case Request::invalidate: {
      GrantSlot& grant = link.grants[number];
      end_grant(link, grant);
      event.kind = Waiting::Kind::revoked;
      tell(event);
      return;
    }
    case Request::frame_in:
    case Request::landing:
      break;
  }
  ASSERT(!"received");
}

void RdmaMover::handle_received(uint32_t slot, QueuePair& pair, Request kind, uint32_t number,
                                const ibv_wc& completion) {
  Link& link = links_[slot];
  if (kind == Request::frame_in) {
    if (completion.opcode != IBV_WC_RECV || completion.byte_len != replica::frame_bytes) {
      end_link(slot, LinkEnd::malformed, "what came on its control queue pair is no frame");
      return;
    }
    ++counts_.frames_received;
    tell({.kind = Waiting::Kind::frame, .slot = slot, .serial = link.serial, .number = number});
    return;
  }
  if (completion.opcode != IBV_WC_RECV_RDMA_WITH_IMM) {
    end_link(slot, LinkEnd::malformed, "what came on a data queue pair is no write");
    return;
  }
  ++counts_.writes_landed;
  counts_.write_bytes_landed += completion.byte_len;
  // Whatever grant it was for.
  (link.grants_elsewhere == 0 ? counts_.bytes_placed : counts_.bytes_copied) += completion.byte_len;
  ++landed_waiting_;
  tell({.kind = Waiting::Kind::landed,
        .slot = slot,
        .serial = link.serial,
        .number = ntohl(completion.imm_data),
        .length = completion.byte_len});
  if (link.state != Link::State::up && link.state != Link::State::closing) return;
  if (!post_landing(pair)) {
    end_link(slot, LinkEnd::device_error, "the device takes no more receives");
  }
}

void RdmaMover::handle_error(uint32_t slot, QueuePair& pair, Request kind,
                             const ibv_wc& completion) {
  Link& link = links_[slot];
  if (completion.status == IBV_WC_WR_FLUSH_ERR) {
    // The queue pair is in error already; what made it so is told by another completion, or by
    // rdma_cm, or by the device's event.
    start_draining(slot);
    return;
  }
  if (completion.status == IBV_WC_MW_BIND_ERR) link.device->give_up_windows();
  end_link(slot, end_of(completion.status),
           fmt::format("{} failed on {} {}: {} (vendor {:#x}){}", name_of(kind),
                       pair.role == Role::control ? "the control queue pair" : "data queue pair",
                       completion.qp_num, verbs_->wc_status_str(completion.status),
                       completion.vendor_err, cure_of(completion.status)));
}

}  // namespace sluice::rdma
