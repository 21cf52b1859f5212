// How the algorithms meet. Sequence numbers of the connection wrap at offset 2^32, in the middle of
// each flight here.
#include "tcp/loss_recovery.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::tcp {
namespace {

constexpr uint64_t base = 0xffff'f000;
constexpr uint16_t mss = 1000;
constexpr Duration rtt = Duration::from_ms(40);

StreamOffset at(uint64_t offset) {
  return StreamOffset(base + offset);
}

// One train of `segments` full segments, sent a round trip ago, and what is reported of it.
struct World {
  explicit World(uint32_t segments, bool sack = true, uint32_t episodes = 1)
      : pool({.runs = {.senders = 1, .shared = 600}, .episodes = episodes}),
        flight{at(0), at(0), mss, sack, rtt, rtt},
        congestion(CongestionAlgorithm::new_reno, mss) {
    recovery.reset(at(0), 0);
    // Slow start to a window of just that flight.
    while (congestion.cwnd() < segments * mss) {
      congestion.on_ack(now, {.newly_acked_bytes = mss, .cwnd_limited = true},
                        {.snd_una = at(0), .snd_nxt = flight.nxt});
    }
    send(segments);
    now = now + rtt;
  }
  ~World() { recovery.release(pool); }
  LossRecovery::Verdict tell(uint64_t una, LossRecovery::Ack ack) {
    ack.una_before = flight.una;
    flight.una = at(una);
    return recovery.on_ack(pool, now, flight, ack, congestion);
  }
  LossRecovery::Verdict acked(uint64_t segments) { return tell(segments * mss, {}); }
  LossRecovery::Verdict sacked(uint64_t from, uint64_t to) {
    const std::vector<StreamRange> blocks{{at(from * mss), at(to * mss)}};
    return tell(flight.una.value() - base, {.una_before = {}, .sacked = blocks});
  }
  LossRecovery::Verdict twice(uint64_t una, uint64_t from, uint64_t to) {
    return tell(una * mss, {.una_before = {}, .twice = {at(from * mss), at(to * mss)}});
  }
  LossRecovery::Verdict echoed(uint64_t una, uint32_t clock) {
    return tell(una * mss, {.una_before = {}, .has_echo = true, .echo_ms = clock});
  }
  LossRecovery::Verdict duplicate() {
    return tell(flight.una.value() - base, {.una_before = {}, .duplicate = true});
  }
  void time_out(bool first = true) {
    recovery.on_rto(pool, now, flight, {.first = first}, congestion);
  }
  uint32_t pipe() const { return recovery.pipe(flight); }
  StreamRange next() { return recovery.next_retransmission(pool.runs, flight); }
  uint32_t room() const { return recovery.room(pool, flight, congestion); }
  void again(StreamRange range, uint32_t clock = 0) {
    recovery.on_sent(pool, now, flight, {.range = range, .again = true, .clock_ms = clock});
  }
  void send(uint32_t segments, bool probe = false) {
    const StreamOffset begin = flight.nxt;
    flight.nxt += uint64_t{segments} * mss;
    recovery.on_sent(pool, now, flight, {.range = {begin, flight.nxt}, .probe = probe});
  }
  StreamRange segments(uint64_t from, uint64_t to) const { return {at(from * mss), at(to * mss)}; }

