#include "tcp/dctcp.h"

#include <gtest/gtest.h>

#include "fluid_path.h"
#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

// RFC 8257 section 3.3: alpha moves a sixteenth of the way to the share seen, once per window.
TEST(Dctcp, AlphaFollowsTheShareOfMarkedBytes) {
  SteadyFlow flow(CongestionAlgorithm::dctcp);
  EXPECT_EQ(flow.cc.marked_share(), 1.0f);
  flow.round_trip(1_ms);
  double expected = 1.0;
  for (int i = 0; i < 20; ++i) {
    flow.round_trip(1_ms);
    expected *= 15.0 / 16;
    EXPECT_NEAR(flow.cc.marked_share(), expected, 0.07 * expected) << i;
  }
  for (int i = 0; i < 150; ++i) flow.round_trip(1_ms, {.window_bytes = 80 * 1448, .marked_of = 4});
  EXPECT_NEAR(flow.cc.marked_share(), 0.25, 0.01);
}

TEST(Dctcp, AMarkTakesHalfOfAlphaOncePerWindow) {
  SteadyFlow flow(CongestionAlgorithm::dctcp);
  for (int i = 0; i < 8; ++i) flow.round_trip(1_ms);
  const double alpha = flow.cc.marked_share();
  ASSERT_LT(alpha, 0.8);
  const double before = flow.cc.cwnd();
  // Every ACK of the window is marked; the first reduces, the rest do not.
  flow.round_trip(1_ms, {.limited = false, .marked_of = 1});
  EXPECT_NEAR(flow.cc.cwnd(), before * (1 - alpha / 2), 0.05 * before);
  EXPECT_TRUE(flow.cc.cwr_due());
}

// Section 3.5: a loss is answered as ever.
TEST(Dctcp, ALossHalves) {
  SteadyFlow flow(CongestionAlgorithm::dctcp);
  for (int i = 0; i < 5; ++i) flow.round_trip(1_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.lose();
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
}

TEST(Dctcp, MemoryKeepsAlpha) {
  SteadyFlow flow(CongestionAlgorithm::dctcp);
  for (int i = 0; i < 30; ++i) flow.round_trip(1_ms);
  const CongestionControl back(flow.cc.memory(flow.now), {.mss = SteadyFlow::mss});
  EXPECT_EQ(back.marked_share(), flow.cc.marked_share());
}

// What it is for: a full link and a queue that stays near the marking threshold.
TEST(Dctcp, KeepsTheQueueAtTheThresholdAndTheLinkBusy) {
  // 10 Gbit/s, 200 us: a pipe of 250,000 bytes; section 5 of the DCTCP paper: K > pipe / 7.
  FluidPath flow(
      CongestionAlgorithm::dctcp,
      {.bytes_per_s = 1.25e9, .rtt = 200_us, .queue_bytes = 2'000'000, .mark_bytes = 65 * 1448});
  flow.run(100_ms);
  const uint64_t bytes = flow.run(200_ms);
  EXPECT_GT(flow.share(bytes, 200_ms), 0.95);
  EXPECT_LT(flow.queue_peak, 3u * 65 * 1448);
  EXPECT_EQ(flow.lost_segments, 0u);
}

// RFC 3168 section 6.1.2: for the others a mark is what a loss is, once per window of data.
TEST(CongestionMark, ReducesOncePerWindowOfData) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  const double before = flow.cc.cwnd();
  flow.round_trip(50_ms, {.limited = false, .marked_of = 1});
  EXPECT_NEAR(flow.cc.cwnd(), before * 0.7, 1);
  EXPECT_TRUE(flow.cc.cwr_due());
  flow.cc.on_cwr_sent();
  flow.round_trip(50_ms, {.limited = false});
  flow.round_trip(50_ms, {.limited = false, .marked_of = 1});
  EXPECT_NEAR(flow.cc.cwnd(), before * 0.49, 2);
  EXPECT_TRUE(flow.cc.cwr_due());
}

// RFC 3168 section 6.1.2: an ACK that echoes a mark does not make the window grow.
TEST(CongestionMark, AnEchoDoesNotGrowTheWindow) {
  for (const auto algorithm :
       {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno, CongestionAlgorithm::dctcp}) {
    SteadyFlow flow(algorithm);
    for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
    flow.cc.on_loss_event(flow.now, flow.cc.cwnd());  // so that it grows by what it is limited by
    flow.cc.on_recovery_end(flow.now);
    const uint32_t before = flow.cc.cwnd();
    flow.round_trip(50_ms, {.marked_of = 1});
    const uint32_t reduced = flow.cc.cwnd();
    EXPECT_LT(reduced, before);
    // What was in flight when the window was reduced: each of its ACKs still echoes the mark.
    flow.round_trip(50_ms, {.window_bytes = reduced - SteadyFlow::mss, .marked_of = 1});
    EXPECT_LE(flow.cc.cwnd(), reduced);
  }
}

// RFC 9438 section 4.6.
TEST(CongestionMark, EndsAtOneSegmentWhereALossEndsAtTwo) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    SteadyFlow flow(algorithm);
    for (int i = 0; i < 40; ++i) flow.round_trip(50_ms, {.marked_of = 1});
    EXPECT_EQ(flow.cc.cwnd(), SteadyFlow::mss);
    EXPECT_EQ(flow.cc.ssthresh(), 2u * SteadyFlow::mss);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 2u * SteadyFlow::mss);
  }
}

TEST(CongestionMark, IsNotCountedOnTopOfALossOfTheSameWindow) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  const double before = flow.cc.cwnd();
  flow.cc.on_loss_event(flow.now, flow.cc.cwnd());
  flow.round_trip(50_ms, {.marked_of = 1, .mode = RecoveryMode::fast});
  EXPECT_NEAR(flow.cc.cwnd(), before * 0.7, 1);
}

}  // namespace
}  // namespace sluice::tcp
