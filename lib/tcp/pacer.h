// Pacer: when a connection may send again.
//
// Read first: docs/decisions/0062-pacing.md. A value inside a Sender; the wheel brings the
// connection back at until(). A train that leaves late does not make the next one late.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace sluice::tcp {

class Pacer {
 public:
  /// Late by more than this is late for good: what could have left then would be a burst now.
  static constexpr Duration credit_max = Duration::from_ms(1);

  /// Sending begins, after an idle time or for the first time. `free_bytes` leave at once.
  void start(uint32_t free_bytes) {
    until_ = Instant();
    free_bytes_ = free_bytes;
  }
  /// Nothing leaves before `until`, whatever the rate.
  void hold(Instant until) { until_ = std::max(until_, until); }
  /// Ends that.
  void release(Instant now) { until_ = std::min(until_, now); }
  [[nodiscard]] bool ready(Instant now) const { return until_ <= now; }
  [[nodiscard]] Instant until() const { return until_; }
  [[nodiscard]] uint32_t free_bytes() const { return free_bytes_; }
  /// The most that leaves as one train: CongestionControl::send_quantum().
  void set_train(uint32_t bytes) { train_bytes_ = bytes; }
  [[nodiscard]] uint32_t train_bytes() const { return train_bytes_; }

  /// A train left. `rate`: bytes per second; 0: nothing is paced.
  struct Train {
    uint32_t bytes = 0;
    uint64_t rate = 0;
  };
  void on_sent(Instant now, const Train& train) {
    if (train.rate == 0) return;
    const uint32_t free = std::min(free_bytes_, train.bytes);
    free_bytes_ -= free;
    if (free == train.bytes) return;
    const uint64_t gap_ns = uint64_t{train.bytes - free} * 1'000'000'000 / train.rate;
    until_ = std::max(until_, now - credit_max) + Duration::from_ns(static_cast<int64_t>(gap_ns));
  }

 private:
  Instant until_;
  uint32_t free_bytes_ = 0;
  uint32_t train_bytes_ = 0;
};

}  // namespace sluice::tcp
