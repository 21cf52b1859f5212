#include "tcp/prr.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr uint16_t mss = 1000;

// RFC 9937 section 6.2: RecoverFS counts what recovery can still deliver.
TEST(Prr, SendsInProportionToWhatIsDelivered) {
  Prr prr;
  prr.begin({.flight_bytes = 20 * mss, .sacked_before = 2 * mss, .acked_now = 0});
  uint32_t sent = 0;
  for (uint32_t delivered = 1; delivered <= 8; ++delivered) {
    prr.on_ack({.delivered_bytes = mss,
                .in_flight_bytes = 17 * mss,
                .ssthresh_bytes = 9 * mss,
                .mss = mss});
    while (prr.allowance() >= mss) {
      prr.on_sent(mss);
      sent += mss;
    }
    // CEIL (prr_delivered * ssthresh / RecoverFS) = delivered * 9 / 18
    EXPECT_EQ(sent, std::max(delivered / 2, 1u) * mss);
  }
}

TEST(Prr, TheFirstRetransmissionLeavesAtOnce) {
  Prr prr;
  prr.begin({.flight_bytes = 100 * mss});
  prr.on_ack(
      {.delivered_bytes = 1, .in_flight_bytes = 90 * mss, .ssthresh_bytes = 50 * mss, .mss = mss});
  EXPECT_EQ(prr.allowance(), mss);
}

// Section 6.2: an ACK that delivers nothing clocks out nothing (a splitting receiver gains
// nothing).
TEST(Prr, AnAckThatDeliversNothingChangesNothing) {
  Prr prr;
  prr.begin({.flight_bytes = 20 * mss});
  prr.on_ack({.delivered_bytes = 4 * mss,
              .in_flight_bytes = 15 * mss,
              .ssthresh_bytes = 10 * mss,
              .mss = mss});
  prr.on_sent(2 * mss);
  for (int i = 0; i < 100; ++i) {
    prr.on_ack({.delivered_bytes = 0,
                .in_flight_bytes = 4 * mss,
                .ssthresh_bytes = 10 * mss,
                .mss = mss,
                .safe = true});
  }
  EXPECT_EQ(prr.allowance(), 0u);
}

// PRR-CRB by default: packet conservation below ssthresh.
TEST(Prr, BelowSsthreshOnlyWhatWasDeliveredLeaves) {
  Prr prr;
  prr.begin({.flight_bytes = 20 * mss});
  prr.on_sent(mss);
  prr.on_ack({.delivered_bytes = 2 * mss,
              .in_flight_bytes = 5 * mss,
              .ssthresh_bytes = 10 * mss,
              .mss = mss});
  EXPECT_EQ(prr.allowance(), 2 * mss);
}

// PRR-SSRB when recovery makes good progress: one segment more for each ACK.
TEST(Prr, ASafeAckAddsASegment) {
  Prr prr;
  prr.begin({.flight_bytes = 20 * mss});
  prr.on_sent(mss);
  prr.on_ack({.delivered_bytes = 2 * mss,
              .in_flight_bytes = 5 * mss,
              .ssthresh_bytes = 10 * mss,
              .mss = mss,
              .safe = true});
  EXPECT_EQ(prr.allowance(), 3 * mss);
}

TEST(Prr, NeverFillsTheFlightAboveSsthresh) {
  Prr prr;
  prr.begin({.flight_bytes = 20 * mss});
  prr.on_sent(mss);
  prr.on_ack({.delivered_bytes = 9 * mss,
              .in_flight_bytes = 8 * mss,
              .ssthresh_bytes = 10 * mss,
              .mss = mss,
              .safe = true});
  EXPECT_EQ(prr.allowance(), 2 * mss);
}

}  // namespace
}  // namespace sluice::tcp
