#include "tcp/syn_cookie.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "flows.h"

namespace sluice::tcp {
namespace {

using namespace literals;

constexpr SipKey key{1, 2};
constexpr Instant now = Instant::from_ns(777'000'000'000);
constexpr SeqNumber irs(0xffff'fff0);
constexpr Handshake everything{
    .mss = 1460, .window_scale = 9, .sack_permitted = true, .ecn = true, .timestamps = true};

struct Judged {
  bool good = false;
  Handshake agreed;
};

Judged judge(SynCookies& cookies, Instant when, const Flow& flow, const SynCookies::Made& made) {
  Judged out;
  out.good = cookies.check(when, flow_hash(key, flow),
                           {.irs = irs,
                            .iss = made.iss,
                            .timestamps = made.agreed.timestamps,
                            .echo = SynCookies::timestamp(12'345'678, made.timestamp_low)},
                           out.agreed);
  return out;
}

TEST(SynCookies, KeepWhatTheTimestampCarries) {
  SynCookies cookies(key);
  for (uint8_t scale = 0; scale <= Handshake::no_window_scale; ++scale) {
    for (int bits = 0; bits < 4; ++bits) {
      Handshake asked = everything;
      asked.window_scale = scale;
      asked.sack_permitted = (bits & 1) != 0;
      asked.ecn = (bits & 2) != 0;
      const SynCookies::Made made = cookies.make(now, flow_hash(key, flow_from(4000)), irs, asked);
      EXPECT_EQ(made.agreed, asked);
      const Judged judged = judge(cookies, now, flow_from(4000), made);
      EXPECT_TRUE(judged.good);
      EXPECT_EQ(judged.agreed, asked);
    }
  }
}

TEST(SynCookies, KeepTheSegmentSizeAloneWithoutTimestamps) {
  SynCookies cookies(key);
  Handshake asked = everything;
  asked.timestamps = false;
  const SynCookies::Made made = cookies.make(now, flow_hash(key, flow_from(4000)), irs, asked);
  EXPECT_EQ(made.agreed, Handshake{.mss = 1460});
  const Judged judged = judge(cookies, now, flow_from(4000), made);
  EXPECT_TRUE(judged.good);
  EXPECT_EQ(judged.agreed, Handshake{.mss = 1460});
}

TEST(SynCookies, NeverPromiseLargerSegmentsThanThePeerTakes) {
  SynCookies cookies(key);
  for (uint16_t mss = 88; mss < 9000; ++mss) {
    Handshake asked = everything;
    asked.mss = mss;
    const Judged judged = judge(cookies, now, flow_from(4000),
                                cookies.make(now, flow_hash(key, flow_from(4000)), irs, asked));
    ASSERT_TRUE(judged.good);
    ASSERT_LE(judged.agreed.mss, mss);
    if (mss >= 1360 && mss <= 1460) {
      ASSERT_GE(judged.agreed.mss + 40, mss);
    }
  }
}

TEST(SynCookies, AreGoodInTheirEpochAndTheNext) {
  SynCookies cookies(key);
  const SynCookies::Made made = cookies.make(now, flow_hash(key, flow_from(4000)), irs, everything);
  EXPECT_TRUE(judge(cookies, now + 64_s, flow_from(4000), made).good);
  EXPECT_TRUE(cookies.outstanding(now + 64_s));
  for (int minutes = 2; minutes < 60; ++minutes) {
    EXPECT_FALSE(judge(cookies, now + minutes * 64_s, flow_from(4000), made).good) << minutes;
  }
  EXPECT_FALSE(cookies.outstanding(now + 128_s));
}

TEST(SynCookies, BelongToOneFlowOneNumberAndOneKey) {
  SynCookies cookies(key);
  const SynCookies::Made made = cookies.make(now, flow_hash(key, flow_from(4000)), irs, everything);
  EXPECT_FALSE(judge(cookies, now, flow_from(4001), made).good);
  Flow other = flow_from(4000);
  other.local = 1;
  EXPECT_FALSE(judge(cookies, now, other, made).good);
  other = flow_from(4000);
  other.local_port = 81;
  EXPECT_FALSE(judge(cookies, now, other, made).good);
  other = flow_from(4000);
  other.remote = inet::Address::v4(0xc000'0202);
  EXPECT_FALSE(judge(cookies, now, other, made).good);
  SynCookies stranger({1, 3});
  EXPECT_FALSE(judge(stranger, now, flow_from(4000), made).good);
  SynCookies::Made changed = made;
  changed.timestamp_low ^= 0x10;  // SACK
  EXPECT_FALSE(judge(cookies, now, flow_from(4000), changed).good);
  for (int bit = 5; bit < 32; ++bit) {
    changed = made;
    changed.iss = SeqNumber(made.iss.value() ^ (1u << bit));
    EXPECT_FALSE(judge(cookies, now, flow_from(4000), changed).good) << bit;
  }
}

TEST(SynCookies, AreNotGuessed) {
  SynCookies cookies(key);
  Prng prng(5);
  int good = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const SynCookies::Made guess{.iss = SeqNumber(static_cast<uint32_t>(prng.next())),
                                 .agreed = everything,
                                 .timestamp_low = static_cast<uint32_t>(prng.below(64))};
    good += judge(cookies, now, flow_from(4000), guess).good ? 1 : 0;
  }
  EXPECT_LE(good, 1);  // expected: one in 268 million
}

TEST(SynCookies, TimestampsCarryTheBitsAndNeverRunBackwards) {
  for (uint32_t low = 0; low < 64; ++low) {
    uint32_t before = SynCookies::timestamp(0xffff'ff00, low);
    for (uint32_t i = 0; i < 1000; ++i) {
      const uint32_t clock = 0xffff'ff00 + i;
      const uint32_t value = SynCookies::timestamp(clock, low);
      ASSERT_EQ(value & 63, low);
      ASSERT_GE(static_cast<int32_t>(clock - value), 0);
      ASSERT_LT(static_cast<int32_t>(clock - value), 64);
      ASSERT_GE(static_cast<int32_t>(value - before), 0);
      before = value;
    }
  }
}

TEST(SynCookies, BeginAndEndByThemselves) {
  SynCookies cookies(key);
  EXPECT_FALSE(cookies.wanted(now, 86, 100));
  EXPECT_TRUE(cookies.wanted(now, 87, 100));
  // Still half full: they stay.
  EXPECT_TRUE(cookies.wanted(now + 10_s, 51, 100));
  // Half empty, but the flood goes on: it would be full again at once.
  for (int i = 0; i < 60; ++i) {
    (void)cookies.make(now + 10_s, flow_hash(key, flow_from(4000)), irs, everything);
    EXPECT_TRUE(cookies.wanted(now + 10_s, i < 50 ? 51 : 0, 100)) << i;
  }
  EXPECT_TRUE(cookies.wanted(now + 11_s, 0, 100));
  EXPECT_FALSE(cookies.wanted(now + 12_s, 0, 100));
  EXPECT_FALSE(cookies.wanted(now + 12_s, 60, 100));
}

TEST(SynCookies, EndWhenTheManySynsAreOfHonestPeers) {
  SynCookies cookies(key);
  EXPECT_TRUE(cookies.wanted(now, 100, 100));
  for (int i = 0; i < 3000; ++i) {
    (void)cookies.wanted(now + i * 1_ms, 0, 100);
    (void)cookies.make(now + i * 1_ms, flow_hash(key, flow_from(4000)), irs, everything);
    cookies.note_accepted();
  }
  EXPECT_FALSE(cookies.active());
}

}  // namespace
}  // namespace sluice::tcp
