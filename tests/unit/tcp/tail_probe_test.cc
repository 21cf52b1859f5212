// RFC 8985 section 7.
#include "tcp/tail_probe.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr SeqNumber end(5);  // behind the wrap
constexpr SeqNumber before(0xffff'fff0);

TailProbe sent(bool retransmitted) {
  TailProbe probe;
  probe.on_sent(end, retransmitted);
  return probe;
}

// TLP_calc_PTO ().
TEST(TailProbe, IsDueAfterTwoRoundTrips) {
  EXPECT_EQ(TailProbe::timeout(50_ms, false), 100_ms);
}

TEST(TailProbe, OneSegmentAllowsForADelayedAck) {
  EXPECT_EQ(TailProbe::timeout(50_ms, true), 300_ms);
}

TEST(TailProbe, IsDueAfterOneSecondWithoutASample) {
  EXPECT_EQ(TailProbe::timeout(Duration(), false), 1_s);
}

TEST(TailProbe, LeavesThePeerTimeToBeScheduled) {
  EXPECT_EQ(TailProbe::timeout(100_us, false), 10_ms);
}

// TLP_process_ack (), case by case.
TEST(TailProbe, NewDataThatIsAcknowledgedEndsIt) {
  TailProbe probe = sent(false);
  EXPECT_FALSE(probe.on_ack({.una = end}));
  EXPECT_FALSE(probe.outstanding());
}

TEST(TailProbe, AnAckBeforeItsEndTellsNothing) {
  TailProbe probe = sent(true);
  EXPECT_FALSE(probe.on_ack({.una = before}));
  EXPECT_TRUE(probe.outstanding());
}

TEST(TailProbe, ADsackShowsThatItWasNotNeeded) {
  TailProbe probe = sent(true);
  EXPECT_FALSE(probe.on_ack({.una = end}));
  EXPECT_FALSE(probe.on_ack({.una = end, .dsack = true}));
  EXPECT_FALSE(probe.on_ack({.una = end + 1}));
}

TEST(TailProbe, AnAckBeyondItWithoutAWordMeansThatItRepairedALoss) {
  TailProbe probe = sent(true);
  EXPECT_FALSE(probe.on_ack({.una = end}));
  EXPECT_TRUE(probe.on_ack({.una = end + 1}));
  EXPECT_FALSE(probe.outstanding());
}

TEST(TailProbe, ADuplicateAckShowsThatBothArrived) {
  TailProbe probe = sent(true);
  EXPECT_FALSE(probe.on_ack({.una = end, .duplicate = true}));
  EXPECT_FALSE(probe.on_ack({.una = end + 1}));
}

}  // namespace
}  // namespace sluice::tcp
