// Sequence numbers of the connection wrap at offset 2^32, in the middle of each flight here.
#include "tcp/loss_recovery.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint64_t base = 0xffff'f000;
constexpr uint16_t mss = 1000;
constexpr Instant now = Instant::from_ns(1'000'000'000);

StreamOffset at(uint64_t offset) {
  return StreamOffset(base + offset);
}

// A flight of `segments` full segments, and what has been reported of it.
struct World {
  explicit World(uint32_t segments)
      : flight{at(0), at(uint64_t{segments} * mss), mss},
        congestion(CongestionAlgorithm::new_reno, mss) {
    recovery.reset(at(0));
    // Slow start to a window of just that flight.
    while (congestion.cwnd() < segments * mss) {
      congestion.on_ack(now, {.newly_acked_bytes = mss, .cwnd_limited = true},
                        {.snd_una = at(0), .snd_nxt = flight.nxt});
    }
  }
  LossRecovery::Verdict ack(uint64_t una, LossRecovery::Ack ack = {}) {
    ack.una_before = flight.una;
    const uint32_t before = board.sacked_bytes();
    flight.una = at(una);
    board.advance(flight.una);
    ack.delivered_bytes =
        static_cast<uint32_t>(flight.una - ack.una_before) + board.sacked_bytes() - before;
    return recovery.on_ack(now, flight, ack, board, congestion);
  }
  // An ACK of nothing new that SACKs segments [from, to).
  LossRecovery::Verdict sacked(uint64_t from, uint64_t to) {
    const uint32_t added = board.add({at(from * mss), at(to * mss)});
    return recovery.on_ack(now, flight, {.una_before = flight.una, .delivered_bytes = added}, board,
                           congestion);
  }
  uint32_t pipe() const { return recovery.pipe(flight, board); }
  StreamRange next() const { return recovery.next_retransmission(flight, board, {}); }
  uint32_t room() const { return recovery.room(flight, board, congestion); }
  void retransmit(StreamRange range, uint32_t clock = 0) {
    recovery.on_retransmitted(flight, range, clock);
    recovery.on_sent(static_cast<uint32_t>(range.end - range.begin));
  }
  void send(uint32_t segments) {
    flight.nxt += uint64_t{segments} * mss;
    recovery.on_sent(segments * mss);
  }

  Flight flight;
  Scoreboard board;
  CongestionControl congestion;
  LossRecovery recovery;
};

TEST(LossRecovery, SackedBytesLeaveThePipe) {
  World world(10);
  EXPECT_EQ(world.pipe(), 10u * mss);
  EXPECT_FALSE(world.sacked(1, 3).entered_recovery);
  EXPECT_EQ(world.pipe(), 8u * mss);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
}

TEST(LossRecovery, EntersWithTheThirdSegmentAboveAHole) {
  World world(10);
  EXPECT_FALSE(world.sacked(1, 3).entered_recovery);
  EXPECT_TRUE(world.sacked(3, 4).entered_recovery);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::fast);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
  EXPECT_EQ(world.next(), (StreamRange{at(0), at(mss)}));
  EXPECT_EQ(world.pipe(), 6u * mss);  // ten sent, three arrived, one lost
  EXPECT_GE(world.room(), uint32_t{mss});
}

TEST(LossRecovery, ARetransmissionIsInThePipeAgain) {
  World world(10);
  (void)world.sacked(1, 4);
  world.retransmit(world.next());
  EXPECT_EQ(world.pipe(), 7u * mss);
  EXPECT_TRUE(world.next().empty());
}

TEST(LossRecovery, SendsEachHoleOnce) {
  World world(10);
  (void)world.sacked(1, 2);
  (void)world.sacked(3, 4);
  (void)world.sacked(5, 9);
  EXPECT_EQ(world.next(), (StreamRange{at(0), at(mss)}));
  world.retransmit(world.next());
  EXPECT_EQ(world.next(), (StreamRange{at(2 * mss), at(3 * mss)}));
  world.retransmit(world.next());
  EXPECT_EQ(world.next(), (StreamRange{at(4 * mss), at(5 * mss)}));
  world.retransmit(world.next());
  EXPECT_TRUE(world.next().empty());
}

// RFC 6937 section 3: about every second delivered segment sends one, when ssthresh is the half.
TEST(LossRecovery, ReducesInProportionToWhatIsDelivered) {
  World world(20);
  uint32_t sent = 0;
  for (uint64_t i = 1; i < 20; ++i) {
    (void)world.sacked(i, i + 1);
    while (world.room() >= mss) {
      const StreamRange hole = world.next();
      if (!hole.empty()) {
        world.retransmit(hole);
      } else {
        world.send(1);
      }
      ++sent;
    }
  }
  EXPECT_GE(sent, 9u);
  EXPECT_LE(sent, 12u);
}

TEST(LossRecovery, AnAckThatDeliversNothingSendsNothing) {
  World world(20);
  (void)world.sacked(1, 5);
  while (world.room() >= mss) world.send(1);
  const uint32_t left = world.room();
  for (int i = 0; i < 100; ++i) (void)world.sacked(1, 5);
  EXPECT_EQ(world.room(), left);
}

