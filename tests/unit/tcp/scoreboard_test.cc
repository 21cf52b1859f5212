// Sequence numbers wrap in the middle of each flight here.
#include "tcp/scoreboard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/prng.h"

namespace sluice::tcp {
namespace {

constexpr uint32_t base = 0xffff'f000;
constexpr uint32_t mss = 1000;

SeqNumber at(uint32_t offset) {
  return SeqNumber(base + offset);
}

struct World {
  explicit World(uint32_t shared = 600) : pool({.senders = 2, .shared = shared}) {
    board.reset(at(0));
  }
  ~World() {
    board.release(pool);
    EXPECT_EQ(pool.in_use(), 0u);
  }
  // One train.
  bool send(uint32_t bytes, uint32_t us = 0) {
    sent += bytes;
    return board.add(pool, at(sent), {.sent_us = us});
  }
  bool again(uint32_t begin, uint32_t end, uint32_t us) {
    return board.add_again(pool, {at(begin), at(end)}, {.sent_us = us});
  }
  Delivery fresh() const { return {.now_us = 1'000'000, .fack = at(0), .point = at(sent)}; }
  Delivery sack(uint32_t begin, uint32_t end) {
    Delivery delivery = fresh();
    board.sack(pool, {at(begin), at(end)}, delivery);
    check();
    return delivery;
  }
  Delivery acknowledge(uint32_t to) {
    Delivery delivery = fresh();
    board.acknowledge(pool, at(to), delivery);
    una = to;
    check();
    return delivery;
  }
  // "0-1000 S, 1000-3000 F": the whole record; f for what was sent again.
  std::string text() const {
    std::string out;
    for (uint32_t index = board.first(); index != IndexPool::none; index = pool[index].next) {
      const SentRun& run = pool[index];
      const char letters[] = {run.retransmitted ? 'f' : 'F', 'S', run.retransmitted ? 'l' : 'L'};
      if (!out.empty()) out += ", ";
      out += std::to_string(static_cast<uint32_t>(board.begin_of(pool, index).value() - base)) +
             "-" + std::to_string(static_cast<uint32_t>(run.end.value() - base)) + " " +
             letters[static_cast<size_t>(run.fate)];
    }
    return out;
  }
  // The invariants of the header, by brute force.
  void check() const {
    uint32_t sacked = 0;
    uint32_t lost = 0;
    uint32_t retransmitted = 0;
    uint32_t sacked_runs = 0;
    uint32_t count = 0;
    uint32_t in_flight = 0;
    SeqNumber begin = board.una();
    SentRun::Fate before = SentRun::Fate::lost;
    for (uint32_t index = board.first(); index != IndexPool::none; index = pool[index].next) {
      const SentRun& run = pool[index];
      ASSERT_TRUE(run.end > begin);
      const auto bytes = static_cast<uint32_t>(run.end - begin);
      if (run.fate == SentRun::Fate::sacked) {
        EXPECT_NE(before, SentRun::Fate::sacked);
        sacked += bytes;
        ++sacked_runs;
      } else if (run.fate == SentRun::Fate::lost) {
        lost += bytes;
      } else {
        ++in_flight;
        if (run.retransmitted) retransmitted += bytes;
      }
      before = run.fate;
      begin = run.end;
      ++count;
    }
    if (count > 0) {
      EXPECT_EQ(begin, at(sent));
    }
    EXPECT_EQ(board.sacked_bytes(), sacked);
    EXPECT_EQ(board.sacked_runs(), sacked_runs);
    EXPECT_EQ(board.lost_bytes(), lost);
    EXPECT_EQ(board.retransmitted_bytes(), retransmitted);
    EXPECT_EQ(board.count(), count);
    EXPECT_LE(count, Scoreboard::runs_max);
    // The timeline holds just what is in flight, the older first.
    uint32_t on_line = 0;
    for (uint32_t index = board.oldest(); index != IndexPool::none; index = pool[index].later) {
      EXPECT_EQ(pool[index].fate, SentRun::Fate::in_flight);
      if (pool[index].later != IndexPool::none) {
        EXPECT_GE(
            static_cast<int32_t>(pool[pool[index].later].stamp.sent_us - pool[index].stamp.sent_us),
            0);
      }
      ++on_line;
    }
    EXPECT_EQ(on_line, in_flight);
  }

