#include "clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

namespace sluice::app {
namespace {

TEST(Clock, RunsAsFastAsTheKernelsAndNeverBackwards) {
  using Kernel = std::chrono::steady_clock;
  start_clock();
  const Instant first = clock_now();
  const Kernel::time_point kernel_first = Kernel::now();
  Instant last = first;
  while (last - first < 50_ms) {
    const Instant now = clock_now();
    ASSERT_GE(now, last);
    last = now;
  }
  const auto kernel_ns = std::chrono::nanoseconds(Kernel::now() - kernel_first).count();
  // The test may be held up between two readings: only a wrong scale is off by so much.
  EXPECT_LT(std::llabs((clock_now() - first).ns() - kernel_ns), kernel_ns / 10);
}

TEST(Clock, WallClockIsInThisCentury) {
  EXPECT_GT(wall_clock_now().unix_seconds(), 1'700'000'000);
  EXPECT_LT(wall_clock_now().unix_seconds(), 4'102'444'800);
}

}  // namespace
}  // namespace sluice::app
