// Dctcp: answers to how many of the bytes were marked, not to whether any was.
//
// Read first: RFC 8257 section 3.3. For networks whose switches mark at a shallow threshold (data
// centres), and only there: section 5. Grows as NewReno does; losses halve the window
// (section 3.5). The share is of bytes acknowledged with ECN-Echo set.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct Dctcp {
  // Section 4.2: g SHOULD be 1/16.
  static constexpr float gain = 1.0f / 16;

  struct Echo {
    bool round_start = false;  // the window of data that is observed ends with this ACK
    bool ece = false;
  };
  /// DCTCP.Alpha = DCTCP.Alpha * (1 - g) + g * M, once per window.
  static void on_ack(CongestionControl& cc, uint32_t acked_bytes, Echo echo) {
    auto& state = cc.loss_.growth.dctcp;
    state.acked_bytes += acked_bytes;
    if (echo.ece) state.marked_bytes += acked_bytes;
    if (!echo.round_start || state.acked_bytes == 0) return;
    const float share =
        static_cast<float>(state.marked_bytes) / static_cast<float>(state.acked_bytes);
    state.alpha += gain * (share - state.alpha);
    state.acked_bytes = state.marked_bytes = 0;
  }
  /// cwnd = cwnd * (1 - DCTCP.Alpha / 2).
  static void on_mark(CongestionControl& cc, uint32_t used_bytes) {
    const float kept = static_cast<float>(used_bytes) * (1.0f - cc.loss_.growth.dctcp.alpha / 2);
    cc.ssthresh_ = std::max(static_cast<uint32_t>(kept), 2u * cc.mss_);
  }

  static void save(const CongestionControl& cc, CongestionMemory& out) {
    // 0 is for a connection that has none yet.
    const float alpha = std::max(cc.loss_.growth.dctcp.alpha, std::numeric_limits<float>::min());
    out.plateau = std::bit_cast<uint32_t>(alpha);
  }
  static void restore(CongestionControl& cc, const CongestionMemory& in) {
    if (in.plateau != 0) cc.loss_.growth.dctcp.alpha = std::bit_cast<float>(in.plateau);
  }
};

}  // namespace sluice::tcp
