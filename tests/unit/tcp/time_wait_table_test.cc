#include "tcp/time_wait_table.h"

#include <gtest/gtest.h>

#include "flows.h"

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr SipKey key{3, 4};

Instant at(Duration d) {
  return Instant::from_ns(9'000'000'000) + d;
}

TimeWaitTable::State state_with(uint32_t rcv_nxt) {
  return {.snd_nxt = SeqNumber(7), .rcv_nxt = SeqNumber(rcv_nxt)};
}

TEST(TimeWaitTable, RemembersUntilTheTimeIsOver) {
  TimeWaitTable table({.capacity = 8, .linger = 60_s}, key);
  EXPECT_TRUE(table.next_timeout().is_never());
  EXPECT_FALSE(table.insert(at(0_s), flow_from(1), state_with(11)));
  ASSERT_NE(table.find(flow_from(1)), nullptr);
  EXPECT_EQ(table.find(flow_from(1))->rcv_nxt.value(), 11u);
  EXPECT_EQ(table.find(flow_from(2)), nullptr);
  EXPECT_EQ(table.next_timeout(), at(60_s));
  EXPECT_EQ(table.expire(at(59_s)), 0u);
  EXPECT_EQ(table.expire(at(60_s)), 1u);
  EXPECT_EQ(table.find(flow_from(1)), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(TimeWaitTable, OldestMakesRoomWhenFull) {
  TimeWaitTable table({.capacity = 3, .linger = 60_s}, key);
  for (uint16_t i = 0; i < 3; ++i) EXPECT_FALSE(table.insert(at(1_s), flow_from(i), {}));
  EXPECT_TRUE(table.insert(at(2_s), flow_from(9), {}));
  EXPECT_EQ(table.find(flow_from(0)), nullptr);
  EXPECT_NE(table.find(flow_from(1)), nullptr);
  EXPECT_NE(table.find(flow_from(9)), nullptr);
  EXPECT_EQ(table.size(), 3u);
}

TEST(TimeWaitTable, RestartWaitsAgainAndMovesBehindTheOthers) {
  TimeWaitTable table({.capacity = 2, .linger = 60_s}, key);
  table.insert(at(0_s), flow_from(1), {});
  table.insert(at(1_s), flow_from(2), {});
  table.restart(at(5_s), flow_from(1));
  table.restart(at(5_s), flow_from(77));
  EXPECT_EQ(table.next_timeout(), at(61_s));
  EXPECT_EQ(table.expire(at(61_s)), 1u);
  EXPECT_NE(table.find(flow_from(1)), nullptr);
  EXPECT_EQ(table.expire(at(65_s)), 1u);
}

TEST(TimeWaitTable, InsertReplacesTheSameFlow) {
  TimeWaitTable table({.capacity = 2, .linger = 60_s}, key);
  table.insert(at(0_s), flow_from(1), state_with(1));
  table.insert(at(1_s), flow_from(1), state_with(2));
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.find(flow_from(1))->rcv_nxt.value(), 2u);
}

TEST(TimeWaitTable, RemoveAndRefillLeaveNothingBehind) {
  TimeWaitTable table({.capacity = 64, .linger = 60_s}, key);
  for (int round = 0; round < 10; ++round) {
    for (uint16_t i = 0; i < 64; ++i) table.insert(at(0_s), flow_from(i), {});
    for (uint16_t i = 0; i < 64; ++i) table.remove(flow_from(static_cast<uint16_t>((i * 37) % 64)));
    table.remove(flow_from(1));
    EXPECT_EQ(table.size(), 0u);
    EXPECT_TRUE(table.next_timeout().is_never());
  }
}

TEST(MayReuse, BySequenceNumberWithoutTimestamps) {
  const TimeWaitTable::State state = state_with(0xffff'fff0);
  EXPECT_TRUE(may_reuse(state, {.seq = SeqNumber(5)}));
  EXPECT_FALSE(may_reuse(state, {.seq = SeqNumber(0xffff'fff0)}));
  EXPECT_FALSE(may_reuse(state, {.seq = SeqNumber(0xffff'0000)}));
}

TEST(MayReuse, ByTimestampWhereBothHaveThem) {
  TimeWaitTable::State state = state_with(1000);
  state.has_timestamps = true;
  state.ts_recent = 500;
  const auto syn = [](uint32_t seq, uint32_t timestamp) {
    return ReuseSyn{.seq = SeqNumber(seq), .has_timestamp = true, .timestamp = timestamp};
  };
  EXPECT_TRUE(may_reuse(state, syn(10, 501)));
  EXPECT_FALSE(may_reuse(state, syn(2000, 499)));
  EXPECT_TRUE(may_reuse(state, syn(2000, 500)));
  EXPECT_FALSE(may_reuse(state, syn(10, 500)));
}

TEST(MayReuse, WhereOnlyOneOfTheTwoHasTimestamps) {
  TimeWaitTable::State state = state_with(1000);
  // RFC 6191 section 2: the old one had none, the new one has.
  EXPECT_TRUE(may_reuse(state, {.seq = SeqNumber(10), .has_timestamp = true, .timestamp = 1}));
  state.has_timestamps = true;
  EXPECT_FALSE(may_reuse(state, {.seq = SeqNumber(10)}));
  EXPECT_TRUE(may_reuse(state, {.seq = SeqNumber(2000)}));
}

}  // namespace
}  // namespace sluice::tcp
