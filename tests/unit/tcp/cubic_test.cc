#include "tcp/cubic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(Cubic, FallsToSevenTenthsOnLoss) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const double before = flow.cc.cwnd();
  flow.lose();
  EXPECT_NEAR(flow.cc.cwnd(), before * 0.7, 1);
}

TEST(Cubic, ReturnsToTheOldWindowAfterK) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 7; ++i) flow.round_trip(100_ms);
  const double w_max = flow.cc.cwnd();
  flow.lose();
  const double k_s = std::cbrt(w_max * 0.3 / SteadyFlow::mss / 0.4);
  const Instant lost = flow.now;
  while (flow.now - lost < Duration::from_us(static_cast<int64_t>(k_s * 1e6))) {
    flow.round_trip(100_ms);
    EXPECT_LE(flow.cc.cwnd(), w_max * 1.01);
  }
  EXPECT_NEAR(flow.cc.cwnd(), w_max, w_max * 0.02);
  // Then it probes beyond, slowly first.
  flow.round_trip(100_ms);
  EXPECT_LT(flow.cc.cwnd(), w_max * 1.02);
  for (int i = 0; i < 100; ++i) flow.round_trip(100_ms);
  EXPECT_GT(flow.cc.cwnd(), w_max * 1.2);
}

TEST(Cubic, IsNotSlowerThanRenoOnShortPaths) {
  SteadyFlow cubic(CongestionAlgorithm::cubic);
  for (int i = 0; i < 3; ++i) cubic.round_trip(1_ms);
  cubic.lose();
  const double after = cubic.cc.cwnd();
  for (int i = 0; i < 60; ++i) cubic.round_trip(1_ms);
  // alpha is 0.53 segments a round trip up to the former window, 1 from there on.
  EXPECT_GT(cubic.cc.cwnd(), after + 0.5 * 60 * SteadyFlow::mss);
}

TEST(Cubic, FastConvergenceGivesRoomAfterASecondEarlyLoss) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 7; ++i) flow.round_trip(100_ms);
  flow.lose();
  const double second = flow.cc.cwnd();
  flow.lose();
  EXPECT_NEAR(flow.cc.cwnd(), second * 0.7, 1);
  // The plateau is now at 0.85 of the second loss's window, not at the window itself.
  const Instant lost = flow.now;
  const double k_s = std::cbrt((0.85 - 0.7) * second / SteadyFlow::mss / 0.4);
  while (flow.now - lost < Duration::from_us(static_cast<int64_t>(k_s * 1e6))) {
    flow.round_trip(100_ms);
  }
  EXPECT_NEAR(flow.cc.cwnd(), 0.85 * second, 0.02 * second);
}

TEST(Cubic, LargeWindowsGrowByFractionsOfAByte) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 11; ++i) flow.round_trip(100_ms);
  const double w_max = flow.cc.cwnd();
  ASSERT_GT(w_max, 10e6);
  flow.lose();
  for (int i = 0; i < 20; ++i) flow.round_trip(100_ms);
  EXPECT_GT(flow.cc.cwnd(), w_max * 0.72);
}

// Section 4.2, figure 1: the window a time t after a loss is W_cubic(t).
TEST(Cubic, FollowsTheFormula) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 8; ++i) flow.round_trip(200_ms);
  const double w_max = flow.cc.cwnd() / double{SteadyFlow::mss};
  flow.lose();
  const double k_s = std::cbrt(w_max * 0.3 / 0.4);
  const Instant lost = flow.now;
  while (flow.now - lost < 2 * Duration::from_us(static_cast<int64_t>(k_s * 1e6))) {
    flow.round_trip(200_ms);
    // The ACKs of the last round trip came at its beginning and aimed at its end.
    const double t = static_cast<double>((flow.now - lost).us()) * 1e-6;
    const double expected = 0.4 * std::pow(t - k_s, 3) + w_max;
    EXPECT_NEAR(flow.cc.cwnd() / double{SteadyFlow::mss}, expected, 0.03 * expected) << t;
  }
}

// Section 4.8.
TEST(Cubic, HasNoPlateauAfterATimeout) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 6; ++i) flow.round_trip(100_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.cc.on_rto(flow.now, {.first = true, .in_flight_bytes = before});
  flow.cc.on_recovery_end(flow.now);
  EXPECT_NEAR(flow.cc.ssthresh(), before * 0.7, 1);
  while (flow.cc.in_slow_start()) flow.round_trip(100_ms);
  const double start = flow.cc.cwnd();
  // K is 0 and W_max the window now: 0.4 * t^3 segments more at time t, or Reno's one a round trip.
  for (int i = 0; i < 40; ++i) flow.round_trip(100_ms);
  const double t = 4.0;
  EXPECT_NEAR(flow.cc.cwnd(), start + 0.4 * t * t * t * SteadyFlow::mss, 17.0 * SteadyFlow::mss);
}

// Section 5.8: time in which the application is the limit does not count.
TEST(Cubic, StopsItsClockWhileTheApplicationIsTheLimit) {
  SteadyFlow busy(CongestionAlgorithm::cubic);
  for (int i = 0; i < 6; ++i) busy.round_trip(100_ms);
  busy.lose();
  SteadyFlow lazy = busy;
  for (int i = 0; i < 5; ++i) lazy.round_trip(100_ms);
  for (int i = 0; i < 5; ++i) busy.round_trip(100_ms);
  for (int i = 0; i < 50; ++i) lazy.round_trip(100_ms, {.limited = false});
  for (int i = 0; i < 10; ++i) {
    busy.round_trip(100_ms);
    lazy.round_trip(100_ms);
  }
  EXPECT_NEAR(lazy.cc.cwnd(), busy.cc.cwnd(), 0.01 * busy.cc.cwnd());
}

TEST(Cubic, ComesBackFromMemoryOntoTheSameCurve) {
  SteadyFlow kept(CongestionAlgorithm::cubic);
  for (int i = 0; i < 6; ++i) kept.round_trip(100_ms);
  kept.lose();
  for (int i = 0; i < 5; ++i) kept.round_trip(100_ms);
  SteadyFlow restored = kept;
  restored.cc = CongestionControl(kept.cc.memory(kept.now), {.mss = SteadyFlow::mss});
  EXPECT_EQ(restored.cc.cwnd(), kept.cc.cwnd());
  for (int i = 0; i < 20; ++i) {
    kept.round_trip(100_ms);
    restored.round_trip(100_ms);
    EXPECT_NEAR(restored.cc.cwnd(), kept.cc.cwnd(), 0.02 * kept.cc.cwnd());
  }
}

}  // namespace
}  // namespace sluice::tcp
