// NewReno: additive increase, multiplicative decrease.
//
// Read first: RFC 5681 section 3.1, RFC 3465 (counting bytes), RFC 6582.
#pragma once

#include <algorithm>

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct NewReno {
  /// Congestion avoidance: one MSS for each window acknowledged. Source: RFC 3465 section 2.1.
  static void on_ack(CongestionControl& cc, const AckEvent& ack) {
    const uint64_t credit = uint64_t{cc.acked_credit_} + ack.acked_bytes;
    const uint64_t windows = credit / cc.cwnd_;
    cc.acked_credit_ = static_cast<uint32_t>(credit % cc.cwnd_);
    cc.cwnd_ = static_cast<uint32_t>(
        std::min<uint64_t>(cc.cwnd_ + windows * cc.mss_, CongestionControl::cwnd_max));
  }
  /// RFC 5681 equation 4: ssthresh = max (FlightSize / 2, 2*SMSS). cwnd stands for FlightSize: it
  /// does not grow while the application is the limit.
  static void on_congestion(CongestionControl& cc) {
    cc.ssthresh_ = std::max(cc.cwnd_ / 2, 2u * cc.mss_);
  }
};

}  // namespace sluice::tcp
