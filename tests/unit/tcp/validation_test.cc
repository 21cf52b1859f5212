#include "tcp/validation.h"

#include <gtest/gtest.h>

#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

SteadyFlow grown() {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 5; ++i) flow.round_trip(50_ms);
  return flow;
}

// RFC 7661 section 4.2.
TEST(Validation, PipeAckIsTheLargestRoundOfThePeriod) {
  SteadyFlow flow = grown();
  EXPECT_NEAR(flow.cc.pipe_ack(), flow.cc.cwnd() / 2, 2 * SteadyFlow::mss);
  // max (3*RTT, 1 s) later, it is forgotten.
  for (int i = 0; i < 22; ++i) {
    flow.round_trip(50_ms, {.limited = false, .window_bytes = 4 * SteadyFlow::mss});
  }
  EXPECT_EQ(flow.cc.pipe_ack(), 4u * SteadyFlow::mss);
}

// Section 4.4.1: the window is kept, however little of it is used.
TEST(Validation, AnIdleWindowIsKeptForFiveMinutes) {
  SteadyFlow flow = grown();
  const uint32_t before = flow.cc.cwnd();
  flow.now = flow.now + 299_s;
  flow.cc.on_idle_restart(flow.now, 299_s);
  EXPECT_EQ(flow.cc.cwnd(), before);
}

// Section 4.4.3.
TEST(Validation, AfterFiveMinutesHalfOfItIsLeft) {
  SteadyFlow flow = grown();
  flow.lose();
  const uint32_t before = flow.cc.cwnd();
  flow.now = flow.now + 302_s;
  flow.cc.on_idle_restart(flow.now, 302_s);
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
  EXPECT_EQ(flow.cc.ssthresh(), before);  // it was higher than three quarters of the window
  for (int i = 0; i < 10; ++i) {
    flow.now = flow.now + 302_s;
    flow.cc.on_idle_restart(flow.now, 302_s);
  }
  EXPECT_EQ(flow.cc.cwnd(), initial_window_bytes(SteadyFlow::mss));
}

TEST(Validation, ATrickleDoesNotKeepTheWindowAlive) {
  SteadyFlow flow = grown();
  const uint32_t before = flow.cc.cwnd();
  const Instant end = flow.now + 310_s;
  while (flow.now < end) {
    flow.round_trip(50_ms, {.limited = false, .window_bytes = 2 * SteadyFlow::mss});
  }
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
}

// Section 4.4.1: what was sent is what the loss says something of.
TEST(Validation, ALossWhileNotValidCountsAgainstWhatWasUsed) {
  SteadyFlow flow = grown();
  const uint32_t used = 20u * SteadyFlow::mss;
  for (int i = 0; i < 30; ++i) flow.round_trip(50_ms, {.limited = false, .window_bytes = used});
  ASSERT_LT(used, flow.cc.cwnd() / 2);
  flow.cc.on_loss_event(flow.now, used / 2);
  EXPECT_NEAR(flow.cc.cwnd(), used * 0.7, 1);
}

// Sections 4.2 and 4.4.1.
TEST(Validation, NothingIsMeasuredInRecoveryAndNothingIsKnownAfterIt) {
  SteadyFlow flow = grown();
  const uint32_t known = flow.cc.pipe_ack();
  flow.cc.on_loss_event(flow.now, flow.cc.cwnd());
  flow.round_trip(50_ms, {.window_bytes = 2 * known, .mode = RecoveryMode::fast});
  flow.round_trip(50_ms, {.window_bytes = 2 * known, .mode = RecoveryMode::fast});
  EXPECT_EQ(flow.cc.pipe_ack(), known);
  flow.cc.on_recovery_end(flow.now);
  EXPECT_EQ(flow.cc.pipe_ack(), 0u);
  flow.round_trip(50_ms);
  EXPECT_GT(flow.cc.pipe_ack(), 0u);
}

TEST(Validation, MemoryKeepsTheTime) {
  SteadyFlow flow = grown();
  CongestionControl back(flow.cc.memory(flow.now), {.mss = SteadyFlow::mss});
  back.on_idle_restart(flow.now + 302_s, 302_s);
  EXPECT_EQ(back.cwnd(), flow.cc.cwnd() / 2);
}

}  // namespace
}  // namespace sluice::tcp
