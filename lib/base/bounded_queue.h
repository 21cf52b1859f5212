// BoundedQueue: a first-in first-out queue of one thread, with its memory reserved at start.
#pragma once

#include <bit>
#include <cstddef>

#include "base/assert.h"
#include "base/fixed_array.h"

namespace sluice {

template <typename T>
class BoundedQueue {
 public:
  /// Reserves room for at least `capacity` elements (rounded up to a power of two).
  explicit BoundedQueue(size_t capacity)
      : items_(std::bit_ceil(capacity > 0 ? capacity : 1)), mask_(items_.size() - 1) {}

  /// Returns false, and changes nothing, when full.
  [[nodiscard]] bool push(const T& value) {
    if (size() == items_.size()) return false;
    items_[tail_++ & mask_] = value;
    return true;
  }
  /// Returns false when empty.
  [[nodiscard]] bool pop(T& out) {
    if (empty()) return false;
    out = items_[head_++ & mask_];
    return true;
  }
  [[nodiscard]] const T& front() const {
    ASSERT(!empty());
    return items_[head_ & mask_];
  }
  [[nodiscard]] size_t size() const { return tail_ - head_; }
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] size_t capacity() const { return items_.size(); }

 private:
  FixedArray<T> items_;
  size_t mask_;
  size_t head_ = 0;
  size_t tail_ = 0;
};

}  // namespace sluice
