// NewReno: additive increase, multiplicative decrease. The reference.
//
// Read first: RFC 5681 section 3.1, RFC 3465 (counting bytes), RFC 6582.
#pragma once

#include <algorithm>

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct NewReno {
  /// Congestion avoidance: one MSS for each window acknowledged. Source: RFC 3465 section 2.1.
  static void on_ack(CongestionControl& cc, const RateSample& sample) {
    if (!sample.cwnd_limited) return;
    uint32_t& kept = cc.loss_.growth.acked_credit;
    const uint64_t credit = uint64_t{kept} + sample.newly_acked_bytes;
    const uint64_t windows = credit / cc.cwnd_;
    kept = static_cast<uint32_t>(credit % cc.cwnd_);
    cc.cwnd_ = static_cast<uint32_t>(
        std::min<uint64_t>(cc.cwnd_ + windows * cc.mss_, CongestionControl::cwnd_max));
  }
  /// RFC 5681 equation 4: ssthresh = max (FlightSize / 2, 2*SMSS). The window in use stands for
  /// FlightSize.
  static void on_congestion(CongestionControl& cc, uint32_t used_bytes) {
    cc.ssthresh_ = std::max(used_bytes / 2, 2u * cc.mss_);
  }
};

}  // namespace sluice::tcp
