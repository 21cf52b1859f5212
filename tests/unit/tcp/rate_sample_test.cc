// draft-ietf-ccwg-bbr section 4.1.
#include "tcp/rate_sample.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

constexpr uint32_t start = 0xffff'0000;  // the clock wraps
constexpr uint32_t kb = 1000;

TEST(DeliveryRate, IsWhatWasDeliveredOverTheRoundTrip) {
  DeliveryRate rate;
  const SentStamp stamp = rate.on_sent(start, 0, 10 * kb);
  rate.on_delivered(start + 100'000, 10 * kb);
  RateSample sample;
  rate.sample(start + 100'000, &stamp, 100'000, sample);
  EXPECT_EQ(sample.delivered_bytes, 10 * kb);
  EXPECT_EQ(sample.prior_delivered, 0u);
  EXPECT_EQ(sample.interval, 100_ms);
  EXPECT_EQ(sample.tx_in_flight_bytes, 10 * kb);
  EXPECT_EQ(rate.bytes_per_second(), 100 * kb);
}

// Section 4.1.1.2: ACKs in a heap do not raise the rate above that of sending.
TEST(DeliveryRate, TheSlowerOfSendingAndAcknowledgingCounts) {
  DeliveryRate rate;
  SentStamp last;
  for (uint32_t i = 0; i < 10; ++i) last = rate.on_sent(start + i * 10'000, i * kb, kb);
  // All of it at once, 20 ms after the last was sent.
  rate.on_delivered(start + 110'000, 10 * kb);
  RateSample sample;
  rate.sample(start + 110'000, &last, 1'000, sample);
  EXPECT_EQ(sample.interval, 110_ms);
  EXPECT_EQ(sample.delivered_bytes, 10 * kb);
}

TEST(DeliveryRate, SilenceDoesNotCount) {
  DeliveryRate rate;
  const SentStamp first = rate.on_sent(start, 0, kb);
  rate.on_delivered(start + 50'000, kb);
  RateSample sample;
  rate.sample(start + 50'000, &first, 0, sample);
  // A second later.
  const SentStamp second = rate.on_sent(start + 1'050'000, 0, kb);
  rate.on_delivered(start + 1'100'000, kb);
  rate.sample(start + 1'100'000, &second, 0, sample);
  EXPECT_EQ(sample.interval, 50_ms);
  EXPECT_EQ(sample.prior_delivered, kb);
}

TEST(DeliveryRate, AnIntervalShorterThanARoundTripIsNoSample) {
  DeliveryRate rate;
  const SentStamp stamp = rate.on_sent(start, 0, kb);
  rate.on_delivered(start + 900, kb);
  RateSample sample;
  rate.sample(start + 900, &stamp, 1'000, sample);
  EXPECT_EQ(sample.interval, Duration());
  EXPECT_EQ(rate.bytes_per_second(), 0u);
}

TEST(DeliveryRate, WhatLeavesBehindAClosedWindowSaysSoToo) {
  DeliveryRate rate;
  (void)rate.on_sent(start, 0, 2 * kb);
  rate.on_window_limited(2 * kb);
  const SentStamp limited = rate.on_sent(start + 1, 2 * kb, kb);
  EXPECT_TRUE(limited.window_limited);
  EXPECT_FALSE(limited.app_limited);
  RateSample sample;
  rate.on_delivered(start + 10'000, 3 * kb);
  rate.sample(start + 10'000, &limited, 0, sample);
  EXPECT_TRUE(sample.window_limited);
  EXPECT_FALSE(sample.app_limited);
  EXPECT_FALSE(rate.on_sent(start + 10'000, kb, kb).window_limited);
}

TEST(DeliveryRate, WhatLeavesForWantOfDataSaysSoUntilItIsDelivered) {
  DeliveryRate rate;
  const SentStamp full = rate.on_sent(start, 0, 2 * kb);
  rate.on_app_limited(2 * kb);
  const SentStamp limited = rate.on_sent(start + 1, 2 * kb, kb);
  EXPECT_FALSE(full.app_limited);
  EXPECT_TRUE(limited.app_limited);
  RateSample sample;
  rate.on_delivered(start + 10'000, 3 * kb);
  rate.sample(start + 10'000, &limited, 0, sample);
  EXPECT_TRUE(sample.app_limited);
  EXPECT_FALSE(rate.app_limited());
}

TEST(DeliveryRate, CountsWhatWasLostSinceTheRunLeft) {
  DeliveryRate rate;
  rate.on_lost(5 * kb);
  const SentStamp stamp = rate.on_sent(start, 0, kb);
  rate.on_lost(2 * kb);
  rate.on_delivered(start + 1'000, kb);
  RateSample sample;
  rate.sample(start + 1'000, &stamp, 0, sample);
  EXPECT_EQ(sample.lost_bytes, 2 * kb);
  EXPECT_EQ(sample.lost_total, 7 * kb);
}

TEST(DeliveryRate, ALowerAppLimitedSampleIsNotShown) {
  DeliveryRate rate;
  const SentStamp first = rate.on_sent(start, 0, 100 * kb);
  RateSample sample;
  rate.on_delivered(start + 10'000, 100 * kb);
  rate.sample(start + 10'000, &first, 0, sample);
  rate.on_app_limited(0);
  const SentStamp second = rate.on_sent(start + 10'000, 0, kb);
  rate.on_delivered(start + 20'000, kb);
  rate.sample(start + 20'000, &second, 0, sample);
  EXPECT_EQ(rate.bytes_per_second(), 10'000u * kb);
}

}  // namespace
}  // namespace sluice::tcp
