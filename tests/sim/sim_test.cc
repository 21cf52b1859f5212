// The simulation itself: that its links do what they say, that a run replays exactly, and that its
// judges can fail.

#include <gtest/gtest.h>

#include "content_source.h"
#include "scenario.h"

namespace sluice::sim {
namespace {

Frame ipv4_frame(uint8_t ecn) {
  Frame frame(100, 0);
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[15] = ecn;
  put16(frame.data() + 24, finish(sum16(frame.data() + 14, 20, 0)));
  return frame;
}

uint64_t deliveries(Link& link, int64_t until_ns) {
  uint64_t count = 0;
  for (Frame frame; link.poll(until_ns, frame);) ++count;
  return count;
}

TEST(Link, DelaysAndKeepsTheOrder) {
  Link link({.delay_ns = 1'000'000}, 1);
  link.send(0, Frame(100, 1));
  link.send(0, Frame(100, 2));
  EXPECT_EQ(link.next_ns(), 1'000'000);
  Frame frame;
  EXPECT_FALSE(link.poll(999'999, frame));
  ASSERT_TRUE(link.poll(1'000'000, frame));
  EXPECT_EQ(frame[0], 1);
  ASSERT_TRUE(link.poll(1'000'000, frame));
  EXPECT_EQ(frame[0], 2);
}

TEST(Link, TheRateSpreadsFramesAndTheQueueDropsTheRest) {
  Link link({.delay_ns = 0, .bytes_per_second = 1'514'000, .queue_frames = 10}, 1);
  for (int i = 0; i < 100; ++i) link.send(0, Frame(1514, 0));
  EXPECT_EQ(link.counts().dropped_queue, 90u);
  EXPECT_EQ(deliveries(link, 5'000'000), 5u);  // one a millisecond
  EXPECT_TRUE(link.is_balanced());
}

TEST(Link, MarksEctPacketsBehindAQueueAndKeepsTheHeaderChecksum) {
  Link link({.bytes_per_second = 1'000'000, .queue_frames = 100, .mark_frames = 1}, 1);
  link.send(0, Frame(3000, 0));
  link.send(0, ipv4_frame(2));
  link.send(0, ipv4_frame(0));  // not ECN-capable
  Frame frame;
  ASSERT_TRUE(link.poll(INT64_MAX, frame));
  ASSERT_TRUE(link.poll(INT64_MAX, frame));
  EXPECT_EQ(frame[15] & 3, 3);
  EXPECT_EQ(finish(sum16(frame.data() + 14, 20, 0)), 0);
  ASSERT_TRUE(link.poll(INT64_MAX, frame));
  EXPECT_EQ(frame[15] & 3, 0);
  EXPECT_EQ(link.counts().marked, 1u);
}

TEST(Link, LosesAtRandomAndInBursts) {
  Link random({.loss_per_10000 = 500}, 1);
  Link bursty({.burst_begin_per_10000 = 100}, 1);
  uint64_t runs = 0;
  bool lost_before = false;
  for (int i = 0; i < 20'000; ++i) {
    random.send(i, Frame(100, 0));
    const uint64_t before = bursty.counts().dropped();
    bursty.send(i, Frame(100, 0));
    const bool lost = bursty.counts().dropped() != before;
    runs += lost && !lost_before;
    lost_before = lost;
  }
  EXPECT_NEAR(static_cast<double>(random.counts().dropped_loss), 1000, 150);
  EXPECT_GT(bursty.counts().dropped_burst, 300u);
  // Losses come together.
  EXPECT_LT(runs * 3, bursty.counts().dropped_burst * 2);
  EXPECT_TRUE(random.is_balanced());
  EXPECT_TRUE(bursty.is_balanced());
}

TEST(Link, DuplicatesReordersCorruptsAndIsCut) {
  Link link({.delay_ns = 1'000,
             .reorder_per_10000 = 1'000,
             .duplicate_per_10000 = 1'000,
             .corrupt_per_10000 = 1'000,
             .partitions = {{500, 700}}},
            1);
  for (int i = 0; i < 1'000; ++i) link.send(i, Frame(100, 0));
  const LinkCounts& counts = link.counts();
  EXPECT_EQ(counts.dropped_partition, 200u);
  EXPECT_GT(counts.reordered, 20u);
  EXPECT_GT(counts.duplicated, 20u);
  EXPECT_GT(counts.corrupted, 20u);
  EXPECT_EQ(deliveries(link, INT64_MAX - 1), 800 + counts.duplicated);
  EXPECT_TRUE(link.is_balanced());
}

TEST(Scenario, ASeedReplaysExactly) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const ScenarioResult first = run_scenario(seed);
    const ScenarioResult again = run_scenario(seed);
    EXPECT_EQ(first.failure, "");
    EXPECT_EQ(first.trace, again.trace) << "seed " << seed;
    EXPECT_EQ(first.virtual_ns, again.virtual_ns);
    EXPECT_NE(first.trace, run_scenario(seed + 1).trace);
  }
}

// The judges must be able to fail.
TEST(Visitor, FindsAWrongByte) {
  Cluster cluster({.seed = 1});
  cluster.put_file("f", 100'000, 7);
  const Files files = {{"f", {{{100'000, 8}}}}};
  Prng prng(3);
  std::string failure;
  try {
    Visitor visitor(cluster, prng, files, {});
    static_cast<void>(cluster.run_until([&] { return visitor.step(); }, 10'000'000'000));
  } catch (const Failure& found) {
    failure = found.what;
  }
  EXPECT_TRUE(failure.starts_with("wrong byte")) << failure;
}

TEST(Visitor, FindsThatNothingComes) {
  LinkOptions cut{.bytes_per_second = 1'000'000, .partitions = {{1'100'000'000, INT64_MAX}}};
  Cluster cluster({.seed = 1, .paths = {{.down = cut, .up = {}}}});
  cluster.put_file("f", 100'000'000, 7);
  const Files files = {{"f", {{{100'000'000, 7}}}}};
  Prng prng(5);
  std::string failure;
  try {
    Visitor visitor(cluster, prng, files, {});
    static_cast<void>(cluster.run_until([&] { return visitor.step(); }, 600'000'000'000));
  } catch (const Failure& found) {
    failure = found.what;
  }
  EXPECT_TRUE(failure.starts_with("no progress")) << failure << cluster.failure();
}

}  // namespace
}  // namespace sluice::sim
