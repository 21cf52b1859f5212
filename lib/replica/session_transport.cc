// Sessions: which transport can be used, which is waited for, and when a peer is dialled again.
#include <algorithm>

#include "replica/session.h"

namespace sluice::replica {
namespace {

using stats::Counter;

Duration redial_after(uint32_t failures) {
  const uint32_t doublings = std::min<uint32_t>(failures, 10);
  return std::min(redial_min * (int64_t{1} << doublings), redial_max);
}

}  // namespace

void Sessions::schedule_dial(Instant now, Peer& peer, Transport transport) {
  Route& route = peer.routes[static_cast<size_t>(transport)];
  Duration wait = redial_after(route.failures);
  wait += Duration::from_ns(
      static_cast<int64_t>(random_.below(static_cast<uint64_t>(wait.ns() / 4) + 1)));
  if (!peer.node.is_none() && config_.self > peer.node) wait += redial_courtesy;
  route.dial_at = std::max(now + wait, route.paused_until);
}

// What failed before says nothing about what is now.
void Sessions::dial_soon(Instant now, Peer& peer, Transport transport) {
  peer.routes[static_cast<size_t>(transport)].failures = 0;
  schedule_dial(now, peer, transport);
}

void Sessions::handle(Instant now, const TransportState& event) {
  TransportState& state = states_[static_cast<size_t>(event.transport)];
  const bool came = event.usable && !state.usable;
  state = event;
  if (!came) return;
  for (Peer& peer : peers_) {
    Route& route = peer.routes[static_cast<size_t>(event.transport)];
    if (!peer.used || route.link != none) continue;
    route.paused_until = Instant();
    route.error_count = 0;
    dial_soon(now, peer, event.transport);
  }
}

void Sessions::note_error(Instant now, Peer& peer, Transport transport) {
  Route& route = peer.routes[static_cast<size_t>(transport)];
  route.errors[route.error_count++ % transport_errors_max] = now;
  if (route.error_count < transport_errors_max) return;
  const Instant oldest = route.errors[route.error_count % transport_errors_max];
  if (now - oldest > transport_errors_window) return;
  route.paused_until = now + transport_pause;
  route.error_count = 0;
  counters_.add(Counter::replica_transport_pauses);
}

bool Sessions::is_rdma_due(Instant now, NodeId node) const {
  constexpr auto rdma = static_cast<size_t>(Transport::rdma);
  if (!config_.prefer_rdma || !states_[rdma].usable) return false;
  const uint32_t index = find_peer(node);
  if (index == none || !peers_[index].has_rdma) return false;
  const Route& route = peers_[index].routes[rdma];
  return route.link == none && now < route.due_until && now >= route.paused_until;
}

std::string Sessions::why_no_rdma(const Peer& peer) const {
  constexpr auto rdma = static_cast<size_t>(Transport::rdma);
  const Route& route = peer.routes[rdma];
  if (!config_.prefer_rdma) return "off here (--rdma off)";
  if (!states_[rdma].usable) return states_[rdma].why;
  if (peer.up && !peer.has_rdma && route.link == none) {
    return "the peer had no RDMA device when it came";
  }
  if (route.link != none) {
    return now_ < route.paused_until ? "paused after repeated errors: " + route.last_end : "";
  }
  return route.last_end.empty() ? "not up yet" : route.last_end;
}

}  // namespace sluice::replica
