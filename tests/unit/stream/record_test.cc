#include "stream/record.h"

#include <gtest/gtest.h>

#include "replica/mover.h"

namespace sluice::stream {
namespace {

std::array<std::byte, greeting_bytes> bytes_of(const Greeting& greeting) {
  std::array<std::byte, greeting_bytes> out;
  emit(greeting, out);
  return out;
}
std::array<std::byte, header_bytes> bytes_of(const Header& header) {
  std::array<std::byte, header_bytes> out;
  emit(header, out);
  return out;
}

constexpr Greeting data_greeting{.role = Role::data,
                                 .lane = 1,
                                 .lanes = 3,
                                 .token = {std::byte{7}, std::byte{9}},
                                 .write_bytes_max = 2u << 20};
constexpr Header write_header{.kind = Kind::write,
                              .length_bytes = 1u << 20,
                              .address = 0x1122334455667788,
                              .key = 0xdeadbeef,
                              .immediate = 42};

TEST(StreamRecord, GreetingComesBackAsItWas) {
  Greeting out;
  ASSERT_TRUE(parse(bytes_of(data_greeting), out));
  EXPECT_EQ(out, data_greeting);
}

TEST(StreamRecord, EveryByteOfAGreetingCounts) {
  const auto good = bytes_of(data_greeting);
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{0x80};
    Greeting out;
    const bool is_value = i >= 16 && i < 36;  // the token and the largest write
    const bool taken = parse(bad, out);
    EXPECT_EQ(taken, is_value) << i;
    if (taken) {
      EXPECT_NE(out, data_greeting) << i;
    }
  }
}

TEST(StreamRecord, RefusesLanesThatCannotBe) {
  Greeting out;
  EXPECT_FALSE(parse(bytes_of(Greeting{.role = Role::data, .lane = 2, .lanes = 2}), out));
  EXPECT_FALSE(parse(bytes_of(Greeting{.role = Role::control, .lane = 0, .lanes = 0}), out));
  EXPECT_FALSE(parse(bytes_of(Greeting{.role = Role::control, .lane = 1, .lanes = 2}), out));
  EXPECT_FALSE(
      parse(bytes_of(Greeting{.role = Role::data, .lane = 0, .lanes = lanes_max + 1}), out));
}

TEST(StreamRecord, HeaderComesBackAsItWas) {
  Header out;
  ASSERT_TRUE(parse(bytes_of(write_header), Role::data, out));
  EXPECT_EQ(out, write_header);
}

TEST(StreamRecord, FramesStandOnTheControlConnectionAlone) {
  const Header frame{.kind = Kind::frame, .length_bytes = replica::frame_bytes};
  Header out;
  EXPECT_TRUE(parse(bytes_of(frame), Role::control, out));
  EXPECT_FALSE(parse(bytes_of(frame), Role::data, out));
  EXPECT_FALSE(parse(bytes_of(write_header), Role::control, out));
}

TEST(StreamRecord, RefusesFramesOfAnotherLengthAndEmptyWrites) {
  Header out;
  EXPECT_FALSE(
      parse(bytes_of(Header{.kind = Kind::frame, .length_bytes = 255}), Role::control, out));
  EXPECT_FALSE(parse(bytes_of(Header{.kind = Kind::frame, .length_bytes = 256, .key = 1}),
                     Role::control, out));
  EXPECT_FALSE(parse(bytes_of(Header{.kind = Kind::write, .length_bytes = 0}), Role::data, out));
}

TEST(StreamRecord, ReservedBytesAreZero) {
  auto bad = bytes_of(write_header);
  bad[24] = std::byte{1};
  Header out;
  EXPECT_FALSE(parse(bad, Role::data, out));
}

}  // namespace
}  // namespace sluice::stream
