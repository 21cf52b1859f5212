// SpscRing: the one way in which two threads hand things to each other.
//
// Exactly one thread pushes and exactly one pops. Indices are free-running; each side keeps a
// cached copy of the other's index, so an uncontended operation touches one shared cache line.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>

#include "base/fixed_array.h"

namespace sluice {

template <typename T>
class SpscRing {
 public:
  /// Reserves room for at least `capacity` elements (rounded up to a power of two).
  explicit SpscRing(size_t capacity)
      : items_(std::bit_ceil(capacity > 0 ? capacity : 1)), mask_(items_.size() - 1) {}

  // Producer side.
  /// Returns false, and changes nothing, when full.
  [[nodiscard]] bool push(const T& value) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == items_.size()) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == items_.size()) return false;
    }
    items_[tail & mask_] = value;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  /// Room that is certainly there for the producer.
  [[nodiscard]] size_t free_slots() {
    head_seen_ = head_.load(std::memory_order_acquire);
    return items_.size() - (tail_.load(std::memory_order_relaxed) - head_seen_);
  }

  // Consumer side.
  /// Returns false when empty.
  [[nodiscard]] bool pop(T& out) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    out = items_[head & mask_];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  /// Either side; a moment's value.
  [[nodiscard]] bool empty() const {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
  }
  [[nodiscard]] size_t capacity() const { return items_.size(); }

 private:
  static constexpr size_t cache_line_bytes = 64;

  FixedArray<T> items_;
  size_t mask_;
  alignas(cache_line_bytes) std::atomic<size_t> tail_{0};  // written by the producer
  size_t head_seen_ = 0;
  alignas(cache_line_bytes) std::atomic<size_t> head_{0};  // written by the consumer
  size_t tail_seen_ = 0;
};

}  // namespace sluice
