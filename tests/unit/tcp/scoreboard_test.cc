#include "tcp/scoreboard.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"

namespace sluice::tcp {
namespace {

// Offsets run past 2^32, where the sequence numbers of a long connection wrap.
constexpr uint64_t base = 0xffff'fff0;

StreamRange range(uint64_t begin, uint64_t end) {
  return {StreamOffset(base + begin), StreamOffset(base + end)};
}
StreamOffset at(uint64_t offset) {
  return StreamOffset(base + offset);
}

TEST(Scoreboard, CountsEveryByteOnce) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(10, 20)), 10u);
  EXPECT_EQ(board.add(range(10, 20)), 0u);
  EXPECT_EQ(board.add(range(15, 25)), 5u);
  EXPECT_EQ(board.add(range(30, 40)), 10u);
  EXPECT_EQ(board.add(range(5, 45)), 15u);
  EXPECT_EQ(board.sacked_bytes(), 40u);
  ASSERT_EQ(board.ranges().size(), 1u);
  EXPECT_EQ(board.ranges()[0], range(5, 45));
}

TEST(Scoreboard, JoinsRangesThatTouch) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(10, 20)), 10u);
  EXPECT_EQ(board.add(range(30, 40)), 10u);
  EXPECT_EQ(board.add(range(20, 30)), 10u);
  EXPECT_EQ(board.ranges().size(), 1u);
}

TEST(Scoreboard, ForgetsWhatIsAcknowledged) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(10, 20)), 10u);
  EXPECT_EQ(board.add(range(30, 40)), 10u);
  board.advance(at(35));
  EXPECT_EQ(board.sacked_bytes(), 5u);
  EXPECT_EQ(board.lowest(), at(35));
  board.advance(at(40));
  EXPECT_TRUE(board.empty());
  EXPECT_EQ(board.sacked_bytes(), 0u);
}

// RFC 6675 section 4, IsLost ().
TEST(Scoreboard, LosesWhatLiesBelowThreeRanges) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(10, 20)), 10u);
  EXPECT_EQ(board.add(range(30, 40)), 10u);
  EXPECT_EQ(board.lost_edge(1000), StreamOffset());
  EXPECT_EQ(board.add(range(50, 60)), 10u);
  EXPECT_EQ(board.lost_edge(1000), at(10));
  EXPECT_EQ(board.add(range(70, 80)), 10u);
  EXPECT_EQ(board.lost_edge(1000), at(30));
}

TEST(Scoreboard, LosesWhatLiesBelowMoreThanTwoSegments) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(1000, 3000)), 2000u);
  EXPECT_EQ(board.lost_edge(1000), StreamOffset());
  EXPECT_EQ(board.add(range(3000, 3001)), 1u);
  EXPECT_EQ(board.lost_edge(1000), at(1000));
}

TEST(Scoreboard, FindsTheHolesInTurn) {
  Scoreboard board;
  EXPECT_EQ(board.add(range(10, 20)), 10u);
  EXPECT_EQ(board.add(range(30, 40)), 10u);
  EXPECT_EQ(board.next_hole(at(0), at(50)), range(0, 10));
  EXPECT_EQ(board.next_hole(at(10), at(50)), range(20, 30));
  EXPECT_EQ(board.next_hole(at(25), at(28)), range(25, 28));
  EXPECT_EQ(board.next_hole(at(30), at(50)), range(40, 50));
  EXPECT_TRUE(board.next_hole(at(30), at(40)).empty());
  EXPECT_EQ(board.unsacked_bytes(at(5), at(35)), 15u);
}

TEST(Scoreboard, ForgetsTheHighestRangeWhenFull) {
  Scoreboard board;
  for (uint64_t i = 1; i <= Scoreboard::ranges_max; ++i) {
    EXPECT_EQ(board.add(range(i * 10, i * 10 + 5)), 5u);
  }
  EXPECT_EQ(board.add(range(10'000, 10'005)), 0u);  // itself the highest
  EXPECT_EQ(board.add(range(1, 4)), 3u);
  EXPECT_EQ(board.ranges().size(), Scoreboard::ranges_max);
  EXPECT_EQ(board.highest(), at((Scoreboard::ranges_max - 1) * 10 + 5));
  EXPECT_EQ(board.sacked_bytes(), (Scoreboard::ranges_max - 1) * 5 + 3);
}

TEST(Scoreboard, AgreesWithASetOfBytes) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Prng prng(seed);
    Scoreboard board;
    std::set<uint64_t> bytes;
    uint64_t una = 0;
    for (int step = 0; step < 100; ++step) {
      if (prng.chance(1, 5)) {
        una += prng.below(20);
        board.advance(at(una));
        bytes.erase(bytes.begin(), bytes.lower_bound(una));
      } else {
        const uint64_t begin = una + 1 + prng.below(200);
        const uint64_t end = begin + 1 + prng.below(15);
        const size_t before = bytes.size();
        for (uint64_t i = begin; i < end; ++i) bytes.insert(i);
        EXPECT_EQ(board.add(range(begin, end)), bytes.size() - before);
      }
      ASSERT_EQ(board.sacked_bytes(), bytes.size());
      const uint64_t from = una + prng.below(100);
      const uint64_t to = from + prng.below(100);
      uint32_t unsacked = 0;
      for (uint64_t i = from; i < to; ++i) unsacked += bytes.contains(i) ? 0u : 1u;
      ASSERT_EQ(board.unsacked_bytes(at(from), at(to)), unsacked);
    }
  }
}

}  // namespace
}  // namespace sluice::tcp
