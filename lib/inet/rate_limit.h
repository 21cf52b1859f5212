// RateLimit: a token bucket. Bounds what a peer can make us send.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace sluice::inet {

class RateLimit {
 public:
  struct Options {
    uint32_t per_second = 0;
    uint32_t burst = 0;
  };
  explicit RateLimit(Options options)
      : interval_(Duration::from_s(1) / options.per_second), burst_(interval_ * options.burst) {}

  /// May one more be sent now?
  [[nodiscard]] bool take(Instant now) {
    // The bucket as a time: the instant at which it would be full (generic cell rate algorithm).
    const Instant full_at = std::max(full_at_, now);
    if (full_at - now > burst_ - interval_) return false;
    full_at_ = full_at + interval_;
    return true;
  }

 private:
  Duration interval_;
  Duration burst_;
  Instant full_at_;
};

}  // namespace sluice::inet