  RecoveryPools pool;
  Instant now = Instant::from_ns(1'000'000'000);
  Flight flight;
  CongestionControl congestion;
  LossRecovery recovery;
};

TEST(LossRecovery, WhatIsReportedLeavesThePipe) {
  World world(10);
  EXPECT_EQ(world.pipe(), 10u * mss);
  world.now = world.now - 1_ms;
  EXPECT_FALSE(world.sacked(1, 3).entered_recovery);
  EXPECT_EQ(world.pipe(), 8u * mss);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_GT(world.recovery.reordering_timeout(), Duration());
}

TEST(LossRecovery, EntersWithTheThirdSegmentAboveAHole) {
  World world(10);
  world.now = world.now + 1_ms;
  EXPECT_FALSE(world.sacked(1, 3).entered_recovery);
  EXPECT_TRUE(world.sacked(3, 4).entered_recovery);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::fast);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
  EXPECT_EQ(world.next(), world.segments(0, 1));
  EXPECT_EQ(world.pipe(), 6u * mss);  // ten sent, three arrived, one lost
  EXPECT_GE(world.room(), uint32_t{mss});
}

TEST(LossRecovery, TheReorderingTimerEntersToo) {
  World world(10);
  EXPECT_FALSE(world.sacked(1, 2).entered_recovery);
  world.now = world.now + world.recovery.reordering_timeout();
  EXPECT_TRUE(
      world.recovery.on_reordering_timeout(world.pool, world.now, world.flight, world.congestion));
  EXPECT_EQ(world.next(), world.segments(0, 1));
  EXPECT_GE(world.room(), uint32_t{mss});
  // The next sample tells of it, once.
  EXPECT_EQ(world.sacked(2, 3).sample.newly_lost_bytes, 1u * mss);
  EXPECT_EQ(world.sacked(3, 4).sample.newly_lost_bytes, 0u);
}

TEST(LossRecovery, ARetransmissionIsInThePipeAgain) {
  World world(10);
  (void)world.sacked(1, 4);
  world.again(world.next());
  EXPECT_EQ(world.pipe(), 7u * mss);
  EXPECT_TRUE(world.next().empty());
}

TEST(LossRecovery, SendsEachHoleOnce) {
  World world(10);
  (void)world.sacked(1, 2);
  (void)world.sacked(3, 4);
  (void)world.sacked(5, 9);
  for (const uint64_t hole : {0u, 2u, 4u}) {
    EXPECT_EQ(world.next(), world.segments(hole, hole + 1));
    world.again(world.next());
  }
  EXPECT_TRUE(world.next().empty());
}

// RFC 9937 section 6: about every second delivered segment sends one, when ssthresh is the half.
TEST(LossRecovery, ReducesInProportionToWhatIsDelivered) {
  World world(20);
  uint32_t sent = 0;
  for (uint64_t i = 1; i < 20; ++i) {
    (void)world.sacked(i, i + 1);
    if (world.recovery.mode() == RecoveryMode::open) continue;
    while (world.room() >= mss) {
      const StreamRange hole = world.next();
      if (!hole.empty()) {
        world.again(hole);
      } else {
        world.send(1);
      }
      ++sent;
    }
  }
  EXPECT_GE(sent, 9u);
  EXPECT_LE(sent, 12u);
}

TEST(LossRecovery, LeavesAtTheRecoveryPoint) {
  World world(10);
  (void)world.sacked(1, 4);
  world.again(world.next());
  world.now = world.now + rtt;
  (void)world.acked(9);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::fast);
  (void)world.acked(10);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
}

// RFC 5681 section 4.3: a second indication of congestion.
TEST(LossRecovery, ALostRetransmissionReducesAgain) {
  World world(10);
  (void)world.sacked(1, 10);
  world.again(world.next());
  world.now = world.now + 1_ms;
  world.send(4);
  world.now = world.now + rtt;
  const LossRecovery::Verdict verdict = world.sacked(10, 11);
  EXPECT_TRUE(verdict.retransmission_lost);
  EXPECT_EQ(world.next(), world.segments(0, 1));
  EXPECT_LT(world.congestion.cwnd(), 5u * mss);
}

TEST(LossRecovery, ATimeoutSendsOneSegmentWhateverIsInFlight) {
  World world(10);
  (void)world.sacked(4, 5);
  world.now = world.now + 200_ms;
  world.time_out();
  EXPECT_EQ(world.congestion.cwnd(), uint32_t{mss});
  EXPECT_EQ(world.next(), world.segments(0, 4));
  EXPECT_EQ(world.room(), uint32_t{mss});
  world.again(world.segments(0, 1));
  EXPECT_EQ(world.room(), 0u);
}

