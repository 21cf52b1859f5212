// Histogram: how a quantity is spread, in fixed memory, by one writing thread; readable by any
// other at any moment.
//
// Log-linear buckets, as in HdrHistogram: values below 16 have a bucket each; above that every
// power of two is cut into 16 equal parts, so that a quantile is at most 1/16 too high.
//
//   value     0 .. 15 | 16 17 .. 31 | 32 34 .. 62 | 64 68 .. 124 | ...
//   bucket    0 .. 15 | 16 17 .. 31 | 32 33 .. 47 | 48 49 ..  63 | ...
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sluice::stats {

/// A copy of a histogram, or the sum of several: for reading. Plain memory.
class HistogramSnapshot;

class Histogram {
 public:
  static constexpr uint32_t parts_log2 = 4;
  static constexpr uint32_t parts = 1u << parts_log2;
  /// Larger values are counted in the last bucket. In nanoseconds: 18 minutes.
  static constexpr uint64_t value_max = (uint64_t{1} << 40) - 1;
  static constexpr size_t bucket_count = parts * (40 - parts_log2 + 1);

  /// The owning thread only.
  void record(uint64_t value) { add(counts_[bucket_of(value)], 1), add(sum_, value); }

  [[nodiscard]] static constexpr size_t bucket_of(uint64_t value) {
    if (value > value_max) value = value_max;
    if (value < parts) return static_cast<size_t>(value);
    const uint32_t shift = static_cast<uint32_t>(std::bit_width(value)) - 1 - parts_log2;
    return static_cast<size_t>(parts * shift + (value >> shift));
  }
  /// The largest value that falls into the bucket.
  [[nodiscard]] static constexpr uint64_t upper_bound(size_t bucket) {
    if (bucket < 2 * parts) return bucket;
    const uint64_t shift = bucket / parts - 1;
    return ((bucket % parts + parts + 1) << shift) - 1;
  }

 private:
  friend class HistogramSnapshot;
  static void add(std::atomic<uint64_t>& value, uint64_t n) {
    // One writer: not a locked addition.
    value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::array<std::atomic<uint64_t>, bucket_count> counts_{};
  std::atomic<uint64_t> sum_{0};
};

class HistogramSnapshot {
 public:
  /// Adds a moment's values of `histogram`. Any thread.
  void add(const Histogram& histogram);

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint64_t mean() const { return count_ == 0 ? 0 : sum_ / count_; }
  /// The value that `per_mille` of 1000 recorded values do not exceed, rounded up to its bucket's
  /// end; 0 when nothing was recorded. 500 is the median, 1000 the maximum.
  [[nodiscard]] uint64_t quantile(uint32_t per_mille) const;

 private:
  std::array<uint64_t, Histogram::bucket_count> counts_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace sluice::stats
