#include "timer/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <vector>

#include "base/prng.h"

namespace sluice::timer {
namespace {

using namespace literals;

Instant at(Duration since_start) {
  return Instant::from_ns(1'000'000'007) + since_start;
}

std::vector<uint32_t> expired(TimerWheel& wheel, Instant now) {
  std::vector<uint32_t> items;
  for (uint32_t item = wheel.poll_expired(now); item != TimerWheel::none;
       item = wheel.poll_expired(now)) {
    items.push_back(item);
  }
  return items;
}

TEST(TimerWheel, FiresNeverEarlyAndAtMostOneTickLate) {
  for (const Duration delay : {1_ns, 1_us, 1_ms, 200_ms, 1_s, 60_s, 7200_s, 86400_s}) {
    TimerWheel wheel(1);
    EXPECT_EQ(wheel.poll_expired(at(0_ns)), TimerWheel::none);
    wheel.schedule(0, at(delay));
    EXPECT_EQ(wheel.poll_expired(at(delay) - 1_ns), TimerWheel::none);
    EXPECT_EQ(wheel.poll_expired(at(delay) + TimerWheel::tick), 0u);
    EXPECT_FALSE(wheel.is_scheduled(0));
  }
}

TEST(TimerWheel, PastDeadlineFiresAtTheNextPoll) {
  TimerWheel wheel(2);
  EXPECT_TRUE(expired(wheel, at(5_s)).empty());
  wheel.schedule(1, at(1_s));
  EXPECT_LE(wheel.next_timeout(), at(5_s));
  EXPECT_EQ(expired(wheel, at(5_s)), std::vector<uint32_t>{1});
}

TEST(TimerWheel, CancelledItemDoesNotFire) {
  TimerWheel wheel(3);
  for (uint32_t i = 0; i < 3; ++i) wheel.schedule(i, at(1_s));
  wheel.cancel(1);
  wheel.cancel(1);
  EXPECT_EQ(wheel.scheduled_count(), 2u);
  EXPECT_EQ(expired(wheel, at(2_s)), (std::vector<uint32_t>{0, 2}));
}

TEST(TimerWheel, RescheduleReplacesTheDeadline) {
  TimerWheel wheel(1);
  wheel.schedule(0, at(1_s));
  wheel.schedule(0, at(10_s));
  EXPECT_EQ(wheel.scheduled_count(), 1u);
  EXPECT_TRUE(expired(wheel, at(9_s)).empty());
  wheel.schedule(0, at(9_s) + 1_ms);
  EXPECT_EQ(expired(wheel, at(9_s) + 2_ms).size(), 1u);
}

TEST(TimerWheel, NeverCancels) {
  TimerWheel wheel(1);
  wheel.schedule(0, at(1_s));
  wheel.schedule(0, Instant::never());
  EXPECT_FALSE(wheel.is_scheduled(0));
  EXPECT_TRUE(wheel.next_timeout().is_never());
}

TEST(TimerWheel, HoldsTheFarthestInstant) {
  TimerWheel wheel(1);
  const Instant last = Instant::from_ns(Instant::never().ns() - 1);
  wheel.schedule(0, last);
  EXPECT_EQ(wheel.poll_expired(at(0_ns)), TimerWheel::none);
  EXPECT_LE(wheel.next_timeout(), last);
}

TEST(TimerWheel, ItemScheduledWhilePollingFiresInTheSameRound) {
  TimerWheel wheel(2);
  wheel.schedule(0, at(1_s));
  EXPECT_EQ(wheel.poll_expired(at(2_s)), 0u);
  wheel.schedule(1, at(1_s));
  EXPECT_EQ(wheel.poll_expired(at(2_s)), 1u);
}

TEST(TimerWheel, NextTimeoutLeadsToEveryDeadlineInFewWakeUps) {
  TimerWheel wheel(1);
  EXPECT_TRUE(expired(wheel, at(0_ns)).empty());
  wheel.schedule(0, at(7200_s));
  int wake_ups = 0;
  Instant now = at(0_ns);
  while (wheel.is_scheduled(0)) {
    ASSERT_LT(++wake_ups, 10);
    ASSERT_GE(wheel.next_timeout(), now);
    now = wheel.next_timeout();
    static_cast<void>(wheel.poll_expired(now));
  }
  EXPECT_GE(now, at(7200_s));
  EXPECT_LE(now, at(7200_s) + TimerWheel::tick);
}

// The wheel against a plain map from item to deadline.
TEST(TimerWheel, AgreesWithASortedListOverRandomOperations) {
  constexpr uint32_t items = 64;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Prng prng(seed);
    TimerWheel wheel(items);
    std::map<uint32_t, Instant> model;
    Instant now = at(0_ns);
    for (int step = 0; step < 2000; ++step) {
      const auto item = static_cast<uint32_t>(prng.below(items));
      const auto scale = prng.below(48);
      const auto span = Duration::from_ns(static_cast<int64_t>(prng.below(uint64_t{1} << scale)));
      if (prng.chance(1, 8)) {
        wheel.cancel(item);
        model.erase(item);
      } else if (prng.chance(1, 2)) {
        wheel.schedule(item, now + span);
        model[item] = now + span;
      } else {
        now = now + span / 16;
        for (const uint32_t fired : expired(wheel, now)) {
          ASSERT_TRUE(model.contains(fired)) << "seed " << seed;
          ASSERT_LE(model[fired], now) << "fired early, seed " << seed;
          model.erase(fired);
        }
        for (const auto& [left, deadline] : model) {
          ASSERT_GT(deadline + TimerWheel::tick, now) << "item " << left << " seed " << seed;
        }
      }
      ASSERT_EQ(wheel.scheduled_count(), model.size());
      for (const auto& [left, deadline] : model) {
        ASSERT_LE(wheel.next_timeout(), deadline + TimerWheel::tick);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::timer
