// Initial sequence numbers and timestamp offsets that an outsider cannot guess.
//
// Read first: RFC 6528 section 3, RFC 7323 section 5.4.
#pragma once

#include <cstdint>

#include "base/siphash.h"
#include "base/time.h"
#include "tcp/flow.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// ISN = M + F(localip, localport, remoteip, remoteport, secretkey), where M ticks every 4
/// microseconds: two incarnations of one flow get rising numbers.
/// F is a keyed hash of the flow's keyed hash, flow_hash(). Source: RFC 6528 section 3.
[[nodiscard]] SeqNumber initial_seq_number(const SipKey& key, uint64_t flow_hash, Instant now);

/// What is added to the millisecond clock in this flow's timestamps, so that they neither reveal
/// the uptime nor run backwards from one incarnation of the flow to the next: the high half of
/// flow_hash(), of which the peer may learn; the low half, which tables go by, it cannot tell from
/// that. Source: RFC 7323 section 5.4.
[[nodiscard]] constexpr uint32_t timestamp_offset(uint64_t flow_hash) {
  return static_cast<uint32_t>(flow_hash >> 32);
}

/// The timestamp clock: 1 ms a tick (RFC 7323 section 5.4 asks for 1 ms to 1 s).
[[nodiscard]] constexpr uint32_t timestamp_clock_ms(Instant now) {
  return static_cast<uint32_t>(static_cast<uint64_t>(now.ns()) / 1'000'000);
}

}  // namespace sluice::tcp