TEST(LossRecovery, LeavesAtTheRecoveryPoint) {
  World world(10);
  (void)world.sacked(1, 4);
  world.retransmit(world.next());
  (void)world.ack(9 * mss);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::fast);
  (void)world.ack(10 * mss);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
}

TEST(LossRecovery, NoticesThatARetransmissionWasLost) {
  World world(10);
  (void)world.sacked(1, 10);
  world.retransmit(world.next());
  world.send(4);
  EXPECT_FALSE(world.sacked(10, 12).retransmission_lost);
  EXPECT_TRUE(world.sacked(12, 13).retransmission_lost);
  EXPECT_EQ(world.next(), (StreamRange{at(0), at(mss)}));
}

TEST(LossRecovery, ATimeoutLosesAllThatWasNotSacked) {
  World world(10);
  (void)world.sacked(4, 5);
  world.recovery.on_rto(now, world.flight, {.first = true}, world.congestion);
  EXPECT_EQ(world.congestion.cwnd(), uint32_t{mss});
  EXPECT_EQ(world.pipe(), 0u);
  EXPECT_EQ(world.next(), (StreamRange{at(0), at(4 * mss)}));
  EXPECT_EQ(world.room(), uint32_t{mss});
  world.retransmit({at(0), at(mss)});
  EXPECT_EQ(world.room(), 0u);
  (void)world.ack(mss);
  EXPECT_EQ(world.next(), (StreamRange{at(mss), at(4 * mss)}));
  world.retransmit(world.next());
  EXPECT_EQ(world.next(), (StreamRange{at(5 * mss), at(10 * mss)}));
}

// RFC 3522 section 3.2.
TEST(LossRecovery, UndoesATimeoutThatWasTooEarly) {
  World world(10);
  world.recovery.on_rto(now, world.flight, {.first = true}, world.congestion);
  world.retransmit({at(0), at(mss)}, 500);
  EXPECT_TRUE(world.ack(mss, {.has_echo = true, .echo = 499}).spurious);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
}

TEST(LossRecovery, DoesNotUndoWhatTheRetransmissionRepaired) {
  World world(10);
  world.recovery.on_rto(now, world.flight, {.first = true}, world.congestion);
  world.retransmit({at(0), at(mss)}, 500);
  EXPECT_FALSE(world.ack(mss, {.has_echo = true, .echo = 500}).spurious);
  // Only the first ACK can tell.
  EXPECT_FALSE(world.ack(2 * mss, {.has_echo = true, .echo = 499}).spurious);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::rto);
}

// RFC 6582.
TEST(LossRecovery, WithoutSackThreeDuplicatesRetransmitOneSegment) {
  World world(10);
  EXPECT_FALSE(world.ack(0, {.duplicate = true}).entered_recovery);
  EXPECT_FALSE(world.ack(0, {.duplicate = true}).entered_recovery);
  EXPECT_EQ(world.pipe(), 8u * mss);
  EXPECT_TRUE(world.ack(0, {.duplicate = true}).entered_recovery);
  EXPECT_EQ(world.next(), (StreamRange{at(0), at(mss)}));
  world.retransmit(world.next());
  (void)world.ack(3 * mss);  // partial: the next one is lost, too
  EXPECT_EQ(world.next(), (StreamRange{at(3 * mss), at(4 * mss)}));
  world.retransmit(world.next());
  (void)world.ack(10 * mss);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
}

// RFC 8985 section 7.4.2.
TEST(LossRecovery, AProbeThatRepairedALossReducesTheWindow) {
  World world(10);
  world.recovery.on_probe_sent({.range = {at(9 * mss), at(10 * mss)}, .retransmitted = true});
  EXPECT_FALSE(world.ack(10 * mss).probe_repaired);  // was it the original?
  world.send(2);
  EXPECT_TRUE(world.ack(11 * mss).probe_repaired);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
}

TEST(LossRecovery, AProbeReportedTwiceWasNotNeeded) {
  World world(10);
  world.recovery.on_probe_sent({.range = {at(9 * mss), at(10 * mss)}, .retransmitted = true});
  (void)world.ack(10 * mss);
  EXPECT_FALSE(world.ack(10 * mss, {.dsack = true}).probe_repaired);
  world.send(2);
  EXPECT_FALSE(world.ack(11 * mss).probe_repaired);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
}

TEST(LossRecovery, AProbeThatCameThroughShowsTheTailLost) {
  World world(10);
  (void)world.ack(7 * mss);
  world.recovery.on_probe_sent({.range = {at(9 * mss), at(10 * mss)}, .retransmitted = true});
  EXPECT_TRUE(world.sacked(9, 10).entered_recovery);
  EXPECT_EQ(world.next(), (StreamRange{at(7 * mss), at(9 * mss)}));
}

}  // namespace
}  // namespace sluice::tcp