// RFC 8985 section 6.3.
TEST(LossRecovery, ATimeoutDoesNotLoseWhatLeftJustNow) {
  World world(10);
  (void)world.sacked(9, 10);
  world.now = world.now + 200_ms;
  world.send(2);
  world.time_out();
  EXPECT_EQ(world.pipe(), 2u * mss);
  EXPECT_EQ(world.room(), uint32_t{mss});  // the first segment leaves nevertheless
}

// RFC 2018 section 8.
TEST(LossRecovery, ASecondTimeoutBelievesNoReport) {
  World world(10);
  (void)world.sacked(4, 10);
  world.time_out();
  EXPECT_EQ(world.recovery.board().sacked_bytes(), 6u * mss);
  world.time_out(false);
  EXPECT_EQ(world.recovery.board().sacked_bytes(), 0u);
  EXPECT_EQ(world.next(), world.segments(0, 10));
}

TEST(LossRecovery, APeerThatRenegedIsNotBelievedAtTheFirst) {
  World world(10);
  (void)world.sacked(4, 10);
  (void)world.acked(4);
  EXPECT_TRUE(world.recovery.board().reneged(world.pool.runs));
  world.time_out();
  EXPECT_EQ(world.next(), world.segments(4, 10));
}

// RFC 3522 section 3.2, RFC 4015.
TEST(LossRecovery, UndoesATimeoutThatWasTooEarly) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  EXPECT_TRUE(world.echoed(1, 499).spurious);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
  EXPECT_TRUE(world.next().empty());
  EXPECT_EQ(world.pipe(), 9u * mss);
}

TEST(LossRecovery, DoesNotUndoWhatTheRetransmissionRepaired) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  EXPECT_FALSE(world.echoed(1, 500).spurious);
  EXPECT_FALSE(world.echoed(1, 499).spurious);  // only the first ACK can tell
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::rto);
}

// RFC 3522 section 3.2, step 5.
TEST(LossRecovery, AllAcknowledgedAtOnceProvesNothing) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  EXPECT_FALSE(world.echoed(10, 499).spurious);
  EXPECT_LT(world.congestion.cwnd(), 10u * mss);
}

TEST(LossRecovery, AnEchoWithADuplicateProvesNothing) {
  World world(10, false);  // no F-RTO
  world.time_out();
  world.again(world.segments(0, 1), 500);
  const LossRecovery::Ack ack{
      .una_before = {}, .twice = {at(0), at(1 * mss)}, .has_echo = true, .echo_ms = 499};
  EXPECT_FALSE(world.tell(1 * mss, ack).spurious);
}

// RFC 3708 section 3, A.1.
TEST(LossRecovery, ADuplicateOfTheFirstSegmentAfterATimeoutProvesNothing) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1));
  EXPECT_FALSE(world.twice(10, 0, 1).spurious);
  EXPECT_LT(world.congestion.cwnd(), 10u * mss);
}

// RFC 4015 section 3.4.
TEST(LossRecovery, AMarkKeepsTheWindowReduced) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  const LossRecovery::Ack ack{.una_before = {}, .ece = true, .has_echo = true, .echo_ms = 499};
  EXPECT_TRUE(world.tell(1 * mss, ack).spurious);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_LT(world.congestion.cwnd(), 10u * mss);
}

// RFC 3708: and the path reorders, says RFC 8985.
TEST(LossRecovery, UndoesARecoveryThatThePeerReportsAsDuplicate) {
  World world(10);
  (void)world.sacked(1, 4);
  world.again(world.next());
  (void)world.acked(10);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
  world.send(5);
  EXPECT_TRUE(world.twice(10, 0, 1).spurious);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
  EXPECT_TRUE(world.recovery.rack().reordering_seen());
}

TEST(LossRecovery, ADuplicateOfOneOfTwoRetransmissionsUndoesNothing) {
  World world(10);
  (void)world.sacked(2, 6);
  world.again(world.next());
  (void)world.acked(10);
  world.send(5);
  EXPECT_FALSE(world.twice(10, 0, 1).spurious);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
}

