#include "wire/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"
#include "bytes.h"

namespace sluice::wire {
namespace {

// RFC 1071 as plainly as it can be written.
uint16_t slow_sum(Bytes bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint32_t byte = load_u8(bytes.data() + i);
    sum += i % 2 == 0 ? byte << 8 : byte;
    sum = (sum >> 16) + (sum & 0xffff);
  }
  return static_cast<uint16_t>(sum);
}

std::vector<std::byte> random_bytes(Prng& prng, size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.next());
  return bytes;
}

TEST(Checksum, SumsTheExampleOfRfc1071) {
  EXPECT_EQ(sum_bytes(bytes_of("00 01 f2 03 f4 f5 f6 f7")), 0xddf2);
}

TEST(Checksum, OfNothingIsZero) {
  EXPECT_EQ(sum_bytes({}), 0);
  EXPECT_EQ(sum_long({}), 0);
}

TEST(Checksum, AgreesWithTheDefinitionAtEveryLengthAndAlignment) {
  Prng prng(1);
  const std::vector<std::byte> bytes = random_bytes(prng, 600);
  for (size_t offset = 0; offset < 9; ++offset) {
    for (size_t length = 0; length + offset <= bytes.size(); ++length) {
      const Bytes run = Bytes(bytes).subspan(offset, length);
      ASSERT_EQ(sum_bytes(run), slow_sum(run)) << offset << " " << length;
      ASSERT_EQ(sum_long(run), slow_sum(run)) << offset << " " << length;
      ASSERT_EQ(sum_long_portable(run), slow_sum(run)) << offset << " " << length;
    }
  }
}

TEST(Checksum, LosesNoCarryInLongRunsOfOnes) {
  const std::vector<std::byte> ones(size_t{2} << 20, std::byte{0xff});
  EXPECT_EQ(sum_bytes(ones), 0xffff);
  EXPECT_EQ(sum_long_portable(ones), 0xffff);
  EXPECT_EQ(sum_bytes(Bytes(ones).first(65'535)), slow_sum(Bytes(ones).first(65'535)));
}

TEST(Checksum, CopiesWhatItSums) {
  Prng prng(2);
  for (size_t length = 0; length < 300; ++length) {
    const std::vector<std::byte> from = random_bytes(prng, length);
    std::vector<std::byte> to(length);
    ASSERT_EQ(copy_and_sum(to, from), slow_sum(from));
    ASSERT_EQ(to, from);
  }
}

TEST(Checksum, AddsPiecesOfOddLength) {
  Prng prng(3);
  for (int round = 0; round < 1000; ++round) {
    const std::vector<std::byte> bytes = random_bytes(prng, prng.below(500));
    Checksum checksum;
    for (Bytes rest(bytes); !rest.empty();) {
      const size_t part = 1 + prng.below(rest.size());
      checksum.add(rest.first(part));
      rest = rest.subspan(part);
    }
    ASSERT_EQ(checksum.sum(), slow_sum(bytes));
  }
}

TEST(Checksum, JoinsAndSplitsSumsAtOddOffsets) {
  Prng prng(4);
  for (int round = 0; round < 1000; ++round) {
    const std::vector<std::byte> bytes = random_bytes(prng, 1 + prng.below(300));
    const size_t cut = prng.below(bytes.size());
    const uint16_t first = sum_bytes(Bytes(bytes).first(cut));
    const uint16_t next = sum_bytes(Bytes(bytes).subspan(cut));
    const uint16_t whole = sum_bytes(bytes);
    ASSERT_EQ(join_sums({.first = first, .first_bytes = cut, .next = next}) % 0xffff,
              whole % 0xffff);
    // 0 and 0xffff are the same sum.
    ASSERT_EQ(rest_of_sum({.whole = whole, .first = first, .first_bytes = cut}) % 0xffff,
              next % 0xffff);
  }
}

TEST(Checksum, IsValidOverItsOwnField) {
  std::vector<std::byte> header =
      bytes_of("45 00 00 3c 1c 46 40 00 40 06 00 00 ac 10 0a 63 ac 10 0a 0c");
  Checksum checksum;
  checksum.add(header);
  EXPECT_EQ(checksum.value(), 0xb1e6);
  store_be16(header.data() + 10, checksum.value());
  Checksum check;
  check.add(header);
  EXPECT_TRUE(check.is_valid());
}

TEST(Checksum, FollowsAChangedWord) {
  Prng prng(5);
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::byte> bytes = random_bytes(prng, 40);
    const uint16_t before = load_be16(bytes.data() + 8);
    const auto after = static_cast<uint16_t>(prng.next());
    const auto checksum = static_cast<uint16_t>(~sum_bytes(bytes));
    store_be16(bytes.data() + 8, after);
    ASSERT_EQ(update_checksum({.checksum = checksum, .before = before, .after = after}),
              static_cast<uint16_t>(~sum_bytes(bytes)));
  }
}

}  // namespace
}  // namespace sluice::wire
