#include "stream/reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::stream {
namespace {

using Outcome = Reader::Outcome;

struct ReaderTest : testing::Test {
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  std::array<std::byte, 64> trash;
  Grants grants;
  replica::Window window = grants.open(3, memory, 8192, 0, 99);
  Reader reader;
  std::vector<std::byte> sent;

  void say(const Greeting& greeting) {
    sent.resize(sent.size() + greeting_bytes);
    emit(greeting,
         std::span<std::byte, greeting_bytes>(&sent[sent.size() - greeting_bytes], greeting_bytes));
  }
  void say(const Header& header) {
    sent.resize(sent.size() + header_bytes);
    emit(header,
         std::span<std::byte, header_bytes>(&sent[sent.size() - header_bytes], header_bytes));
  }
  void say(size_t count, int value) {
    sent.insert(sent.end(), count, static_cast<std::byte>(value));
  }
  // All that was said, in portions of at most `most`; the outcomes but `more`.
  std::vector<Outcome> read(size_t most, Role role = Role::data) {
    std::vector<Outcome> out;
    for (size_t at = 0; at < sent.size();) {
      const MutableBytes space = reader.want(trash);
      const size_t count = std::min({most, space.size(), sent.size() - at});
      std::copy_n(&sent[at], count, space.begin());
      at += count;
      const Outcome outcome = reader.advance(static_cast<uint32_t>(count), grants);
      if (outcome == Outcome::greeting) reader.begin(role, 0);
      if (outcome != Outcome::more) out.push_back(outcome);
      if (outcome == Outcome::malformed || outcome == Outcome::forbidden) break;
    }
    sent.clear();
    return out;
  }
  Header write(uint64_t offset, uint32_t length, uint32_t immediate = 0) const {
    return {.kind = Kind::write,
            .length_bytes = length,
            .address = window.address + offset,
            .key = window.key,
            .immediate = immediate};
  }
};

TEST_F(ReaderTest, WritesLandWhereTheyAreGrantedWhateverThePortions) {
  for (const size_t most : {1u, 7u, 64u, 5000u}) {
    reader = Reader{};
    std::fill(memory.begin(), memory.end(), std::byte{});
    say(Greeting{.role = Role::data});
    say(write(10, 100, 77));
    say(100, 1);
    say(write(4000, 96, 78));
    say(96, 2);
    EXPECT_EQ(read(most),
              (std::vector<Outcome>{Outcome::greeting, Outcome::landed, Outcome::landed}));
    EXPECT_EQ(reader.header().immediate, 78u);
    EXPECT_EQ(memory[9], std::byte{0});
    EXPECT_EQ(memory[10], std::byte{1});
    EXPECT_EQ(memory[109], std::byte{1});
    EXPECT_EQ(memory[110], std::byte{0});
    EXPECT_EQ(memory[4095], std::byte{2});
  }
}

TEST_F(ReaderTest, ABytePastTheWindowNeverReachesMemory) {
  say(Greeting{.role = Role::data});
  say(write(4000, 97));
  say(97, 1);
  EXPECT_EQ(read(5000), (std::vector<Outcome>{Outcome::greeting, Outcome::forbidden}));
  EXPECT_EQ(memory, std::vector<std::byte>(4096));
}

TEST_F(ReaderTest, RevokedWhileItArrivesTheRestIsDrained) {
  say(Greeting{.role = Role::data});
  say(write(0, 1000));
  say(400, 1);
  EXPECT_EQ(read(5000), std::vector<Outcome>{Outcome::greeting});
  reader.revoke(3);
  grants.close(3);
  std::fill(memory.begin(), memory.end(), std::byte{9});
  say(600, 1);
  EXPECT_EQ(read(5000), std::vector<Outcome>{Outcome::drained});
  EXPECT_EQ(memory, std::vector<std::byte>(4096, std::byte{9}));
  EXPECT_EQ(reader.take_drained_bytes(), 600u);
  EXPECT_TRUE(reader.is_between_records());
}

TEST_F(ReaderTest, ARevokeOfAnotherGrantChangesNothing) {
  say(Greeting{.role = Role::data});
  say(write(0, 1000));
  say(400, 1);
  static_cast<void>(read(5000));
  reader.revoke(4);
  say(600, 1);
  EXPECT_EQ(read(5000), std::vector<Outcome>{Outcome::landed});
}

TEST_F(ReaderTest, AWriteAfterTheRevokeIsForbidden) {
  grants.close(3);
  say(Greeting{.role = Role::data});
  say(write(0, 1));
  EXPECT_EQ(read(5000), (std::vector<Outcome>{Outcome::greeting, Outcome::forbidden}));
}

TEST_F(ReaderTest, FramesComeWholeAndInOrder) {
  for (const size_t most : {1u, 100u, 5000u}) {
    reader = Reader{};
    say(Greeting{.role = Role::control});
    for (int i = 1; i <= 3; ++i) {
      say(Header{.kind = Kind::frame, .length_bytes = 256});
      say(256, i);
    }
    EXPECT_EQ(read(most, Role::control), (std::vector<Outcome>{Outcome::greeting, Outcome::frame,
                                                               Outcome::frame, Outcome::frame}));
    EXPECT_EQ(reader.frame()[255], std::byte{3});
  }
}

TEST_F(ReaderTest, RubbishIsMalformed) {
  say(64, 'x');
  EXPECT_EQ(read(5000), std::vector<Outcome>{Outcome::malformed});
  reader = Reader{};
  say(Greeting{.role = Role::data});
  say(32, 'x');
  EXPECT_EQ(read(5000), (std::vector<Outcome>{Outcome::greeting, Outcome::malformed}));
}

}  // namespace
}  // namespace sluice::stream
