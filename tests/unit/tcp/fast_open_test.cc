#include "tcp/fast_open.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr Instant now = Instant::from_ns(7'200'000'000'000);
constexpr inet::Address address = inet::Address::v4(0xc000'0201);
using Verdict = FastOpen::Verdict;

FastOpen with_key(uint64_t key) {
  return FastOpen({.key = {key, 2}, .pending_max = 2});
}

TEST(FastOpen, CookiesBelongToOneAddressAndOneKey) {
  const FastOpen fast_open = with_key(1);
  const FastOpen::Cookie cookie = fast_open.make(now, address);
  EXPECT_EQ(fast_open.check(now, address, cookie), Verdict::good);
  EXPECT_EQ(fast_open.check(now, inet::Address::v4(0xc000'0202), cookie), Verdict::bad);
  EXPECT_EQ(with_key(3).check(now, address, cookie), Verdict::bad);
  EXPECT_EQ(fast_open.check(now, address, Bytes(cookie).first(4)), Verdict::bad);
  EXPECT_EQ(fast_open.check(now, address, {}), Verdict::bad);
  for (size_t i = 0; i < cookie.size(); ++i) {
    FastOpen::Cookie changed = cookie;
    changed[i] ^= std::byte{0x10};
    EXPECT_EQ(fast_open.check(now, address, changed), Verdict::bad);
  }
}

TEST(FastOpen, AllEnginesOfAServerTakeTheSameCookies) {
  EXPECT_EQ(with_key(1).check(now, address, with_key(1).make(now, address)), Verdict::good);
}

TEST(FastOpen, CookiesAreGoodForTwoEpochs) {
  const FastOpen fast_open = with_key(1);
  const FastOpen::Cookie cookie = fast_open.make(now, address);
  EXPECT_EQ(fast_open.check(now + 3599_s, address, cookie), Verdict::good);
  EXPECT_EQ(fast_open.check(now + 3600_s, address, cookie), Verdict::good_but_old);
  EXPECT_EQ(fast_open.check(now + 7200_s, address, cookie), Verdict::bad);
}

TEST(FastOpen, LimitsThoseThatRestOnACookieAlone) {
  FastOpen fast_open = with_key(1);
  EXPECT_TRUE(fast_open.begin());
  EXPECT_TRUE(fast_open.begin());
  EXPECT_FALSE(fast_open.begin());
  fast_open.end();
  EXPECT_TRUE(fast_open.begin());
  EXPECT_FALSE(FastOpen({}).enabled());
}

}  // namespace
}  // namespace sluice::tcp
