#include "tcp/source_limits.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/prng.h"

namespace sluice::tcp {
namespace {

constexpr SipKey key{1, 2};

TEST(SourceLimits, CountIpv4AddressesOneByOne) {
  SourceLimits limits({.connections_max = 2}, 16, key);
  const inet::Address one = inet::Address::v4(0xc000'0201);
  const inet::Address other = inet::Address::v4(0xc000'0202);
  limits.open(one);
  EXPECT_TRUE(limits.allows_connection(one));
  limits.open(one);
  EXPECT_FALSE(limits.allows_connection(one));
  EXPECT_TRUE(limits.allows_connection(other));
  limits.close(one);
  EXPECT_TRUE(limits.allows_connection(one));
}

TEST(SourceLimits, CountIpv6BySubscriber) {
  SourceLimits limits({.half_open_max = 1}, 16, key);
  const inet::Address one = inet::Address::words(0x2001'0db8'0001'0001, 1);
  const inet::Address neighbor = inet::Address::words(0x2001'0db8'0001'0001, 0xffff'ffff'ffff'ffff);
  const inet::Address other = inet::Address::words(0x2001'0db8'0001'0002, 1);
  limits.open(one);
  limits.open_half(one);
  EXPECT_FALSE(limits.allows_half_open(neighbor));
  EXPECT_TRUE(limits.allows_half_open(other));
  limits.close_half(one);
  EXPECT_TRUE(limits.allows_half_open(neighbor));
}

TEST(SourceLimits, TakeOtherPrefixes) {
  SourceLimits limits({.connections_max = 1, .prefix_v4 = 24, .prefix_v6 = 96}, 16, key);
  limits.open(inet::Address::v4(0xc000'0201));
  EXPECT_FALSE(limits.allows_connection(inet::Address::v4(0xc000'02fe)));
  EXPECT_TRUE(limits.allows_connection(inet::Address::v4(0xc000'0301)));
  limits.open(inet::Address::words(1, 0x0000'0001'0000'0001));
  EXPECT_FALSE(limits.allows_connection(inet::Address::words(1, 0x0000'0001'ffff'ffff)));
  EXPECT_TRUE(limits.allows_connection(inet::Address::words(1, 0x0000'0002'0000'0001)));
}

TEST(SourceLimits, CostNothingWhereThereAreNone) {
  EXPECT_LE(SourceLimits::memory_bytes({}, 1'000'000), 64u);
  SourceLimits limits({}, 1'000'000, key);
  for (int i = 0; i < 100; ++i) limits.open(inet::Address::v4(1));
  EXPECT_TRUE(limits.allows_connection(inet::Address::v4(1)));
  EXPECT_EQ(limits.sources(), 0u);
}

// Against a map, with the table as full as it can be.
TEST(SourceLimits, LoseAndMixUpNothing) {
  SourceLimits limits({.connections_max = 3}, 64, key);
  std::map<uint32_t, uint32_t> model;
  std::vector<uint32_t> open;
  Prng prng(7);
  for (int i = 0; i < 100'000; ++i) {
    if (open.size() < 64 && prng.chance(1, 2)) {
      const auto source = static_cast<uint32_t>(prng.below(80));
      ASSERT_EQ(limits.allows_connection(inet::Address::v4(source)), model[source] < 3);
      if (model[source] == 3) continue;
      limits.open(inet::Address::v4(source));
      ++model[source];
      open.push_back(source);
    } else if (!open.empty()) {
      const size_t at = prng.below(open.size());
      limits.close(inet::Address::v4(open[at]));
      --model[open[at]];
      open[at] = open.back();
      open.pop_back();
    }
  }
  for (const uint32_t source : open) limits.close(inet::Address::v4(source));
  EXPECT_EQ(limits.sources(), 0u);
}

}  // namespace
}  // namespace sluice::tcp
