// IndexPool: hands out the indices 0..n-1 of a table that the owner keeps. Last in, first out, so
// that a slot is likely still in the cache.
#pragma once

#include <cstdint>
#include <limits>

#include "base/assert.h"
#include "base/fixed_array.h"

namespace sluice {

class IndexPool {
 public:
  static constexpr uint32_t none = std::numeric_limits<uint32_t>::max();

  IndexPool() = default;
  explicit IndexPool(uint32_t size) : next_(size) {
    for (uint32_t i = 0; i < size; ++i) next_[i] = i + 1 < size ? i + 1 : none;
    head_ = size > 0 ? 0 : none;
    available_ = size;
  }

  /// Returns `none` when every index is out.
  [[nodiscard]] uint32_t take() {
    const uint32_t index = head_;
    if (index == none) return none;
    head_ = next_[index];
    next_[index] = taken;
    --available_;
    return index;
  }
  /// Requires: `index` came from take() and was not given back since.
  void give_back(uint32_t index) {
    ASSERT(next_[index] == taken);
    next_[index] = head_;
    head_ = index;
    ++available_;
  }
  [[nodiscard]] bool is_taken(uint32_t index) const { return next_[index] == taken; }
  [[nodiscard]] uint32_t available() const { return available_; }
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(next_.size()); }
  [[nodiscard]] uint32_t in_use() const { return size() - available_; }

 private:
  static constexpr uint32_t taken = none - 1;

  FixedArray<uint32_t> next_;
  uint32_t head_ = none;
  uint32_t available_ = 0;
};

}  // namespace sluice
