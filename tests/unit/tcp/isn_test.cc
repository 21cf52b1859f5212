#include "tcp/isn.h"

#include <gtest/gtest.h>

#include "flows.h"

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr SipKey key{1, 2};
constexpr Instant now = Instant::from_ns(77'000'000'000);

SeqNumber number_of(const SipKey& secret, const Flow& flow, Instant when) {
  return initial_seq_number(secret, flow_hash(secret, flow), when);
}

TEST(InitialSeqNumber, TicksEveryFourMicroseconds) {
  const SeqNumber first = number_of(key, flow_from(4000), now);
  EXPECT_EQ(number_of(key, flow_from(4000), now + 400_us) - first, 100);
}

TEST(InitialSeqNumber, DependsOnEveryPartOfTheFlowAndOnTheKey) {
  const Flow flow = flow_from(4000);
  const SeqNumber number = number_of(key, flow, now);
  Flow other = flow;
  other.remote_port = 4001;
  EXPECT_NE(number_of(key, other, now), number);
  other = flow;
  other.local_port = 81;
  EXPECT_NE(number_of(key, other, now), number);
  other = flow;
  other.local = 1;
  EXPECT_NE(number_of(key, other, now), number);
  other = flow;
  other.remote = inet::Address::v4(0xc000'0202);
  EXPECT_NE(number_of(key, other, now), number);
  EXPECT_NE(number_of(SipKey{1, 3}, flow, now), number);
}

TEST(TimestampOffset, IsSteadyForAFlowAndNotTheSequenceNumbers) {
  EXPECT_EQ(timestamp_offset(flow_hash(key, flow_from(1))),
            timestamp_offset(flow_hash(key, flow_from(1))));
  EXPECT_NE(timestamp_offset(flow_hash(key, flow_from(1))),
            timestamp_offset(flow_hash(key, flow_from(2))));
  EXPECT_NE(timestamp_offset(flow_hash(key, flow_from(1))),
            number_of(key, flow_from(1), Instant()).value());
}

TEST(TimestampClock, TicksInMillisecondsAndWraps) {
  EXPECT_EQ(timestamp_clock_ms(Instant::from_ns(5'999'999)), 5u);
  EXPECT_EQ(timestamp_clock_ms(Instant::from_ns(1'000'000 * ((int64_t{1} << 32) + 3))), 3u);
}

}  // namespace
}  // namespace sluice::tcp
