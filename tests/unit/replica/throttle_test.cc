// The Throttle in virtual time: rate, share, and nothing where there is no limit.
#include "replica/throttle.h"

#include <gtest/gtest.h>

namespace sluice::replica {
namespace {

constexpr uint64_t piece = 2u << 20;

class ThrottleTest : public testing::Test {
 protected:
  Instant now = Instant::from_ns(1'000'000'000);
  uint64_t clients = 0;

  /// Writes as fast as it may, with clients at their rate; returns bytes a second.
  uint64_t run(Throttle& throttle, Duration time, uint64_t client_bytes_per_s,
               uint64_t link_bytes_per_s = 1'000'000'000) {
    const Instant begin = now;
    uint64_t written = 0;
    double carried = 0;
    while (now - begin < time) {
      clients += client_bytes_per_s / 1'000;
      throttle.handle_load(now, clients);
      carried = std::min(carried + static_cast<double>(link_bytes_per_s) / 1e3, 1e9);
      while (carried >= static_cast<double>(piece) && throttle.may_write(now)) {
        throttle.note_written(piece);
        throttle.note_done(piece);
        written += piece;
        carried -= static_cast<double>(piece);
      }
      now = now + 1_ms;
    }
    return written * 1'000 / static_cast<uint64_t>(time.ms());
  }
};

TEST_F(ThrottleTest, NoLimitIsNone) {
  Throttle throttle({.rate_bytes_per_s = 0, .share_percent = 50});
  EXPECT_GT(run(throttle, 5_s, 0), 950'000'000u);
}

TEST_F(ThrottleTest, KeepsTheRate) {
  for (const uint64_t rate : {1'000'000ull, 10'000'000ull, 100'000'000ull, 500'000'000ull}) {
    Throttle throttle({.rate_bytes_per_s = rate});
    const uint64_t got = run(throttle, 60_s, 0);
    EXPECT_LE(got, rate + rate / 20 + piece / 60) << rate;
    EXPECT_GE(got, rate - rate / 20) << rate;
  }
}

TEST_F(ThrottleTest, DoesNotSaveUpForABurst) {
  Throttle throttle({.rate_bytes_per_s = 100'000'000});
  EXPECT_TRUE(throttle.may_write(now));
  now = now + 3600_s;
  EXPECT_TRUE(throttle.may_write(now));
  throttle.note_written(piece);
  throttle.note_written(piece);  // beyond the 20 ms that it holds
  EXPECT_FALSE(throttle.may_write(now));
}

TEST_F(ThrottleTest, SaysWhenItIsReady) {
  Throttle throttle({.rate_bytes_per_s = 1'000'000});
  now = now + 1_s;
  ASSERT_TRUE(throttle.may_write(now));
  throttle.note_written(piece);
  ASSERT_FALSE(throttle.may_write(now));
  const Instant ready = throttle.ready_at();
  EXPECT_GT(ready - now, 2_s);
  EXPECT_LT(ready - now, Duration::from_ms(2'200));
  EXPECT_FALSE(throttle.may_write(ready - 2_ms));
  EXPECT_TRUE(throttle.may_write(throttle.ready_at()));
}

TEST_F(ThrottleTest, HalfOfWhatLeavesWhileClientsAreServed) {
  Throttle throttle({.share_percent = 50});
  (void)run(throttle, 2_s, 400'000'000);  // it learns
  const uint64_t got = run(throttle, 10_s, 400'000'000);
  EXPECT_GE(got, 360'000'000u);
  EXPECT_LE(got, 440'000'000u);
}

TEST_F(ThrottleTest, ATenthOfThePeakWhateverTheClients) {
  Throttle throttle({.share_percent = 10});
  (void)run(throttle, 5_s, 0);  // a gigabyte a second
  (void)run(throttle, 500_ms, 20'000'000);
  const uint64_t got = run(throttle, 2_s, 20'000'000);
  EXPECT_GE(got, 60'000'000u);
  EXPECT_LE(got, 130'000'000u);
}

TEST_F(ThrottleTest, NobodyServedNoShare) {
  Throttle throttle({.share_percent = 10});
  (void)run(throttle, 5_s, 500'000'000);
  (void)run(throttle, 1_s, 0);
  EXPECT_GT(run(throttle, 5_s, 0), 900'000'000u);
}

TEST_F(ThrottleTest, TheLowerOfRateAndShare) {
  Throttle throttle({.rate_bytes_per_s = 50'000'000, .share_percent = 50});
  (void)run(throttle, 2_s, 400'000'000);
  EXPECT_LE(run(throttle, 10_s, 400'000'000), 55'000'000u);
}

// On a slow link many writes begin at once and end one after the other: what began is not what the
// link carries. Measured as that, it held the share up at a multiple for half a minute.
TEST_F(ThrottleTest, WritesThatBeganAreNotWhatLeft) {
  constexpr uint64_t link = 20'000'000;
  Throttle throttle({.share_percent = 10});
  uint64_t posted = 0;
  throttle.handle_load(now, clients);
  for (; posted < 16 * piece && throttle.may_write(now); posted += piece) {
    throttle.note_written(piece);
  }
  ASSERT_EQ(posted, 16 * piece);
  uint64_t done = 0;
  double carried = 0;
  uint64_t written_late = 0;
  for (int ms = 0; ms < 10'000; ++ms) {
    now = now + 1_ms;
    // Clients get what the link has left.
    const bool is_busy = done < posted;
    clients += link / 1'000 / (is_busy ? 2 : 1);
    throttle.handle_load(now, clients);
    if (is_busy) carried += static_cast<double>(link) / 2'000;
    for (; carried >= static_cast<double>(piece) && done < posted; done += piece) {
      carried -= static_cast<double>(piece);
      throttle.note_done(piece);
    }
    // A peer asks for the next when one has come.
    if (posted - done < 16 * piece && throttle.may_write(now)) {
      throttle.note_written(piece);
      posted += piece;
      if (ms >= 2'000) written_late += piece;
    }
  }
  EXPECT_LE(written_late / 8, link / 10 * 3 / 2);
}

}  // namespace
}  // namespace sluice::replica
