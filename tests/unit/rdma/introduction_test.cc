#include "rdma/introduction.h"

#include <gtest/gtest.h>

namespace sluice::rdma {
namespace {

constexpr Introduction good{.role = Role::data,
                            .lane = 2,
                            .lanes = 4,
                            .token = {std::byte{1}, std::byte{2}},
                            .write_bytes_max = 2u << 20};

TEST(Introduction, ComesBackAsItWas) {
  Introduction out;
  ASSERT_TRUE(parse(emit(good), out));
  EXPECT_EQ(out, good);
}

TEST(Introduction, FitsInAConnectOfTheTcpPortSpace) {
  EXPECT_LE(emit(good).size(), 56u);  // rdma_connect(3)
}

TEST(Introduction, PaddingOfRdmaCmIsNoHarm) {
  const auto bytes = emit(good);
  std::array<std::byte, 196> padded{};
  std::copy(bytes.begin(), bytes.end(), padded.begin());
  Introduction out;
  EXPECT_TRUE(parse(padded, out));
  EXPECT_EQ(out, good);
}

TEST(Introduction, ShortForeignAndImpossibleOnesAreRefused) {
  const auto bytes = emit(good);
  Introduction out;
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(parse(Bytes(bytes).first(length), out)) << length;
  }
  for (size_t i = 0; i < 8; ++i) {  // magic, version, role, lane, lanes
    auto bad = bytes;
    bad[i] ^= std::byte{0x80};
    EXPECT_FALSE(parse(bad, out)) << i;
  }
  EXPECT_FALSE(parse(emit({.role = Role::data, .lane = 4, .lanes = 4}), out));
  EXPECT_FALSE(parse(emit({.role = Role::control, .lane = 1, .lanes = 4}), out));
  EXPECT_FALSE(parse(emit({.role = Role::control, .lanes = 0}), out));
  EXPECT_FALSE(parse(emit({.role = Role::control, .lanes = lanes_max + 1}), out));
}

}  // namespace
}  // namespace sluice::rdma
