#include "tcp/congestion_control.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr uint16_t mss = 1448;

// Acknowledges whole windows, one ACK for two segments, and keeps the offsets.
class Flow {
 public:
  explicit Flow(CongestionAlgorithm algorithm) : cc(algorithm, mss) {}

  void round_trip(Duration rtt, bool app_limited = false) {
    const uint32_t window = cc.cwnd();
    for (uint32_t acked = 0; acked < window;) {
      const uint32_t bytes = std::min<uint32_t>(2u * mss, window - acked);
      una += bytes;
      acked += bytes;
      cc.on_ack(now, {.acked_bytes = bytes,
                      .rtt = rtt,
                      .smoothed_rtt = rtt,
                      .snd_una = una,
                      .snd_nxt = una + cc.cwnd(),
                      .app_limited = app_limited});
    }
    now = now + rtt;
  }

  CongestionControl cc;
  StreamOffset una{(uint64_t{1} << 32) - 100'000};
  Instant now = Instant::from_ns(5'000'000'000);
};

TEST(CongestionControl, BeginsWithTenSegments) {
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 1448).cwnd(), 14'480u);
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 536).cwnd(), 5'360u);
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 8948).cwnd(), 17'896u);
}

TEST(CongestionControl, SlowStartDoublesEachRoundTrip) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    Flow flow(algorithm);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 28'960u);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 57'920u);
  }
}

TEST(CongestionControl, DoesNotGrowWhenTheApplicationIsTheLimit) {
  Flow flow(CongestionAlgorithm::cubic);
  flow.round_trip(50_ms, true);
  EXPECT_EQ(flow.cc.cwnd(), 14'480u);
}

TEST(CongestionControl, HyStartLeavesSlowStartWhenDelayRises) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 4; ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
  for (int i = 0; i < 8 && flow.cc.in_slow_start(); ++i) flow.round_trip(80_ms);
  EXPECT_FALSE(flow.cc.in_slow_start());
}

TEST(CongestionControl, HyStartIgnoresAPassingDelay) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 4; ++i) flow.round_trip(50_ms);
  flow.round_trip(80_ms);
  for (int i = 0; i < 6; ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
}

TEST(NewReno, HalvesOnLossAndAddsOneSegmentPerWindow) {
  Flow flow(CongestionAlgorithm::new_reno);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.cc.on_loss_event(flow.now);
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  const uint32_t after = flow.cc.cwnd();
  for (int i = 0; i < 10; ++i) flow.round_trip(50_ms);
  EXPECT_NEAR(flow.cc.cwnd(), after + 10 * mss, mss);
}

TEST(NewReno, TimeoutFallsToOneSegmentAndSlowStartsToTheThreshold) {
  Flow flow(CongestionAlgorithm::new_reno);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.cc.on_rto(flow.now, {.first = true});
  EXPECT_EQ(flow.cc.cwnd(), mss);
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  flow.cc.on_rto(flow.now, {.first = false});
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  for (int i = 0; i < 20 && flow.cc.in_slow_start(); ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
}

TEST(Cubic, FallsToSevenTenthsOnLoss) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const double before = flow.cc.cwnd();
  flow.cc.on_loss_event(flow.now);
  EXPECT_NEAR(flow.cc.cwnd(), before * 0.7, 1);
}

TEST(Cubic, ReturnsToTheOldWindowAfterK) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 7; ++i) flow.round_trip(100_ms);
  const double w_max = flow.cc.cwnd();
  flow.cc.on_loss_event(flow.now);
  const double k_s = std::cbrt(w_max * 0.3 / mss / 0.4);
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
  Flow cubic(CongestionAlgorithm::cubic);
  for (int i = 0; i < 3; ++i) cubic.round_trip(1_ms);
  cubic.cc.on_loss_event(cubic.now);
  const double after = cubic.cc.cwnd();
  for (int i = 0; i < 60; ++i) cubic.round_trip(1_ms);
  // alpha is 0.53 segments a round trip up to the former window, 1 from there on.
  EXPECT_GT(cubic.cc.cwnd(), after + 0.5 * 60 * mss);
}

TEST(Cubic, FastConvergenceGivesRoomAfterASecondEarlyLoss) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 7; ++i) flow.round_trip(100_ms);
  flow.cc.on_loss_event(flow.now);
  const double second = flow.cc.cwnd();
  flow.cc.on_loss_event(flow.now);
  EXPECT_NEAR(flow.cc.cwnd(), second * 0.7, 1);
  // The plateau is now at 0.85 of the second loss's window, not at the window itself.
  const Instant lost = flow.now;
  const double k_s = std::cbrt((0.85 - 0.7) * second / mss / 0.4);
  while (flow.now - lost < Duration::from_us(static_cast<int64_t>(k_s * 1e6))) {
    flow.round_trip(100_ms);
  }
  EXPECT_NEAR(flow.cc.cwnd(), 0.85 * second, 0.02 * second);
}

TEST(Cubic, LargeWindowsGrowByFractionsOfAByte) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 11; ++i) flow.round_trip(100_ms);
  const double w_max = flow.cc.cwnd();
  ASSERT_GT(w_max, 10e6);
  flow.cc.on_loss_event(flow.now);
  for (int i = 0; i < 20; ++i) flow.round_trip(100_ms);
  EXPECT_GT(flow.cc.cwnd(), w_max * 0.72);
}

TEST(CongestionControl, WindowNeverFallsBelowTwoSegmentsByLoss) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    CongestionControl cc(algorithm, mss);
    for (int i = 0; i < 50; ++i) cc.on_loss_event(Instant::from_ns(1));
    EXPECT_EQ(cc.cwnd(), 2u * mss);
  }
}

TEST(CongestionControl, IdleRestartGoesBackToTheInitialWindow) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  flow.cc.on_loss_event(flow.now);
  const uint32_t before = flow.cc.cwnd();
  flow.cc.on_idle_restart(flow.now);
  EXPECT_EQ(flow.cc.cwnd(), 14'480u);
  EXPECT_GE(flow.cc.ssthresh(), before / 4 * 3);
  EXPECT_TRUE(flow.cc.in_slow_start());
}

TEST(CongestionControl, CopyUndoesASpuriousLoss) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  const CongestionControl saved = flow.cc;
  flow.cc.on_rto(flow.now, {});
  flow.cc = saved;
  EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
  flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.cwnd(), 2 * saved.cwnd());
}

TEST(CongestionControl, WindowIsBounded) {
  Flow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 40 && flow.cc.cwnd() < CongestionControl::cwnd_max; ++i) {
    flow.una += flow.cc.cwnd();
    flow.cc.on_ack(flow.now,
                   {.acked_bytes = flow.cc.cwnd(), .snd_una = flow.una, .snd_nxt = flow.una});
  }
  EXPECT_EQ(flow.cc.cwnd(), CongestionControl::cwnd_max);
}

}  // namespace
}  // namespace sluice::tcp
