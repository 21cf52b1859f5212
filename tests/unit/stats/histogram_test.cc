#include "stats/histogram.h"

#include <gtest/gtest.h>

#include <limits>

namespace sluice::stats {
namespace {

TEST(Histogram, BucketsAreContiguousAndOrdered) {
  uint64_t previous_end = 0;
  EXPECT_EQ(Histogram::upper_bound(0), 0u);
  for (size_t bucket = 1; bucket < Histogram::bucket_count; ++bucket) {
    const uint64_t end = Histogram::upper_bound(bucket);
    EXPECT_EQ(Histogram::bucket_of(previous_end + 1), bucket);
    EXPECT_EQ(Histogram::bucket_of(end), bucket);
    ASSERT_GT(end, previous_end);
    previous_end = end;
  }
  EXPECT_EQ(previous_end, Histogram::value_max);
}

TEST(Histogram, AQuantileIsAtMostOneSixteenthTooHigh) {
  for (uint64_t value = 1; value < Histogram::value_max / 3; value = value * 3 + 1) {
    const uint64_t end = Histogram::upper_bound(Histogram::bucket_of(value));
    EXPECT_GE(end, value);
    EXPECT_LE(end - value, value / 16);
  }
}

TEST(Histogram, HugeValuesGoIntoTheLastBucket) {
  EXPECT_EQ(Histogram::bucket_of(std::numeric_limits<uint64_t>::max()),
            Histogram::bucket_count - 1);
}

TEST(Histogram, QuantilesOfAnEvenSpread) {
  Histogram histogram;
  for (uint64_t value = 1; value <= 1000; ++value) histogram.record(value);
  HistogramSnapshot snapshot;
  snapshot.add(histogram);
  EXPECT_EQ(snapshot.count(), 1000u);
  EXPECT_EQ(snapshot.mean(), 500u);
  EXPECT_EQ(snapshot.quantile(0), 1u);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(500)), 500, 500.0 / 16);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(990)), 990, 990.0 / 16);
  EXPECT_NEAR(static_cast<double>(snapshot.quantile(1000)), 1000, 1000.0 / 16);
}

TEST(Histogram, SnapshotsOfSeveralWorkersAddUp) {
  Histogram fast;
  Histogram slow;
  for (int i = 0; i < 999; ++i) fast.record(3);
  slow.record(10);
  HistogramSnapshot both;
  both.add(fast);
  both.add(slow);
  EXPECT_EQ(both.quantile(999), 3u);
  EXPECT_EQ(both.quantile(1000), 10u);
}

TEST(Histogram, NothingRecorded) {
  EXPECT_EQ(HistogramSnapshot().quantile(500), 0u);
}

}  // namespace
}  // namespace sluice::stats
