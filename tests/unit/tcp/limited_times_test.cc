#include "tcp/limited_times.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint32_t start = 0xffff'ff00;  // the clock wraps

TEST(LimitedTimes, EachReasonHasItsTime) {
  LimitedTimes times;
  times.reset(start);
  times.note(start + 100 * 1024, LimitedBy::congestion);
  times.note(start + 300 * 1024, LimitedBy::window);
  EXPECT_EQ(times.total(start + 310 * 1024, LimitedBy::application).us(), 100 * 1024);
  EXPECT_EQ(times.total(start + 310 * 1024, LimitedBy::congestion).us(), 200 * 1024);
  EXPECT_EQ(times.total(start + 310 * 1024, LimitedBy::window).us(), 10 * 1024);
  EXPECT_EQ(times.total(start + 310 * 1024, LimitedBy::nothing).us(), 0);
}

TEST(LimitedTimes, ChangesFasterThanATickLoseNothingInSum) {
  LimitedTimes times;
  times.reset(start);
  for (uint32_t i = 1; i <= 10'240; ++i) {
    times.note(start + i * 10, i % 2 == 0 ? LimitedBy::congestion : LimitedBy::nothing);
  }
  int64_t sum = 0;
  for (const LimitedBy by : {LimitedBy::application, LimitedBy::congestion, LimitedBy::nothing}) {
    sum += times.total(start + 102'400, by).us();
  }
  EXPECT_EQ(sum, 102'400);
}

}  // namespace
}  // namespace sluice::tcp
