// Waker: lets a thread sleep in poll(2), among its other descriptors, until another thread has put
// something into one of its rings.
//
// The sleeper announces itself, looks into its rings once more, and polls fd() with the rest;
// whoever puts something there rings behind it. The fences on both sides make sure that one of the
// two sees the other. Ringing at one who is awake is a load.
#pragma once

#include <atomic>

namespace sluice::disk {

class Waker {
 public:
  /// Requires: is_open() before anything else.
  Waker();
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  /// False: no descriptor could be had.
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

  // The sleeper.
  /// Readable once somebody rang.
  [[nodiscard]] int fd() const { return fd_; }
  void announce() {
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  /// After the sleep, or instead of it.
  void stay_awake();

  // Any thread.
  void ring_if_asleep() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed)) ring();
  }

 private:
  void ring();

  int fd_ = -1;
  alignas(64) std::atomic<bool> asleep_{false};
};

}  // namespace sluice::disk
