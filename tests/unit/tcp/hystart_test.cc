#include "tcp/hystart.h"

#include <gtest/gtest.h>

#include "steady_flow.h"

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(HyStart, LeavesSlowStartWhenDelayRises) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 4; ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
  for (int i = 0; i < 8 && flow.cc.in_slow_start(); ++i) flow.round_trip(80_ms);
  EXPECT_FALSE(flow.cc.in_slow_start());
}

TEST(HyStart, IgnoresAPassingDelay) {
  SteadyFlow flow(CongestionAlgorithm::cubic);
  for (int i = 0; i < 4; ++i) flow.round_trip(50_ms);
  flow.round_trip(80_ms);
  for (int i = 0; i < 6; ++i) flow.round_trip(50_ms);
  EXPECT_EQ(flow.cc.ssthresh(), CongestionControl::ssthresh_unset);
}

}  // namespace
}  // namespace sluice::tcp
