// To which worker does a frame belong? Steering in software, for ports that cannot do it.
//
// All frames of one TCP flow, and ICMP errors that quote one of its segments, hash alike, so that
// one worker sees them all. Neighbour frames (ARP, NDP) concern every worker. The rest may go to
// any one of them. Nothing here drops a frame: what is malformed is `other`.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sluice::wire {

enum class FlowKind : uint8_t {
  tcp,         // a whole TCP segment: hash is its flow's
  icmp_error,  // quotes a TCP segment that we sent: hash is that flow's
  neighbor,    // ARP, router and neighbour solicitations and advertisements, redirects
  other,
};

struct FlowKey {
  FlowKind kind = FlowKind::other;
  uint32_t hash = 0;  // 0 for neighbor and other
};

/// Reads `frame` (received, from the Ethernet header on, with at most one 802.1Q tag).
/// `seed` is a secret drawn at start, so that a peer cannot aim its flows at one worker.
/// The hash takes (remote, local), in that order: it is not symmetric.
[[nodiscard]] FlowKey flow_key(Bytes frame, uint64_t seed);

}  // namespace sluice::wire
