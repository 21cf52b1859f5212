// Sessions: what goes out and when, and the links as those who move data see them.
#include <algorithm>

#include "base/assert.h"
#include "replica/session.h"

namespace sluice::replica {

using stats::Counter;

bool Sessions::wants_dial(const Peer& peer, Transport transport) const {
  const Route& route = peer.routes[static_cast<size_t>(transport)];
  return states_[static_cast<size_t>(transport)].usable && peer.used && peer.expected &&
         !peer.is_self && !peer.address.empty() && route.link == none && route.greeting == none &&
         !route.dialling && (transport == Transport::tcp || config_.prefer_rdma);
}

bool Sessions::poll_dial(Instant now, Post& out) {
  for (uint32_t index = 0; index < peers_.size(); ++index) {
    Peer& peer = peers_[index];
    for (uint32_t t = 0; t < transport_count; ++t) {
      const auto transport = static_cast<Transport>(t);
      if (!wants_dial(peer, transport) || peer.routes[t].dial_at > now) continue;
      auto& dials = dials_[t];
      const auto free = std::find_if(dials.begin(), dials.end(),
                                     [](const DialEntry& dial) { return !dial.used; });
      if (free == dials.end()) continue;
      *free = {true, index, peer.address};
      peer.routes[t].dialling = true;
      counters_.add(Counter::replica_dials);
      out = Dial{static_cast<uint32_t>(free - dials.begin()), transport, free->address};
      return true;
    }
  }
  return false;
}

// Output -----------------------------------------------------------------------------------------

bool Sessions::poll_post(Instant now, Post& out) {
  for (uint32_t i = 0; i < open_count_; ++i) {
    post_turn_ = post_turn_ + 1 < open_count_ ? post_turn_ + 1 : 0;
    if (!slots_[open_[post_turn_]].link.poll_post(now, out)) continue;
    if (std::holds_alternative<SendFrame>(out)) counters_.add(Counter::replica_frames_sent);
    return true;
  }
  return poll_dial(now, out);
}

bool Sessions::poll_event(SessionEvent& out) {
  if (events_.empty()) return false;
  out = std::move(events_.front());
  events_.pop_front();
  return true;
}

void Sessions::handle_timeout(Instant now) {
  now_ = now;
  for (uint32_t i = 0; i < open_count_; ++i) {
    Slot& slot = slots_[open_[i]];
    const Link::State before = slot.link.state();
    slot.link.handle_timeout(now, config_);
    if (slot.link.state() != before) count_close(slot.link.close_reason());
    if (slot.peer != none) peers_[slot.peer].srtt = slot.link.srtt();
  }
}

Instant Sessions::next_timeout() const {
  Instant next = Instant::never();
  for (uint32_t i = 0; i < open_count_; ++i) {
    next = std::min(next, slots_[open_[i]].link.next_timeout(config_));
  }
  for (const Peer& peer : peers_) {
    for (uint32_t t = 0; t < transport_count; ++t) {
      if (wants_dial(peer, static_cast<Transport>(t))) {
        next = std::min(next, peer.routes[t].dial_at);
      }
    }
  }
  return next;
}

// For those who move data ------------------------------------------------------------------------

std::optional<LinkId> Sessions::data_link(Instant now, NodeId node) const {
  const uint32_t index = find_peer(node);
  if (index == none) return std::nullopt;
  const auto& routes = peers_[index].routes;
  const size_t first = static_cast<size_t>(config_.prefer_rdma ? Transport::rdma : Transport::tcp);
  const auto link_of = [&](size_t t) -> const Link* {
    if (routes[t].link == none) return nullptr;
    const Link& link = slots_[routes[t].link].link;
    return link.is_up() ? &link : nullptr;
  };
  const Link* preferred = link_of(first);
  const Link* other = link_of(1 - first);
  const bool is_paused = now < routes[first].paused_until;
  if (preferred != nullptr && (!is_paused || other == nullptr)) return preferred->id();
  if (other != nullptr) return other->id();
  return std::nullopt;
}

bool Sessions::is_expected(Instant now, NodeId node) const {
  const uint32_t index = find_peer(node);
  return index != none &&
         (peers_[index].up || now - peers_[index].down_since < config_.peer_patience);
}

bool Sessions::is_up(const LinkId& link) const {
  const Slot* slot = slot_of(link);
  return slot != nullptr && slot->link.is_up();
}

bool Sessions::can_send(const LinkId& link) const {
  const Slot* slot = slot_of(link);
  return slot != nullptr && slot->link.can_send();
}

uint32_t Sessions::lanes(const LinkId& link) const {
  const Slot* slot = slot_of(link);
  return slot != nullptr ? slot->link.facts().lanes : 0;
}

NodeId Sessions::node_of(const LinkId& link) const {
  const Slot* slot = slot_of(link);
  return slot != nullptr && slot->link.is_up() ? slot->link.peer().node : NodeId{};
}

void Sessions::send(const LinkId& link, const Body& body, Post& out) {
  Slot* slot = slot_of(link);
  ASSERT(slot != nullptr);
  counters_.add(Counter::replica_frames_sent);
  slot->link.send(body, out);
}

void Sessions::count_bytes(const LinkId& link, uint64_t to, uint64_t from) {
  const Slot* slot = slot_of(link);
  if (slot == nullptr || slot->peer == none) return;
  peers_[slot->peer].bytes_to += to;
  peers_[slot->peer].bytes_from += from;
}

}  // namespace sluice::replica
