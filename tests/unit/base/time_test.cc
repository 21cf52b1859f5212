#include "base/time.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/prng.h"

namespace sluice {
namespace {

TEST(Time, ArithmeticIsExact) {
  const Instant start = Instant::from_ns(5);
  EXPECT_EQ((start + 3_us) - start, 3000_ns);
  EXPECT_EQ(1_s / 1_ms, 1000);
  EXPECT_EQ(2_ms * 3, 6_ms);
  EXPECT_LT(start, start + 1_ns);
}

TEST(Time, NeverIsLaterThanEverythingAndStaysSo) {
  EXPECT_TRUE((Instant::never() + 1_s).is_never());
  EXPECT_TRUE((Instant::from_ns(1) + Duration::max()).is_never());
  EXPECT_LT(Instant::from_ns(INT64_MAX - 1), Instant::never());
}

TEST(WallTime, SecondsRoundDownBeforeTheEpochToo) {
  EXPECT_EQ((WallTime{1'999'999'999}).unix_seconds(), 1);
  EXPECT_EQ((WallTime{-1}).unix_seconds(), -1);
}

TEST(Bytes, BigEndianAtAnyAlignment) {
  std::byte memory[16] = {};
  store_be64(memory + 1, 0x0102030405060708);
  EXPECT_EQ(load_u8(memory + 1), 1);
  EXPECT_EQ(load_be16(memory + 2), 0x0203);
  EXPECT_EQ(load_be32(memory + 3), 0x03040506u);
  EXPECT_EQ(load_be64(memory + 1), 0x0102030405060708u);
}

TEST(Prng, TheSameSeedGivesTheSameRun) {
  Prng a(7), b(7), c(8);
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), c.next());
}

TEST(Prng, BelowCoversItsRangeAndNoMore) {
  Prng prng(1);
  unsigned seen = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = prng.below(5);
    ASSERT_LT(value, 5u);
    seen |= 1u << value;
  }
  EXPECT_EQ(seen, 0x1fu);
}

}  // namespace
}  // namespace sluice
