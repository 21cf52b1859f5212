// Doorbell: lets a worker sleep until something is put into one of its rings, or a time has passed.
//
// The sleeper announces itself, looks into its rings once more, and waits; whoever puts something
// there rings behind it. The fences on both sides make sure that one of the two sees the other, so
// nothing is left in a ring beside a sleeper. Ringing at one who is awake is a load.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace sluice::nic {

class Doorbell {
 public:
  Doorbell() = default;
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  // The sleeper.
  void announce() {
    asleep_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void stay_awake() { asleep_.store(0, std::memory_order_relaxed); }
  /// Returns when rung or after `limit`; may return early. Requires: announce() came before.
  void wait(Duration limit);

  // Any thread.
  void ring_if_asleep() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed) != 0) ring();
  }

 private:
  void ring();

  alignas(64) std::atomic<uint32_t> asleep_{0};
};

}  // namespace sluice::nic
