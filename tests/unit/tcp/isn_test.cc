#include "tcp/isn.h"

#include <gtest/gtest.h>

#include "flows.h"

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr SipKey key{1, 2};
constexpr Instant now = Instant::from_ns(77'000'000'000);

TEST(InitialSeqNumber, TicksEveryFourMicroseconds) {
  const SeqNumber first = initial_seq_number(key, flow_from(4000), now);
  EXPECT_EQ(initial_seq_number(key, flow_from(4000), now + 400_us) - first, 100);
}

TEST(InitialSeqNumber, DependsOnEveryPartOfTheFlowAndOnTheKey) {
  const Flow flow = flow_from(4000);
  const SeqNumber number = initial_seq_number(key, flow, now);
  Flow other = flow;
  other.remote_port = 4001;
  EXPECT_NE(initial_seq_number(key, other, now), number);
  other = flow;
  other.local_port = 81;
  EXPECT_NE(initial_seq_number(key, other, now), number);
  other = flow;
  other.local = 1;
  EXPECT_NE(initial_seq_number(key, other, now), number);
  other = flow;
  other.remote = inet::Address::v4(0xc000'0202);
  EXPECT_NE(initial_seq_number(key, other, now), number);
  EXPECT_NE(initial_seq_number({1, 3}, flow, now), number);
}

TEST(TimestampOffset, IsSteadyForAFlowAndNotTheSequenceNumbers) {
  EXPECT_EQ(timestamp_offset(key, flow_from(1)), timestamp_offset(key, flow_from(1)));
  EXPECT_NE(timestamp_offset(key, flow_from(1)), timestamp_offset(key, flow_from(2)));
  EXPECT_NE(timestamp_offset(key, flow_from(1)),
            initial_seq_number(key, flow_from(1), Instant()).value());
}

TEST(TimestampClock, TicksInMillisecondsAndWraps) {
  EXPECT_EQ(timestamp_clock_ms(Instant::from_ns(5'999'999)), 5u);
  EXPECT_EQ(timestamp_clock_ms(Instant::from_ns(1'000'000 * ((int64_t{1} << 32) + 3))), 3u);
}

}  // namespace
}  // namespace sluice::tcp
