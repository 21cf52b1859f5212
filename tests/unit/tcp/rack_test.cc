// RFC 8985 section 6. Sequence numbers and the clock wrap in the middle of each flight here.
#include "tcp/rack.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint32_t base = 0xffff'f000;
constexpr uint32_t mss = 1000;
constexpr uint64_t clock_us = 0x5'ffff'ff00;  // when the first segment leaves
constexpr uint32_t rtt_us = 40'000;

SeqNumber at(uint32_t offset) {
  return SeqNumber(base + offset);
}

// Segments leave one millisecond apart, and are answered a round trip later.
struct World {
  explicit World(uint32_t segments) : pool({.senders = 1, .shared = 600}) {
    board.reset(at(0));
    rack.reset(at(0), 0);
    for (uint32_t i = 0; i < segments; ++i) {
      board.add(pool, at((i + 1) * mss), {.sent_us = sent_us(i)});
    }
    end = segments * mss;
  }
  ~World() { board.release(pool); }
  static uint32_t sent_us(uint32_t segment) {
    return static_cast<uint32_t>(clock_us + segment * 1000);
  }
  Delivery delivery(uint64_t now_us) const {
    return {.now_us = now_us, .min_rtt_us = rtt_us, .fack = rack.fack(), .point = at(end)};
  }
  // SACKs segments [from, to) at `after` from the beginning.
  void sacked(uint32_t from, uint32_t to, uint32_t after_us) {
    now = clock_us + after_us;
    Delivery told = delivery(now);
    board.sack(pool, {at(from * mss), at(to * mss)}, told);
    if (told.bytes > 0) rack.on_delivered(told);
  }
  void acked(uint32_t to, uint32_t after_us) {
    now = clock_us + after_us;
    Delivery told = delivery(now);
    board.acknowledge(pool, at(to * mss), told);
    if (told.bytes > 0) rack.on_delivered(told);
  }
  Rack::Detected detect(Rack::Path path = {.srtt_us = rtt_us, .min_rtt_us = rtt_us}) {
    path.many_sacked = board.many_sacked(mss);
    return rack.detect(pool, board, static_cast<uint32_t>(now), rack.window_us(path));
  }

  SentRunPool pool;
  Scoreboard board;
  Rack rack;
  uint64_t now = clock_us;
  uint32_t end = 0;
};

