#include "stream/grants.h"

#include <gtest/gtest.h>

namespace sluice::stream {
namespace {

struct GrantsTest : testing::Test {
  std::array<std::byte, 4096> memory;
  Grants grants;
  replica::Window window = grants.open(5, memory, 1u << 20, 1, 0x123456);

  Header write(uint64_t offset, uint32_t length) const {
    return {.kind = Kind::write,
            .length_bytes = length,
            .address = window.address + offset,
            .key = window.key};
  }
  bool allows(const Header& header, uint32_t lane = 1) const {
    MutableBytes out;
    return grants.find(header, lane, out) != Grants::none;
  }
};

TEST_F(GrantsTest, AWriteInsideIsFoundWhereItBelongs) {
  MutableBytes out;
  EXPECT_EQ(grants.find(write(100, 200), 1, out), 5u);
  EXPECT_EQ(out.data(), memory.data() + 100);
  EXPECT_EQ(out.size(), 200u);
  EXPECT_TRUE(allows(write(0, 4096)));
  EXPECT_TRUE(allows(write(4095, 1)));
}

TEST_F(GrantsTest, AWriteThatLeavesTheWindowIsNot) {
  EXPECT_FALSE(allows(write(0, 4097)));
  EXPECT_FALSE(allows(write(4095, 2)));
  EXPECT_FALSE(allows(write(4096, 1)));
  EXPECT_FALSE(allows(write(uint64_t(-1), 1)));
  EXPECT_FALSE(allows(write(uint64_t(-1), 4096)));
  EXPECT_FALSE(allows(write(1, UINT32_MAX)));
}

TEST_F(GrantsTest, AnotherKeyOrLaneIsNot) {
  for (uint32_t bit = 0; bit < 32; ++bit) {
    Header wrong = write(0, 1);
    wrong.key ^= 1u << bit;
    EXPECT_FALSE(allows(wrong)) << bit;
  }
  EXPECT_FALSE(allows(write(0, 1), 0));
}

TEST_F(GrantsTest, AClosedGrantIsNoneAndItsKeyOpensNotTheNext) {
  grants.close(5);
  EXPECT_FALSE(allows(write(0, 1)));
  EXPECT_EQ(grants.count(), 0u);
  const replica::Window next = grants.open(5, memory, 1u << 20, 1, 0x123457);
  EXPECT_NE(next.key, window.key);
  EXPECT_FALSE(allows(write(0, 1)));
}

}  // namespace
}  // namespace sluice::stream
