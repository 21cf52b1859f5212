// RFC 5682 section 3.1; the steps are those of the RFC.
#include "tcp/frto.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

using Verdict = Frto::Verdict;

Frto timed_out() {
  Frto frto;
  frto.begin();
  return frto;
}

TEST(Frto, SaysNothingWithoutATimeout) {
  Frto frto;
  EXPECT_EQ(frto.on_ack({.advanced = true, .original = true}), Verdict::open);
}

// Step 2b, then 3b.
TEST(Frto, NewDataIsSentAndSomethingOldThatArrivesProvesTheTimeoutNeedless) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .may_send_new = true}), Verdict::probe);
  EXPECT_EQ(frto.on_ack({.advanced = true, .original = true}), Verdict::spurious);
  EXPECT_FALSE(frto.active());
}

TEST(Frto, TheFirstAckMayProveItAlready) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .original = true}), Verdict::spurious);
}

// Step 2a.
TEST(Frto, AnAckOfEverythingTellsNothing) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .recovered = true}), Verdict::open);
  EXPECT_FALSE(frto.active());
  // Not even when it delivers what was sent once: perhaps the ACKs were lost, all of them.
  frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .original = true, .recovered = true}), Verdict::open);
}

TEST(Frto, ADuplicateIsWaitedOut) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = false}), Verdict::open);
  EXPECT_TRUE(frto.active());
}

TEST(Frto, WithoutNewDataItGivesUp) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .may_send_new = false}), Verdict::open);
  EXPECT_FALSE(frto.active());
}

// Step 3a.
TEST(Frto, NewDataThatOvertookTheOldProvesTheLoss) {
  Frto frto = timed_out();
  EXPECT_EQ(frto.on_ack({.advanced = true, .may_send_new = true}), Verdict::probe);
  EXPECT_EQ(frto.on_ack({.sacked = true}), Verdict::open);
  EXPECT_FALSE(frto.active());
}

}  // namespace
}  // namespace sluice::tcp
