#include "stats/histogram.h"

namespace sluice::stats {

void HistogramSnapshot::add(const Histogram& histogram) {
  for (size_t i = 0; i < counts_.size(); ++i) {
    const uint64_t n = histogram.counts_[i].load(std::memory_order_relaxed);
    counts_[i] += n;
    count_ += n;
  }
  sum_ += histogram.sum_.load(std::memory_order_relaxed);
}

uint64_t HistogramSnapshot::quantile(uint32_t per_mille) const {
  if (count_ == 0) return 0;
  if (per_mille > 1000) per_mille = 1000;
  // Rounded up, and at least the first: the smallest rank that covers the share.
  uint64_t rank = count_ / 1000 * per_mille + (count_ % 1000 * per_mille + 999) / 1000;
  if (rank == 0) rank = 1;
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return Histogram::upper_bound(i);
  }
  return Histogram::value_max;
}

}  // namespace sluice::stats
