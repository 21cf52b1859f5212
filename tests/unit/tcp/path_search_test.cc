#include "tcp/path_search.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

TEST(PathSearch, TriesTheLargestSizeFirstAndThenHalves) {
  EXPECT_EQ(PathSearch::next_larger(1240, 1460, 1460), 1460);
  EXPECT_EQ(PathSearch::next_larger(1240, 1459, 1460), 1350);
  EXPECT_EQ(PathSearch::next_larger(1350, 1459, 1460), 1405);
}

TEST(PathSearch, EndsWhenSizesAreClose) {
  EXPECT_EQ(PathSearch::next_larger(1428, 1459, 1460), 0);
  EXPECT_EQ(PathSearch::next_larger(1460, 1460, 1460), 0);
}

TEST(PathSearch, AlwaysComesToAnEnd) {
  for (uint16_t passes = 536; passes <= 8940; passes = static_cast<uint16_t>(passes + 7)) {
    uint16_t mss = 536;
    uint16_t high = 8940;
    int probes = 0;
    while (const uint16_t size = PathSearch::next_larger(mss, high, 8940)) {
      ASSERT_GT(size, mss);
      ASSERT_LE(size, high);
      size <= passes ? mss = size : high = static_cast<uint16_t>(size - 1);
      ASSERT_LT(++probes, 12);
    }
    EXPECT_LE(mss, passes);
    EXPECT_GT(mss + PathSearch::near_bytes, passes < 8940 ? passes : 8940);
  }
}

TEST(PathSearch, GoesDownToWhatEverybodyMustCarry) {
  const auto v4 = [](uint16_t mss, uint32_t timeouts) {
    return PathSearch::next_smaller(mss, {.headers = 52, .timeouts = timeouts, .is_v4 = true});
  };
  EXPECT_EQ(v4(1448, 1), 0);
  EXPECT_EQ(v4(1448, 2), 1228);
  EXPECT_EQ(v4(1228, 3), 0);
  EXPECT_EQ(v4(1228, 5), 524);
  EXPECT_EQ(v4(524, 9), 0);
  EXPECT_EQ(PathSearch::next_smaller(1428, {.headers = 72, .timeouts = 2}), 1208);
  EXPECT_EQ(PathSearch::next_smaller(1208, {.headers = 72, .timeouts = 9}), 0);
}

}  // namespace
}  // namespace sluice::tcp
