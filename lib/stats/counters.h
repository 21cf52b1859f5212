// Counters: plain memory with one writing thread, readable by any other at any moment.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "stats/catalogue.h"

namespace sluice::stats {

/// One thread's values of the whole catalogue. add() is for the owning thread only.
class Counters {
 public:
  void add(Counter counter, uint64_t n = 1) {
    std::atomic<uint64_t>& value = values_[static_cast<size_t>(counter)];
    // One writer: a relaxed load and store, not a locked addition.
    value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  /// For gauges: rows that hold a moment's value.
  void set(Counter counter, uint64_t value) {
    values_[static_cast<size_t>(counter)].store(value, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t get(Counter counter) const {
    return values_[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::array<std::atomic<uint64_t>, counter_count> values_{};
};

}  // namespace sluice::stats