// Step 4: without reordering seen, three SACKed segments leave no doubt.
TEST(Rack, ThreeSackedSegmentsMarkWhatLeftBeforeThemAtOnce) {
  World world(10);
  world.sacked(2, 5, rtt_us + 4'000);
  const Rack::Detected detected = world.detect();
  EXPECT_EQ(detected.lost_bytes, 2 * mss);
  EXPECT_EQ(detected.timeout_us, 0u);
}

// Step 4: a quarter of the least round trip.
TEST(Rack, OneSackedSegmentStartsTheReorderingWindow) {
  World world(10);
  world.sacked(1, 2, rtt_us + 1'000);
  const Rack::Detected detected = world.detect();
  EXPECT_EQ(detected.lost_bytes, 0u);
  // Segment 0 left at 0: lost at rtt + rtt / 4, which is 9 ms from now.
  EXPECT_EQ(detected.timeout_us, 9'000u);
}

TEST(Rack, MarksLostWhenTheReorderingWindowPasses) {
  World world(10);
  world.sacked(1, 2, rtt_us + 1'000);
  world.now += 9'000;
  const Rack::Detected detected = world.detect();
  EXPECT_EQ(detected.lost_bytes, mss);
  EXPECT_EQ(world.board.next_lost(world.pool).begin, at(0));
}

TEST(Rack, WhatLeftLaterIsNotJudged) {
  World world(10);
  world.sacked(4, 7, rtt_us + 6'000);
  EXPECT_EQ(world.detect().lost_bytes, 4 * mss);
  world.now += 1'000'000;
  EXPECT_EQ(world.detect().lost_bytes, 0u);  // 7, 8 and 9 left after what was delivered
}

TEST(Rack, InOneTrainTheOrderOfTheStreamDecides) {
  SentRunPool pool({.senders = 1, .shared = 10});
  Scoreboard board;
  board.reset(at(0));
  Rack rack;
  rack.reset(at(0), 0);
  board.add(pool, at(10 * mss), {.sent_us = 7});
  Delivery told{.now_us = rtt_us, .fack = at(0), .point = at(10 * mss)};
  board.sack(pool, {at(4 * mss), at(7 * mss)}, told);
  rack.on_delivered(told);
  EXPECT_EQ(rack.detect(pool, board, rtt_us, 0).lost_bytes, 4 * mss);
  board.release(pool);
}

// Section 3.2: a retransmission that is lost is overtaken like anything else.
TEST(Rack, FindsALostRetransmission) {
  World world(10);
  world.sacked(1, 4, rtt_us + 3'000);
  EXPECT_EQ(world.detect().lost_bytes, mss);
  const auto again_us = static_cast<uint32_t>(world.now);
  world.board.add_again(world.pool, {at(0), at(mss)}, {.sent_us = again_us});
  world.board.add(world.pool, at(11 * mss), {.sent_us = again_us + 1'000});
  world.sacked(4, 10, rtt_us + 9'000);
  EXPECT_EQ(world.detect().lost_bytes, 0u);
  world.sacked(10, 11, 2 * rtt_us + 4'000);  // left after the retransmission
  const Rack::Detected detected = world.detect({.in_recovery = true});
  EXPECT_EQ(detected.lost_bytes, mss);
  EXPECT_TRUE(detected.again);
  EXPECT_EQ(detected.again_sent_us, again_us);
}

// Step 2: was it the retransmission that arrived?
TEST(Rack, AnAnswerTooQuickForARetransmissionIsNotTakenForItsOwn) {
  World world(10);
  world.sacked(1, 4, rtt_us + 3'000);
  EXPECT_EQ(world.detect().lost_bytes, mss);
  const auto sent = static_cast<uint32_t>(clock_us + rtt_us + 3'000);
  world.board.add_again(world.pool, {at(0), at(mss)}, {.sent_us = sent});
  // 1 ms later: the original.
  world.acked(4, rtt_us + 4'000);
  world.now += 1'000'000;
  EXPECT_EQ(world.detect({.in_recovery = true}).lost_bytes, 0u);
}

TEST(Rack, AnEchoOlderThanTheRetransmissionIsNotTakenForItsOwn) {
  World world(10);
  world.sacked(1, 4, rtt_us + 3'000);
  EXPECT_EQ(world.detect().lost_bytes, mss);
  const uint64_t again_us = clock_us + rtt_us + 3'000;
  world.board.add_again(world.pool, {at(0), at(mss)}, {.sent_us = static_cast<uint32_t>(again_us)});
  Delivery told = world.delivery(again_us + 2 * rtt_us);
  told.has_echo = true;
  told.echo_ms = static_cast<uint32_t>(again_us / 1000) - 1;
  world.board.acknowledge(world.pool, at(mss), told);
  EXPECT_EQ(told.bytes, mss);
  EXPECT_FALSE(told.any);
}

// Step 3.
TEST(Rack, AnOriginalBelowWhatWasDeliveredIsReordering) {
  World world(10);
  world.sacked(3, 4, rtt_us + 3'000);
  EXPECT_FALSE(world.rack.reordering_seen());
  world.sacked(1, 2, rtt_us + 3'500);
  EXPECT_TRUE(world.rack.reordering_seen());
}

TEST(Rack, ARetransmissionBelowItIsNot) {
  World world(10);
  world.sacked(1, 4, rtt_us + 3'000);
  (void)world.detect();
  world.board.add_again(world.pool, {at(0), at(mss)}, {.sent_us = World::sent_us(9)});
  world.acked(4, 2 * rtt_us + 10'000);
  EXPECT_FALSE(world.rack.reordering_seen());
}

// Step 4: where reordering was seen, three SACKed segments prove nothing.
TEST(Rack, WaitsOutTheWindowOnAPathThatReorders) {
  World world(10);
  world.rack.note_reordering();
  world.sacked(1, 5, rtt_us + 4'000);
  const Rack::Detected detected = world.detect();
  EXPECT_EQ(detected.lost_bytes, 0u);
  EXPECT_GT(detected.timeout_us, 0u);
}

TEST(Rack, TheWindowGrowsWithEachRoundThatReportsDuplicates) {
  Rack rack;
  rack.reset(at(0), 0);
  const Rack::Path path{.srtt_us = 100'000, .min_rtt_us = rtt_us};
  EXPECT_EQ(rack.window_us(path), rtt_us / 4);
  rack.on_dsack(at(0), at(5 * mss));
  EXPECT_EQ(rack.window_us(path), rtt_us / 2);
  rack.on_dsack(at(4 * mss), at(9 * mss));  // of the same round
  EXPECT_EQ(rack.window_us(path), rtt_us / 2);
  rack.on_dsack(at(5 * mss), at(9 * mss));
  EXPECT_EQ(rack.window_us(path), rtt_us / 4 * 3);
}

TEST(Rack, TheWindowIsNeverLongerThanTheRoundTrip) {
  Rack rack;
  rack.reset(at(0), 0);
  for (uint32_t i = 0; i < 50; ++i) rack.on_dsack(at(i * mss), at(i * mss));
  EXPECT_EQ(rack.window_us({.srtt_us = 50'000, .min_rtt_us = rtt_us}), 50'000u);
}

TEST(Rack, SixteenRecoveriesWithoutADuplicateResetTheWindow) {
  Rack rack;
  rack.reset(at(0), 0);
  rack.on_dsack(at(0), at(mss));
  for (int i = 0; i < 15; ++i) rack.on_recovery_end();
  EXPECT_EQ(rack.multiplier(), 2);
  rack.on_recovery_end();
  EXPECT_EQ(rack.multiplier(), 1);
}

TEST(Rack, WhatIsKnownOfThePathOutlivesASender) {
  Rack rack;
  rack.reset(at(0), 0);
  EXPECT_EQ(rack.memory(), 0);
  rack.note_reordering();
  rack.on_dsack(at(0), at(mss));
  Rack next;
  next.reset(at(0), rack.memory());
  EXPECT_TRUE(next.reordering_seen());
  EXPECT_EQ(next.multiplier(), 2);
}

// Section 6.3.
TEST(Rack, ATimeoutLosesTheFirstSegmentAndWhatIsOverdue) {
  World world(10);
  world.sacked(8, 9, rtt_us + 8'000);
  const auto now = static_cast<uint32_t>(clock_us + rtt_us + 3'500);
  EXPECT_EQ(world.rack.mark_on_timeout(world.pool, world.board, now, 0), 4 * mss);
}

TEST(Rack, ATimeoutLosesTheFirstSegmentHoweverYoung) {
  World world(10);
  world.sacked(8, 9, rtt_us + 8'000);
  EXPECT_EQ(world.rack.mark_on_timeout(world.pool, world.board, World::sent_us(0) + 1, 0), mss);
}

// Section 6.2, step 5: RACK_detect_loss () is O(what it marks) here.
TEST(Rack, LooksOnlyAtWhatIsOverdue) {
  World world(300);
  world.rack.note_reordering();
  world.sacked(299, 300, 300'000 + rtt_us - 1'000);
  world.now = clock_us + rtt_us + rtt_us / 4 + 100'000;
  EXPECT_EQ(world.detect().lost_bytes, 101 * mss);
  EXPECT_EQ(world.detect().lost_bytes, 0u);
  EXPECT_EQ(world.detect().timeout_us, 1'000u);
}

}  // namespace
}  // namespace sluice::tcp