// RFC 5682 section 3.1.
// What is held for a recovery is held until it is over, and no DSACK of it can come any more.
TEST(LossRecovery, AnEpisodeIsHeldUntilNothingCanBeUndone) {
  World world(10);
  EXPECT_EQ(world.pool.episode_pool.in_use(), 0u);
  (void)world.sacked(1, 4);
  EXPECT_EQ(world.pool.episode_pool.in_use(), 1u);
  world.again(world.next());
  world.send(2);
  (void)world.acked(10);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.pool.episode_pool.in_use(), 1u);
  (void)world.acked(12);
  world.send(1);
  (void)world.acked(13);
  EXPECT_EQ(world.pool.episode_pool.in_use(), 0u);
}

TEST(LossRecovery, AnEndInRecoveryGivesTheEpisodeBack) {
  World world(10);
  (void)world.sacked(1, 4);
  world.recovery.release(world.pool);
  EXPECT_EQ(world.pool.episode_pool.in_use(), 0u);
  EXPECT_EQ(world.pool.runs.in_use(), 0u);
}

// A timeout, and then a retransmission that is lost: one recovery, and one window to go back to.
TEST(LossRecovery, WhatGoesOnFromATimeoutIsUndoneWithIt) {
  World world(10);
  (void)world.sacked(4, 10);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  world.now = world.now + rtt;
  world.again(world.segments(1, 3), 540);
  world.now = world.now + rtt;
  EXPECT_TRUE(world.sacked(1, 3).entered_recovery);  // the first one, sent again, was lost again
  world.again(world.segments(0, 1), 580);
  world.send(1);
  EXPECT_TRUE(world.echoed(10, 499).spurious);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
  EXPECT_EQ(world.congestion.ssthresh(), CongestionControl::ssthresh_unset);
}

// RFC 6675: without an episode the window and the pipe say what may leave, and the first segment
// leaves whatever they say.
TEST(LossRecovery, WithoutAnEpisodeTheWindowMetersTheRecovery) {
  World world(10, true, 0);
  EXPECT_TRUE(world.sacked(1, 4).entered_recovery);
  EXPECT_TRUE(world.recovery.plain());
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
  EXPECT_EQ(world.pipe(), 6u * mss);
  EXPECT_EQ(world.room(), uint32_t{mss});
  world.again(world.next());
  EXPECT_EQ(world.room(), 0u);
  (void)world.sacked(4, 8);
  EXPECT_EQ(world.pipe(), 3u * mss);
  EXPECT_EQ(world.room(), 2u * mss);
  (void)world.acked(10);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_FALSE(world.recovery.plain());
}

TEST(LossRecovery, WithoutAnEpisodeNothingIsUndone) {
  World world(10, true, 0);
  world.time_out();
  world.again(world.segments(0, 1), 500);
  EXPECT_FALSE(world.echoed(1, 499).spurious);
  EXPECT_LT(world.congestion.cwnd(), 10u * mss);
}

TEST(LossRecovery, AfterATimeoutNewDataTriesThePath) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1));
  const LossRecovery::Ack ack{.una_before = {}, .may_send_new = true};
  (void)world.tell(1 * mss, ack);
  EXPECT_TRUE(world.next().empty());  // nothing is sent again yet
  EXPECT_EQ(world.room(), 2u * mss);
  world.send(2);
  EXPECT_EQ(world.room(), 0u);
  // Something arrives that was sent once: the originals were late.
  const LossRecovery::Verdict verdict = world.acked(2);
  EXPECT_TRUE(verdict.spurious_timeout);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
}

TEST(LossRecovery, NewDataThatArrivesFirstProvesTheTimeoutRight) {
  World world(10);
  world.time_out();
  world.again(world.segments(0, 1));
  (void)world.tell(1 * mss, {.una_before = {}, .may_send_new = true});
  world.send(2);
  EXPECT_FALSE(world.sacked(10, 12).spurious);
  EXPECT_EQ(world.next(), world.segments(1, 10));
}

