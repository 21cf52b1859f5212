// LimitedTimes: what kept a sender from sending more, and for how long.
//
// As ss shows it (rwnd_limited, sndbuf_limited), with the congestion window as a reason of its own.
// A value inside a Sender: it counts from when the connection last had nothing to send.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace sluice::tcp {

enum class LimitedBy : uint8_t {
  application,  // all that was queued has been sent, or content is missing
  window,       // the peer's
  congestion,   // the congestion window, or pacing
  nothing,
};

class LimitedTimes {
 public:
  void reset(uint32_t now_us) {
    *this = LimitedTimes();
    since_us_ = now_us;
  }
  void note(uint32_t now_us, LimitedBy by) {
    if (by == by_) return;
    settle(now_us);
    by_ = by;
  }
  [[nodiscard]] Duration total(uint32_t now_us, LimitedBy by) const {
    LimitedTimes now = *this;
    now.settle(now_us);
    return Duration::from_us(int64_t{now.ticks_[static_cast<size_t>(by)]} << tick_shift);
  }

 private:
  // 1.024 ms; what is left of one goes on to the next reason, so that nothing is lost in sum.
  static constexpr uint32_t tick_shift = 10;

  void settle(uint32_t now_us) {
    const uint32_t ticks = (now_us - since_us_) >> tick_shift;
    ticks_[static_cast<size_t>(by_)] += ticks;
    since_us_ += ticks << tick_shift;
  }

  std::array<uint32_t, 4> ticks_{};
  uint32_t since_us_ = 0;
  LimitedBy by_ = LimitedBy::application;
};

}  // namespace sluice::tcp
