// PathSearch: which segment size to try, when routers say nothing of what the path carries.
//
// Read first: RFC 4821 (packetization-layer path MTU discovery), RFC 8899 section 5.3 (search).
// Down: a full segment that goes unanswered twice may be too large for somebody, so that the next
// smaller size of a short list is tried. Up: one segment of fresh data, larger than the others and
// with enough behind it that its loss shows at once, first as large as both ends take, then half
// way between what is known to pass and what is known not to. Its loss says nothing of congestion.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace sluice::tcp {

/// What a Sender remembers of the search; the sizes are the Connection's.
struct PathSearch {
  // RFC 8899 section 5.1.1 (PMTU_RAISE_TIMER): 600 s.
  static constexpr Duration raise_after = Duration::from_s(600);
  // Sizes closer than this are as good as each other.
  static constexpr uint16_t near_bytes = 32;
  // Segments behind a probe, so that its loss is found without a timer.
  static constexpr uint32_t segments_behind = 3;
  // Timeouts in a row of a full segment before its size is suspected, which RFC 4821 section 7.5
  // leaves open. Hardly any path carries less than what a tunnel leaves, so that takes more.
  static constexpr uint32_t timeouts = 2;
  static constexpr uint32_t timeouts_least = 5;

  uint32_t probe_begin = 0;  // low halves of StreamOffsets
  uint32_t probe_end = 0;
  uint16_t probe_mss = 0;  // 0: no probe is out
  bool lowered = false;    // a timeout made segments smaller; has anything come through since?
  uint32_t again_ms = 0;   // no probe before

  /// The next size to try above `mss`, or 0. `high`: the largest worth trying, `mss_max`: what both
  /// ends take.
  [[nodiscard]] static uint16_t next_larger(uint16_t mss, uint16_t high, uint16_t mss_max) {
    if (high < mss + near_bytes) return 0;
    if (high == mss_max) return mss_max;
    return static_cast<uint16_t>(mss + (high - mss + 1) / 2);
  }
  struct Silence {
    uint16_t headers = 0;   // IP and TCP, options included
    uint32_t timeouts = 0;  // in a row
    bool is_v4 = false;
  };
  /// The next smaller size when segments of `mss` do not come through, or 0: what tunnels carry
  /// (RFC 8200 section 5), then what everybody must (RFC 1122 section 3.3.2).
  [[nodiscard]] static uint16_t next_smaller(uint16_t mss, const Silence& silence) {
    constexpr uint16_t tunnel_mtu = 1280;
    constexpr uint16_t least_mtu_v4 = 576;
    const auto tunnel = static_cast<uint16_t>(tunnel_mtu - silence.headers);
    const auto least = static_cast<uint16_t>(least_mtu_v4 - silence.headers);
    if (silence.timeouts >= timeouts && tunnel < mss) return tunnel;
    return silence.is_v4 && silence.timeouts >= timeouts_least && least < mss ? least : uint16_t{0};
  }
};

}  // namespace sluice::tcp
