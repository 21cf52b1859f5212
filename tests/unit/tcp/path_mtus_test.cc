#include "tcp/path_mtus.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr Instant start = Instant::from_ns(7'000'000'000);
const inet::Address peer = inet::Address::v4(0xc000'0201);

TEST(PathMtus, KeepsWhatWasLearntForTenMinutes) {
  PathMtus paths({1, 2});
  EXPECT_TRUE(paths.empty());
  EXPECT_EQ(paths.find(start, peer), 0);
  paths.learn(start, peer, 1400);
  EXPECT_FALSE(paths.empty());
  EXPECT_EQ(paths.find(start + 599_s, peer), 1400);
  EXPECT_EQ(paths.find(start + 600_s, peer), 0);
  EXPECT_EQ(paths.find(start, inet::Address::v4(0xc000'0202)), 0);
}

TEST(PathMtus, TheLastWordCountsAndItsTime) {
  PathMtus paths({1, 2});
  paths.learn(start, peer, 1400);
  paths.learn(start + 500_s, peer, 1280);
  EXPECT_EQ(paths.find(start + 1000_s, peer), 1280);
  paths.forget(peer);
  EXPECT_EQ(paths.find(start + 500_s, peer), 0);
}

// However many destinations there are, the latest are found and the table does not grow.
TEST(PathMtus, TheOldestOfASetGivesWay) {
  PathMtus paths({1, 2});
  constexpr uint32_t many = PathMtus::sets * PathMtus::ways * 4;
  for (uint32_t i = 0; i < many; ++i) {
    paths.learn(start + i * 1_s, inet::Address::v4(i), 1400);
  }
  uint32_t found = 0;
  const Instant end = start + many * 1_s;
  for (uint32_t i = 0; i < many; ++i) {
    if (paths.find(end, inet::Address::v4(i)) != 0) ++found;
  }
  EXPECT_GT(found, 450u);  // of those of the last ten minutes
  EXPECT_LE(found, 600u);
  EXPECT_EQ(paths.find(end, inet::Address::v4(many - 1)), 1400);
}

}  // namespace
}  // namespace sluice::tcp
