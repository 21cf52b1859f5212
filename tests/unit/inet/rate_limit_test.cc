#include "inet/rate_limit.h"

#include <gtest/gtest.h>

namespace sluice::inet {
namespace {

TEST(RateLimit, AllowsABurstThenTheRate) {
  RateLimit limit({.per_second = 10, .burst = 3});
  Instant now = Instant() + 5_s;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.take(now)) << i;
  EXPECT_FALSE(limit.take(now));
  now = now + 99_ms;
  EXPECT_FALSE(limit.take(now));
  now = now + 1_ms;
  EXPECT_TRUE(limit.take(now));
  EXPECT_FALSE(limit.take(now));
}

TEST(RateLimit, SavesNoMoreThanABurst) {
  RateLimit limit({.per_second = 1000, .burst = 2});
  const Instant later = Instant() + 3600_s;
  EXPECT_TRUE(limit.take(later));
  EXPECT_TRUE(limit.take(later));
  EXPECT_FALSE(limit.take(later));
}

}  // namespace
}  // namespace sluice::inet
