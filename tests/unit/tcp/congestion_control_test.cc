#include "tcp/congestion_control.h"

#include <gtest/gtest.h>

#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(CongestionControl, BeginsWithTenSegments) {
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 1448).cwnd(), 14'480u);
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 536).cwnd(), 5'360u);
  EXPECT_EQ(CongestionControl(CongestionAlgorithm::cubic, 8948).cwnd(), 17'896u);
}

TEST(CongestionControl, SlowStartDoublesEachRoundTrip) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    SteadyFlow flow(algorithm);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 28'960u);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 57'920u);
  }
}

TEST(CongestionControl, DoesNotGrowWhenTheApplicationIsTheLimit) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  flow.round_trip(50_ms, {.limited = false});
  EXPECT_EQ(flow.cc.cwnd(), 14'480u);
}

TEST(CongestionControl, WindowNeverFallsBelowTwoSegmentsByLoss) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    CongestionControl cc(algorithm, SteadyFlow::mss);
    for (int i = 0; i < 50; ++i) cc.on_loss_event(Instant::from_ns(1), cc.cwnd());
    EXPECT_EQ(cc.cwnd(), 2u * SteadyFlow::mss);
  }
}

// RFC 5681 section 3.1, RFC 8899 section 3.
TEST(CongestionControl, SmallerSegmentsShrinkTheWindowAndLargerOnesDoNotGrowIt) {
  CongestionControl cc(CongestionAlgorithm::cubic, 1400);
  const uint32_t before = cc.cwnd();
  cc.set_mss(700);
  EXPECT_EQ(cc.cwnd(), before / 2);
  cc.set_mss(1400);
  EXPECT_EQ(cc.cwnd(), before / 2);
}

TEST(CongestionControl, UndoPutsBackWhatASpuriousLossTook) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    SteadyFlow flow(algorithm);
    for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
    const uint32_t before = flow.cc.cwnd();
    CongestionControl::SavedWindow kept;
    flow.cc.on_loss_event(flow.now, before, &kept);
    // Of the same recovery:
    flow.cc.on_rto(flow.now, {.first = true, .in_flight_bytes = before}, &kept);
    EXPECT_EQ(flow.cc.cwnd(), SteadyFlow::mss);
    flow.cc.on_undo(flow.now, &kept);
    flow.cc.on_recovery_end(flow.now);
    EXPECT_EQ(flow.cc.cwnd(), before);
    EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
    flow.round_trip(50_ms);
    EXPECT_EQ(flow.cc.cwnd(), 2 * before);
  }
}

// RFC 3708: the duplicates of its last retransmissions are reported after its end.
TEST(CongestionControl, AFinishedRecoveryCanBeUndoneOnce) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.lose();
  const uint32_t after = flow.cc.cwnd();
  flow.cc.on_undo(flow.now, &flow.before_loss);
  EXPECT_EQ(flow.cc.cwnd(), before);
  flow.lose();
  EXPECT_EQ(flow.cc.cwnd(), after);
}

// Who had no place to keep the window in goes on with what the loss left.
TEST(CongestionControl, WhatWasNotKeptIsNotPutBack) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  flow.cc.on_loss_event(flow.now, flow.cc.cwnd(), nullptr);
  const uint32_t after = flow.cc.cwnd();
  CongestionControl::SavedWindow late;
  flow.cc.on_loss_event(flow.now, flow.cc.cwnd(), &late);  // of the same recovery
  const uint32_t again = flow.cc.cwnd();
  EXPECT_LE(again, after);
  flow.cc.on_undo(flow.now, &late);
  EXPECT_EQ(flow.cc.cwnd(), again);
  EXPECT_GT(flow.cc.ssthresh(), 0u);
}

// Positions are kept as halves of a circle: they follow where nothing happens.
TEST(CongestionControl, AMarkCountsHoweverMuchWasSentWithoutOne) {
  SteadyFlow flow(CongestionAlgorithm::new_reno);
  for (const uint64_t start : {uint64_t{1}, uint64_t{1} << 31, (uint64_t{1} << 31) + 5}) {
    flow = SteadyFlow(CongestionAlgorithm::new_reno);
    flow.una = StreamOffset(start);
    for (int i = 0; i < 7; ++i) {  // 3.5 GiB
      flow.round_trip(50_ms, {.window_bytes = 1u << 29});
      EXPECT_GE(flow.cc.pipe_ack(), 1u << 28) << i;
    }
    const uint32_t before = flow.cc.cwnd();
    flow.round_trip(50_ms, {.window_bytes = 1u << 20, .marked_of = 1});
    EXPECT_LT(flow.cc.cwnd(), before) << start;
  }
}

TEST(CongestionControl, DoesNotGrowDuringFastRecovery) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  flow.cc.on_loss_event(flow.now, flow.cc.cwnd());
  const uint32_t after = flow.cc.cwnd();
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms, {.mode = RecoveryMode::fast});
  EXPECT_EQ(flow.cc.cwnd(), after);
}

TEST(CongestionControl, WindowIsBounded) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 40 && flow.cc.cwnd() < CongestionControl::cwnd_max; ++i) {
    flow.una += flow.cc.cwnd();
    flow.cc.on_ack(flow.now, {.newly_acked_bytes = flow.cc.cwnd(), .cwnd_limited = true},
                   {.snd_una = flow.una, .snd_nxt = flow.una + flow.cc.cwnd()});
  }
  EXPECT_EQ(flow.cc.cwnd(), CongestionControl::cwnd_max);
}

// What a keep-alive connection learnt is there for its next response.
TEST(CongestionControl, MemoryKeepsWindowThresholdAndPhase) {
  for (const auto algorithm : {CongestionAlgorithm::cubic, CongestionAlgorithm::new_reno}) {
    SteadyFlow flow(algorithm);
    for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
    flow.lose();
    for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
    const CongestionControl back(flow.cc.memory(flow.now), {.mss = SteadyFlow::mss});
    EXPECT_EQ(back.algorithm(), algorithm);
    EXPECT_EQ(back.cwnd(), flow.cc.cwnd());
    EXPECT_EQ(back.ssthresh(), flow.cc.ssthresh());
    EXPECT_EQ(back.pipe_ack(), flow.cc.pipe_ack());
  }
}

}  // namespace
}  // namespace sluice::tcp
