#include "tcp/new_reno.h"

#include <gtest/gtest.h>

#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(NewReno, HalvesOnLossAndAddsOneSegmentPerWindow) {
  SteadyFlow flow(CongestionAlgorithm::new_reno);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.lose();
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  const uint32_t after = flow.cc.cwnd();
  for (int i = 0; i < 10; ++i) flow.round_trip(50_ms);
  EXPECT_NEAR(flow.cc.cwnd(), after + 10 * SteadyFlow::mss, SteadyFlow::mss);
}

TEST(NewReno, TimeoutFallsToOneSegmentAndSlowStartsToTheThreshold) {
  SteadyFlow flow(CongestionAlgorithm::new_reno);
  for (int i = 0; i < 3; ++i) flow.round_trip(50_ms);
  const uint32_t before = flow.cc.cwnd();
  flow.cc.on_rto(flow.now, {.first = true, .in_flight_bytes = before});
  EXPECT_EQ(flow.cc.cwnd(), SteadyFlow::mss);
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  flow.cc.on_rto(flow.now, {.first = false});
  flow.cc.on_recovery_end(flow.now);
  EXPECT_EQ(flow.cc.ssthresh(), before / 2);
  for (int i = 0; i < 20 && flow.cc.in_slow_start(); ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.cwnd(), before / 2);
}

}  // namespace
}  // namespace sluice::tcp
