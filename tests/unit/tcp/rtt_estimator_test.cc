#include "tcp/rtt_estimator.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(RttEstimator, StartsAtOneSecond) {
  EXPECT_EQ(RttEstimator().rto(), 1_s);
}

TEST(RttEstimator, FirstSampleSetsBothValues) {
  RttEstimator rtt;
  rtt.add_sample(300_ms);
  EXPECT_EQ(rtt.srtt(), 300_ms);
  EXPECT_EQ(rtt.rttvar(), 150_ms);
  EXPECT_EQ(rtt.rto(), 900_ms);
}

TEST(RttEstimator, LaterSamplesMoveByTheGains) {
  RttEstimator rtt;
  rtt.add_sample(800_ms);
  rtt.add_sample(400_ms);
  EXPECT_EQ(rtt.srtt(), 750_ms);    // 7/8 * 800 + 1/8 * 400
  EXPECT_EQ(rtt.rttvar(), 400_ms);  // 3/4 * 400 + 1/4 * 400
  EXPECT_EQ(rtt.min_rtt(), 400_ms);
}

TEST(RttEstimator, ManySamplesInARoundTripMoveLess) {
  RttEstimator one;
  RttEstimator many;
  one.add_sample(800_ms);
  many.add_sample(800_ms);
  one.add_sample(400_ms);
  for (int i = 0; i < 10; ++i) many.add_sample(400_ms, 10);
  EXPECT_NEAR(static_cast<double>(many.srtt().us()), static_cast<double>(one.srtt().us()), 5'000);
}

TEST(RttEstimator, SteadySamplesConverge) {
  RttEstimator rtt;
  rtt.add_sample(1_s);
  for (int i = 0; i < 500; ++i) rtt.add_sample(40_us, 4);
  EXPECT_EQ(rtt.srtt(), 40_us);
  EXPECT_EQ(rtt.rto(), rto_min);
}

TEST(RttEstimator, FloorAndCeilingHold) {
  RttEstimator rtt;
  rtt.add_sample(50_us);
  EXPECT_EQ(rtt.rto(), 200_ms);
  for (int i = 0; i < 100; ++i) rtt.back_off();
  EXPECT_EQ(rtt.rto(), 60_s);
  RttEstimator slow;
  slow.add_sample(1000_s);
  EXPECT_EQ(slow.rto(), 60_s);
}

TEST(RttEstimator, VarianceDoesNotFallBelowItsFloor) {
  RttEstimator rtt;
  for (int i = 0; i < 200; ++i) rtt.add_sample(300_ms);
  EXPECT_EQ(rtt.rto(), 301_ms);
}

TEST(RttEstimator, BackOffDoublesAndASampleEndsIt) {
  RttEstimator rtt;
  rtt.add_sample(100_ms);
  EXPECT_EQ(rtt.rto(), 300_ms);
  rtt.back_off();
  rtt.back_off();
  EXPECT_EQ(rtt.rto(), 1200_ms);
  rtt.add_sample(100_ms);
  EXPECT_LT(rtt.rto(), 301_ms);
}

TEST(RttEstimator, LostSynWithoutASampleAsksForThreeSeconds) {
  RttEstimator rtt;
  rtt.note_lost_syn();
  EXPECT_EQ(rtt.rto(), 3_s);
  rtt.add_sample(100_ms);
  EXPECT_EQ(rtt.rto(), 300_ms);
}

TEST(RttFromTimestamps, WorksAcrossTheWrapAndRefusesNonsense) {
  Duration rtt;
  ASSERT_TRUE(rtt_from_timestamps({.now_ms = 5, .echoed_ms = 0xffff'fffb}, rtt));
  EXPECT_EQ(rtt, 10_ms);
  EXPECT_FALSE(rtt_from_timestamps({.now_ms = 5, .echoed_ms = 6}, rtt));
  EXPECT_FALSE(rtt_from_timestamps({.now_ms = 500'000, .echoed_ms = 0}, rtt));
}

}  // namespace
}  // namespace sluice::tcp
