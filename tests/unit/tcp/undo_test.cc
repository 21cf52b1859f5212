#include "tcp/undo.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

SeqNumber at(uint32_t offset) {
  return SeqNumber(0xffff'fff0 + offset);
}

Undo recovering() {
  Undo undo;
  undo.begin(at(0));
  return undo;
}

// RFC 3522 section 3.2, step 5.
TEST(Undo, AnEchoOlderThanTheRetransmissionAnswersTheOriginal) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 500);
  EXPECT_TRUE(undo.is_answer_to_original(499));
}

TEST(Undo, AnEchoOfTheRetransmissionTellsNothing) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 500);
  EXPECT_FALSE(undo.is_answer_to_original(500));
}

TEST(Undo, OnlyTheFirstAckCanTell) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 500);
  EXPECT_FALSE(undo.is_answer_to_original(501));
  EXPECT_FALSE(undo.is_answer_to_original(499));
}

TEST(Undo, OnlyTheFirstRetransmissionsClockCounts) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 500);
  undo.on_retransmitted(1000, 510);
  EXPECT_FALSE(undo.is_answer_to_original(505));
}

TEST(Undo, TheClockMayWrap) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 3);
  EXPECT_TRUE(undo.is_answer_to_original(0xffff'fff0));
}

TEST(Undo, NothingWasSentAgainSoNothingCanBeNeedless) {
  Undo undo = recovering();
  EXPECT_FALSE(undo.is_answer_to_original(1));
  undo.on_duplicate({at(0), at(1000)});
  EXPECT_FALSE(undo.all_duplicate());
}

// RFC 3708 section 3: every retransmission has to be reported.
TEST(Undo, AllReportedTwiceMeansNoneWasNeeded) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 1);
  undo.on_retransmitted(2000, 1);
  undo.on_duplicate({at(0), at(1000)});
  EXPECT_FALSE(undo.all_duplicate());
  undo.on_duplicate({at(1000), at(3000)});
  EXPECT_TRUE(undo.all_duplicate());
}

TEST(Undo, ADuplicateFromBeforeTheRecoveryDoesNotCount) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 1);
  undo.on_duplicate({at(0) - 5000, at(0) - 4000});
  EXPECT_FALSE(undo.all_duplicate());
}

TEST(Undo, ReportsAreAwaitedForOneMoreFlight) {
  Undo undo = recovering();
  undo.on_retransmitted(1000, 1);
  undo.linger(at(8000));
  undo.advance(at(8000));
  EXPECT_TRUE(undo.armed());
  undo.advance(at(8001));
  EXPECT_FALSE(undo.armed());
}

}  // namespace
}  // namespace sluice::tcp
