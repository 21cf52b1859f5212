// RdmaMover: how links end. The first error that is not a flush is kept; all that is posted comes
// back; then everything is destroyed, and only then LinkDown is told.

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>

#include "mover/clock.h"
#include "rdma/rdma_mover.h"

namespace sluice::rdma {
namespace {

using replica::LinkEnd;

// Flushed requests come back in microseconds, from a device that works.
constexpr Duration drain_patience = 2_s;

}  // namespace

void RdmaMover::handle_device_events(Device& device) {
  constexpr uint32_t events_a_turn = 64;
  for (uint32_t i = 0; i < events_a_turn; ++i) {
    ibv_async_event event{};
    if (verbs_->get_async_event(device.context(), &event) != 0) return;
    const ibv_event_type kind = event.event_type;
    const ibv_qp* pair = nullptr;
    switch (kind) {
      case IBV_EVENT_QP_FATAL:
      case IBV_EVENT_QP_REQ_ERR:
      case IBV_EVENT_QP_ACCESS_ERR:
        pair = event.element.qp;
        break;
      default:
        break;
    }
    uint32_t found = IndexPool::none;
    for (uint32_t slot = 0; pair != nullptr && slot < links_.size(); ++slot) {
      const Link& link = links_[slot];
      for (const auto& each : link.data) {
        if (each != nullptr && each->pair == pair) found = slot;
      }
      if (link.control != nullptr && link.control->pair == pair) found = slot;
    }
    // A queue pair cannot be destroyed while an event of it is not acknowledged.
    verbs_->ack_async_event(&event);
    const std::string what = verbs_->event_type_str(kind);
    if (found != IndexPool::none) {
      const bool is_access = kind == IBV_EVENT_QP_ACCESS_ERR;
      end_link(found, is_access ? LinkEnd::protection_error : LinkEnd::malformed,
               is_access ? "it wrote to where nothing is granted to it"
                         : "its requests are none that a queue pair takes: " + what);
    } else if (kind == IBV_EVENT_DEVICE_FATAL) {
      note_gone(device.context());
    } else if (kind == IBV_EVENT_PORT_ERR || kind == IBV_EVENT_CQ_ERR) {
      end_links_of(device, what);
    }
  }
}

void RdmaMover::end_link(uint32_t slot, LinkEnd reason, const std::string& why) {
  Link& link = links_[slot];
  if (link.state == Link::State::free || link.state == Link::State::ended) return;
  const bool was_up = link.state == Link::State::up || link.state == Link::State::closing ||
                      link.state == Link::State::draining;
  if (!was_up) {
    fail_link(slot, reason == LinkEnd::unreachable ? "its data queue pairs do not come up"
                                                   : "the RDMA device, or its port, failed");
    return;
  }
  if (!link.has_reason) {
    link.has_reason = true;
    link.reason = reason;
    if (!why.empty()) {
      note(fmt::format("replication, RDMA link with {}: {}", link.peer.text(), why));
    }
  }
  start_draining(slot);
}

void RdmaMover::start_draining(uint32_t slot) {
  Link& link = links_[slot];
  if (link.state != Link::State::up && link.state != Link::State::closing) return;
  if (link.state == Link::State::up) ++timed_;
  link.state = Link::State::draining;
  link.deadline = mover::now() + drain_patience;
  set_timer(true);
  const auto stop = [&](QueuePair& pair) {
    pair.gathered = 0;
    // Puts the queue pair into error, which gives back all that is posted, and tells the peer.
    if (verbs_->disconnect(pair.id) == 0) return;
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_ERR;
    verbs_->modify_qp(pair.pair, &attributes, IBV_QP_STATE);
  };
  stop(*link.control);
  for (uint32_t lane = 0; lane < link.lanes; ++lane) stop(*link.data[lane]);
  if (link.active) return;
  link.active = true;
  active_.push_back(slot);
}

bool RdmaMover::is_drained(const Link& link) const {
  const auto empty = [](const QueuePair& pair) { return pair.sends == 0 && pair.receives == 0; };
  if (!empty(*link.control)) return false;
  for (uint32_t lane = 0; lane < link.lanes; ++lane) {
    if (!empty(*link.data[lane])) return false;
  }
  return true;
}

void RdmaMover::finish_end(uint32_t slot) {
  Link& link = links_[slot];
  if (!link.has_reason) handle_device_events(*link.device);  // it may know better
  const LinkEnd reason = link.has_reason ? link.reason : LinkEnd::closed_by_peer;
  for (const GrantSlot& grant : link.grants) {
    if (grant.state != GrantSlot::State::free) --counts_.grants;
  }
  destroy(link);
  --timed_;
  --counts_.links_up;
  ++counts_.ends[static_cast<size_t>(reason)];
  if (link.active) {
    link.active = false;
    active_.erase(std::find(active_.begin(), active_.end(), slot));
  }
  link.state = Link::State::ended;
  tell({.kind = Waiting::Kind::down, .end = reason, .slot = slot, .serial = link.serial});
}

// A link that never came up.
void RdmaMover::fail_link(uint32_t slot, const char* why) {
  Link& link = links_[slot];
  ASSERT(link.state == Link::State::looking_up || link.state == Link::State::dialling ||
         link.state == Link::State::joining);
  --timed_;
  if (link.dialled) {
    ++counts_.dials_failed;
    tell({.kind = Waiting::Kind::dial_failed, .number = link.dial, .why = why});
  } else {
    ++counts_.refused;
  }
  free_link(slot);
}

void RdmaMover::destroy(QueuePair& pair) {
  if (pair.pair != nullptr) verbs_->destroy_qp(pair.id);
  pair.pair = nullptr;
  if (pair.id != nullptr) verbs_->destroy_id(pair.id);
  pair.id = nullptr;
}

// After this nothing of the peer's, and nothing of ours for it, is known to the device.
void RdmaMover::destroy(Link& link) {
  if (link.control != nullptr) destroy(*link.control);
  for (auto& each : link.data) {
    if (each != nullptr) destroy(*each);
    each.reset();
  }
  link.control.reset();
  for (GrantSlot& grant : link.grants) {
    if (grant.region != nullptr) verbs_->dereg_mr(grant.region);
    if (grant.memory_window != nullptr) ibv_dealloc_mw(grant.memory_window);
    grant = {};
  }
  if (link.frames_region != nullptr) verbs_->dereg_mr(link.frames_region);
  link.frames_region = nullptr;
  if (link.completions != nullptr) {
    verbs_->ack_cq_events(link.completions, link.events_unacked);
    verbs_->destroy_cq(link.completions);
  }
  link.completions = nullptr;
  link.events_unacked = 0;
  link.device = nullptr;
}

void RdmaMover::free_link(uint32_t slot) {
  Link& link = links_[slot];
  destroy(link);
  const bool was_dirty = link.dirty;
  link = Link{};
  link.dirty = was_dirty;  // it is in the list, and has nothing gathered
  links_free_.give_back(slot);
}

}  // namespace sluice::rdma