// RFC 5681 section 3.2, RFC 6582.
TEST(LossRecovery, WithoutSackThreeDuplicatesRetransmitOneSegment) {
  World world(10, false);
  EXPECT_FALSE(world.duplicate().entered_recovery);
  EXPECT_FALSE(world.duplicate().entered_recovery);
  EXPECT_EQ(world.pipe(), 8u * mss);  // RFC 3042: two new segments may leave
  EXPECT_TRUE(world.duplicate().entered_recovery);
  EXPECT_EQ(world.next(), world.segments(0, 1));
  world.again(world.next());
  (void)world.acked(3);  // partial: the next one is lost, too
  EXPECT_EQ(world.next(), world.segments(3, 4));
  world.again(world.next());
  (void)world.acked(10);
  EXPECT_EQ(world.recovery.mode(), RecoveryMode::open);
}

TEST(LossRecovery, WithoutSackATimeoutLosesEverything) {
  World world(10, false);
  world.time_out();
  EXPECT_EQ(world.pipe(), 0u);
  EXPECT_EQ(world.next(), world.segments(0, 10));
}

// RFC 8985 section 7.4.
TEST(LossRecovery, AProbeThatRepairedALossReducesTheWindow) {
  World world(10);
  world.recovery.on_sent(world.pool, world.now, world.flight,
                         {.range = world.segments(9, 10), .again = true, .probe = true});
  EXPECT_FALSE(world.recovery.may_probe());
  world.now = world.now + rtt;
  EXPECT_FALSE(world.acked(10).probe_repaired);  // was it the original?
  world.send(2);
  EXPECT_TRUE(world.acked(11).probe_repaired);
  EXPECT_EQ(world.congestion.cwnd(), 5u * mss);
}

TEST(LossRecovery, AProbeReportedTwiceWasNotNeeded) {
  World world(10);
  world.recovery.on_sent(world.pool, world.now, world.flight,
                         {.range = world.segments(9, 10), .again = true, .probe = true});
  (void)world.acked(10);
  EXPECT_FALSE(world.twice(10, 9, 10).probe_repaired);
  world.send(2);
  EXPECT_FALSE(world.acked(11).probe_repaired);
  EXPECT_EQ(world.congestion.cwnd(), 10u * mss);
  EXPECT_EQ(world.recovery.rack().multiplier(), 1);  // it says nothing of reordering
}

TEST(LossRecovery, AProbeThatCameThroughShowsWhatIsMissing) {
  World world(10);
  (void)world.acked(7);
  world.now = world.now + 2 * rtt;
  world.recovery.on_sent(world.pool, world.now, world.flight,
                         {.range = world.segments(9, 10), .again = true, .probe = true});
  world.now = world.now + rtt;
  EXPECT_TRUE(world.sacked(9, 10).entered_recovery);
  EXPECT_EQ(world.next(), world.segments(7, 9));
}

// Karn, and what an ACK tells of the path.
TEST(LossRecovery, ARoundTripIsMeasuredOnWhatWasSentOnce) {
  World world(10);
  EXPECT_EQ(world.acked(2).sample.rtt, rtt);
  EXPECT_EQ(world.sacked(3, 6).sample.rtt, rtt);
  world.again(world.next());
  world.now = world.now + rtt;
  EXPECT_EQ(world.acked(3).sample.rtt, Duration());
}

TEST(LossRecovery, TheSampleSaysWhatTheAckDid) {
  World world(10);
  (void)world.acked(2);
  const RateSample sample = world.sacked(3, 6).sample;
  EXPECT_EQ(sample.newly_acked_bytes, 3u * mss);
  EXPECT_EQ(sample.newly_lost_bytes, 1u * mss);
  EXPECT_EQ(sample.delivered_total, 5u * mss);
  EXPECT_EQ(sample.prior_in_flight_bytes, 8u * mss);
  EXPECT_EQ(sample.in_flight_bytes, 4u * mss);
  EXPECT_EQ(sample.tx_in_flight_bytes, 10u * mss);
  EXPECT_EQ(sample.interval, rtt);
  EXPECT_TRUE(sample.in_recovery);
}

}  // namespace
}  // namespace sluice::tcp