  SentRunPool pool;
  Scoreboard board;
  uint32_t sent = 0;
  uint32_t una = 0;
};

TEST(Scoreboard, IsOneRunATrain) {
  World world;
  EXPECT_TRUE(world.send(10 * mss, 1));
  EXPECT_TRUE(world.send(5 * mss, 2));
  EXPECT_EQ(world.text(), "0-10000 F, 10000-15000 F");
}

TEST(Scoreboard, AnAckInsideOfATrainCutsNothing) {
  World world;
  world.send(10 * mss);
  EXPECT_EQ(world.acknowledge(4 * mss).bytes, 4 * mss);
  EXPECT_EQ(world.text(), "4000-10000 F");
  EXPECT_EQ(world.acknowledge(10 * mss).bytes, 6 * mss);
  EXPECT_TRUE(world.board.empty());
}

TEST(Scoreboard, AReportCutsATrain) {
  World world;
  world.send(10 * mss);
  EXPECT_EQ(world.sack(3 * mss, 4 * mss).sacked_bytes, mss);
  EXPECT_EQ(world.text(), "0-3000 F, 3000-4000 S, 4000-10000 F");
}

TEST(Scoreboard, WhatGrowsTakesNoFurtherRuns) {
  World world;
  world.send(10 * mss);
  world.sack(3 * mss, 4 * mss);
  EXPECT_EQ(world.sack(3 * mss, 6 * mss).sacked_bytes, 2 * mss);
  EXPECT_EQ(world.sack(2 * mss, 6 * mss).sacked_bytes, mss);
  EXPECT_EQ(world.text(), "0-2000 F, 2000-6000 S, 6000-10000 F");
  EXPECT_EQ(world.sack(0 + 1, 10 * mss).sacked_bytes, 6 * mss - 1);
  EXPECT_EQ(world.text(), "0-1 F, 1-10000 S");
}

TEST(Scoreboard, AReportOverSeveralTrainsJoinsThem) {
  World world;
  for (int i = 0; i < 5; ++i) world.send(2 * mss);
  world.sack(3 * mss, 4 * mss);
  world.sack(7 * mss, 8 * mss);
  EXPECT_EQ(world.sack(2 * mss, 9 * mss).sacked_bytes, 5 * mss);
  EXPECT_EQ(world.text(), "0-2000 F, 2000-9000 S, 9000-10000 F");
}

TEST(Scoreboard, TellsEachByteOnce) {
  World world;
  world.send(10 * mss);
  EXPECT_EQ(world.sack(3 * mss, 5 * mss).bytes, 2 * mss);
  EXPECT_EQ(world.sack(3 * mss, 5 * mss).bytes, 0u);
  EXPECT_EQ(world.acknowledge(4 * mss).bytes, 3 * mss);
  EXPECT_EQ(world.text(), "4000-5000 S, 5000-10000 F");
  EXPECT_TRUE(world.board.reneged(world.pool));
}

TEST(Scoreboard, WhatIsLostIsFoundInOrderAndJoined) {
  World world;
  world.send(4 * mss, 1);
  world.send(4 * mss, 2);
  world.sack(2 * mss, 3 * mss);
  world.board.mark_all_lost(world.pool);
  EXPECT_EQ(world.text(), "0-2000 L, 2000-3000 S, 3000-8000 L");
  EXPECT_EQ(world.board.next_lost(world.pool).end, at(2 * mss));
  world.again(0, mss, 5);
  EXPECT_EQ(world.text(), "0-1000 f, 1000-2000 L, 2000-3000 S, 3000-8000 L");
  world.again(mss, 2 * mss, 5);  // in the same moment: one run
  EXPECT_EQ(world.text(), "0-2000 f, 2000-3000 S, 3000-8000 L");
  EXPECT_EQ(world.board.next_lost(world.pool).begin, at(3 * mss));
  world.again(3 * mss, 5 * mss, 6);
  EXPECT_EQ(world.text(), "0-2000 f, 2000-3000 S, 3000-5000 f, 5000-8000 L");
  EXPECT_EQ(world.board.retransmitted_bytes(), 4 * mss);
  world.check();
}

TEST(Scoreboard, ARetransmissionIsTheYoungest) {
  World world;
  world.send(mss, 1);
  world.send(mss, 2);
  world.board.mark_lost(world.pool, world.board.oldest());
  world.again(0, mss, 3);
  EXPECT_EQ(world.pool[world.board.oldest()].end, at(2 * mss));
  world.check();
}

TEST(Scoreboard, ATailProbeCutsTheLastSegmentOff) {
  World world;
  world.send(5 * mss, 1);
  world.again(4 * mss, 5 * mss, 9);
  EXPECT_EQ(world.text(), "0-4000 F, 4000-5000 f");
  world.check();
}

TEST(Scoreboard, WhatWasNotLostAfterAllIsInFlightInItsOldPlace) {
  World world;
  for (uint32_t i = 1; i <= 6; ++i) world.send(mss, i);
  for (int i = 0; i < 3; ++i) world.board.mark_lost(world.pool, world.board.oldest());
  world.again(0, mss, 9);
  world.board.unmark_lost(world.pool);
  EXPECT_EQ(world.board.lost_bytes(), 0u);
  world.check();  // the order by time among it
}

TEST(Scoreboard, ForgetsWhatThePeerReported) {
  World world;
  world.send(4 * mss);
  world.sack(mss, 2 * mss);
  world.sack(3 * mss, 4 * mss);
  world.board.forget_sacks(world.pool);
  EXPECT_EQ(world.board.lost_bytes(), 2 * mss);
  EXPECT_EQ(world.board.next_lost(world.pool).begin, at(mss));
  world.check();
}

TEST(Scoreboard, WithoutSackTheFirstSegmentIsTakenForLost) {
  World world;
  world.send(5 * mss);
  world.board.mark_first_lost(world.pool, mss);
  EXPECT_EQ(world.text(), "0-1000 L, 1000-5000 F");
}

// RFC 6675 section 4, IsLost (): three runs, or more than two segments.
TEST(Scoreboard, ManySackedIsThreeRunsOrMoreThanTwoSegments) {
  World world;
  world.send(20 * mss);
  world.sack(mss, 3 * mss);
  EXPECT_FALSE(world.board.many_sacked(mss));
  world.sack(mss, 3 * mss + 1);
  EXPECT_TRUE(world.board.many_sacked(mss));
  World small;
  small.send(20 * mss);
  for (uint32_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(small.board.many_sacked(mss));
    small.sack(i * mss, i * mss + 100);
  }
  EXPECT_TRUE(small.board.many_sacked(mss));
}

// A pool that is empty.

TEST(Scoreboard, EverySenderHasOneRunWhateverTheOthersTake) {
  SentRunPool pool({.senders = 3, .shared = 1});
  EXPECT_NE(pool.take(true), IndexPool::none);
  EXPECT_NE(pool.take(false), IndexPool::none);
  EXPECT_EQ(pool.take(false), IndexPool::none);
  EXPECT_NE(pool.take(true), IndexPool::none);
  EXPECT_NE(pool.take(true), IndexPool::none);
}

TEST(Scoreboard, ATrainJoinsTheOneBeforeWhenThereIsNoRun) {
  World world(0);
  EXPECT_TRUE(world.send(mss, 1));
  EXPECT_FALSE(world.send(mss, 2));
  EXPECT_EQ(world.text(), "0-2000 F");
  EXPECT_EQ(world.pool[world.board.first()].stamp.sent_us, 2u);
  EXPECT_FALSE(world.acknowledge(mss).any);  // it left before the stamp says
  EXPECT_TRUE(world.acknowledge(2 * mss).any);
}

TEST(Scoreboard, ATrainThatJoinsAReportedOneMakesItUnreported) {
  World world(0);
  world.send(mss, 1);
  world.sack(0, mss);
  world.send(mss, 2);
  EXPECT_EQ(world.text(), "0-2000 F");
  world.check();
}

TEST(Scoreboard, AReportThatNeedsACutIsUsedAsFarAsItCanBe) {
  World world(1);
  world.send(10 * mss);
  const Delivery delivery = world.sack(3 * mss, 5 * mss);
  EXPECT_EQ(delivery.bytes, 0u);
  EXPECT_EQ(delivery.refused, 1u);
  EXPECT_EQ(world.text(), "0-3000 F, 3000-10000 F");
  EXPECT_EQ(world.sack(3 * mss, 10 * mss).bytes, 7 * mss);
}

TEST(Scoreboard, ARetransmissionThatNeedsACutCountsAsAllOfTheRun) {
  World world(0);
  world.send(10 * mss);
  world.board.mark_all_lost(world.pool);
  EXPECT_FALSE(world.again(0, mss, 2));
  EXPECT_EQ(world.text(), "0-10000 f");
  world.check();
}

// Every other byte reported, again and again, in the worst order.
TEST(Scoreboard, AHostilePatternIsBoundedInRunsAndInSteps) {
  World world(100'000);
  for (uint32_t i = 0; i < 100; ++i) world.send(60'000, i);
  uint32_t worst = 0;
  uint64_t total = 0;
  constexpr uint32_t acks = 20'000;
  for (uint32_t i = 0; i < acks; ++i) {
    const uint32_t from = ((i % 2 == 0 ? i : acks - i) * 200 + 1) % 5'900'000;
    Delivery delivery = world.fresh();
    for (uint32_t block = 0; block < 3; ++block) {
      const uint32_t begin = (from + block * 1'900'000) % 5'900'000 + 1;
      world.board.sack(world.pool, {at(begin), at(begin + 1)}, delivery);
    }
    worst = std::max(worst, delivery.steps);
    total += delivery.steps;
  }
  world.check();
  EXPECT_LE(world.board.count(), Scoreboard::runs_max);
  // Three blocks, each at most one walk over the record.
  EXPECT_LE(worst, 3 * (Scoreboard::runs_max + 2));
  RecordProperty("steps_per_ack", std::to_string(static_cast<double>(total) / acks));
}

// Honest losses: the steps of an ACK do not depend on the length of the record.
TEST(Scoreboard, ReportsOfALossyFlightAreFoundInAFewSteps) {
  World world(100'000);
  for (uint32_t i = 0; i < 64; ++i) world.send(64 * mss, i);
  uint32_t worst = 0;
  uint32_t from = 0;
  for (uint32_t segment = 1; segment < 64 * 64; ++segment) {
    if (segment % 25 == 0) {
      from = 0;
      continue;  // lost
    }
    if (from == 0) from = segment;
    Delivery delivery = world.fresh();
    // The latest block first, then the two before it.
    world.board.sack(world.pool, {at(from * mss), at((segment + 1) * mss)}, delivery);
    for (uint32_t back = 25; back <= 50 && from > back; back += 25) {
      world.board.sack(world.pool, {at((from - back) * mss), at((from - back + 24) * mss)},
                       delivery);
    }
    worst = std::max(worst, delivery.steps);
  }
  world.check();
  EXPECT_LE(worst, 16u);
}

// Against one letter a byte.
TEST(Scoreboard, AgreesWithAByteMap) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Prng random(seed);
    const bool exact = seed % 3 != 0;  // else the pool is too small, and only check() can tell
    World w(exact ? 200 : 3);
    std::string bytes;  // F, S, L
    uint32_t us = 0;
    for (int step = 0; step < 60; ++step) {
      const auto size = static_cast<uint32_t>(bytes.size());
      const uint32_t left = size - w.una;
      const auto draw = [&](uint32_t n) { return static_cast<uint32_t>(random.below(n)); };
      switch (draw(6)) {
        case 0:
        case 1: {
          const uint32_t n = 1 + draw(40);
          w.send(n, ++us);
          bytes.append(n, 'F');
          break;
        }
        case 2: {
          if (left < 3) break;
          const uint32_t begin = w.una + 1 + draw(left - 2);
          const uint32_t end = begin + 1 + draw(size - begin - 1);
          const Delivery delivery = w.sack(begin, end);
          uint32_t fresh = 0;
          for (uint32_t i = begin; i < end; ++i) fresh += bytes[i] != 'S';
          if (exact) {
            EXPECT_EQ(delivery.bytes, fresh);
          }
          for (uint32_t i = begin; i < end; ++i) bytes[i] = 'S';
          break;
        }
        case 3: {
          if (left == 0) break;
          w.acknowledge(w.una + 1 + draw(left));
          break;
        }
        case 4: {
          if (w.board.oldest() == IndexPool::none) break;
          const uint32_t index = w.board.oldest();
          const auto begin = static_cast<uint32_t>(w.board.begin_of(w.pool, index).value() - base);
          const auto end = static_cast<uint32_t>(w.pool[index].end.value() - base);
          w.board.mark_lost(w.pool, index);
          for (uint32_t i = begin; i < end; ++i) bytes[i] = 'L';
          break;
        }
        case 5: {
          const Scoreboard::Span lost = w.board.next_lost(w.pool);
          if (lost.empty()) break;
          const auto begin = static_cast<uint32_t>(lost.begin.value() - base);
          const uint32_t end = begin + 1 + draw(lost.length());
          w.again(begin, end, ++us);
          for (uint32_t i = begin; i < end; ++i) bytes[i] = 'F';
          break;
        }
      }
      w.check();
      if (!exact) continue;
      std::string got;
      for (uint32_t index = w.board.first(); index != IndexPool::none; index = w.pool[index].next) {
        got.append(static_cast<size_t>(w.pool[index].end - w.board.begin_of(w.pool, index)),
                   "FSL"[static_cast<size_t>(w.pool[index].fate)]);
      }
      ASSERT_EQ(got, bytes.substr(w.una));
    }
  }
}

}  // namespace
}  // namespace sluice::tcp
