#include "tcp/challenge_limit.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::tcp {
namespace {

using namespace literals;

TEST(ChallengeLimit, AllowsAboutAThousandASecondAndNeverTheSame) {
  ChallengeLimit limit({1, 2});
  std::set<int> allowances;
  for (int second = 0; second < 50; ++second) {
    const Instant now = Instant::from_ns(0) + second * 1_s;
    int taken = 0;
    while (limit.take(now)) ++taken;
    EXPECT_GE(taken, 500);
    EXPECT_LT(taken, 1500);
    EXPECT_FALSE(limit.take(now + 999_ms));
    allowances.insert(taken);
  }
  EXPECT_GT(allowances.size(), 30u);
}

TEST(ChallengeLimit, CannotBeForetoldWithoutTheKey) {
  ChallengeLimit one({1, 2});
  ChallengeLimit other({3, 4});
  const Instant now = Instant::from_ns(77'000'000'000);
  int difference = 0;
  while (one.take(now)) ++difference;
  while (other.take(now)) --difference;
  EXPECT_NE(difference, 0);
}

}  // namespace
}  // namespace sluice::tcp
