#include "base/siphash.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice {
namespace {

// Vectors of the reference implementation: key 00..0f, input 00..n-1.
TEST(SipHash, MatchesTheReferenceVectors) {
  const SipKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  std::array<std::byte, 64> input{};
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::byte>(i);
  EXPECT_EQ(siphash24(key, Bytes(input).first(0)), 0x726fdb47dd0e0e31ULL);
  EXPECT_EQ(siphash24(key, Bytes(input).first(1)), 0x74f839c593dc67fdULL);
  EXPECT_EQ(siphash24(key, Bytes(input).first(15)), 0xa129ca6149be45e5ULL);
}

TEST(SipHash, WideOutputMatchesTheReferenceVector) {
  const SipKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  const SipDigest digest = siphash24_128(key, {});
  EXPECT_EQ(digest.low, 0xe6a825ba047f81a3ULL);
  EXPECT_EQ(digest.high, 0x930255c71472f66dULL);
}

}  // namespace
}  // namespace sluice
