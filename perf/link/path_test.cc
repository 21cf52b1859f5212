#include "path.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace sluice::perf {
namespace {

constexpr size_t frames_max = 4096;

/// An IPv4 frame whose bytes 20 to 23 carry a number.
std::vector<std::byte> numbered(uint32_t number, size_t length = 1514) {
  std::vector<std::byte> frame(length);
  frame[12] = std::byte{0x08};
  frame[14] = std::byte{0x45};
  for (size_t i = 0; i < 4; ++i) frame[40 + i] = static_cast<std::byte>(number >> (8 * i));
  return frame;
}

uint32_t number_of(std::span<const std::byte> frame) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) number |= std::to_integer<uint32_t>(frame[40 + i]) << (8 * i);
  return number;
}

struct Arrival {
  Instant at;
  uint32_t number;
};

/// Offers `count` frames, one each `gap`, and takes whatever comes as soon as it is due.
std::vector<Arrival> run(Path& path, uint32_t count, Duration gap) {
  std::vector<Arrival> arrivals;
  Instant now;
  const auto take_until = [&](Instant end) {
    while (path.next_due() <= end && !path.next_due().is_never()) {
      const Instant due = path.next_due();
      while (const auto frame = path.take(due)) arrivals.push_back({due, number_of(*frame)});
    }
  };
  for (uint32_t i = 0; i < count; ++i) {
    now = Instant{} + gap * i;
    take_until(now);
    path.offer(now, numbered(i));
  }
  take_until(now + 3600_s);
  return arrivals;
}

TEST(Path, DelaysAndKeepsOrder) {
  Path path({.delay = 5_ms}, frames_max);
  const std::vector<Arrival> arrivals = run(path, 100, 10_us);
  ASSERT_EQ(arrivals.size(), 100U);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(arrivals[i].number, i);
    EXPECT_EQ(arrivals[i].at, Instant{} + 10_us * i + 5_ms);
  }
}

TEST(Path, SpacesFramesByTheRate) {
  Path path({.rate_bits_per_s = 200'000'000, .queue_bytes = 1 << 30}, frames_max);
  const std::vector<Arrival> arrivals = run(path, 1000, 0_us);
  ASSERT_EQ(arrivals.size(), 1000U);
  // 1,514 bytes at 200 Mbit/s take 60.56 us.
  EXPECT_EQ(arrivals.back().at.ns(), 60'560'000);
}

TEST(Path, DropsAtTheTailOfAFullQueue) {
  Path path({.rate_bits_per_s = 8'000'000, .queue_bytes = 10 * 1514}, frames_max);
  const std::vector<Arrival> arrivals = run(path, 25, 0_us);
  EXPECT_EQ(arrivals.size(), 10U);
  EXPECT_EQ(arrivals.back().number, 9U);
  EXPECT_EQ(path.counters().dropped_queue, 15U);
  EXPECT_EQ(path.counters().queue_bytes_peak, 15'140U);
}

TEST(Path, LosesTheShareAskedFor) {
  Path path({.loss = 0.03, .seed = 7}, frames_max);
  const std::vector<Arrival> arrivals = run(path, 100'000, 1_us);
  EXPECT_EQ(arrivals.size() + path.counters().dropped_loss, 100'000U);
  EXPECT_NEAR(static_cast<double>(path.counters().dropped_loss), 3000, 200);
}

TEST(Path, LosesInRunsOfTheMeanLengthAskedFor) {
  Path path({.loss = 0.02, .burst_frames = 5, .seed = 3}, frames_max);
  const std::vector<Arrival> arrivals = run(path, 200'000, 1_us);
  size_t runs = 0;
  uint32_t expected = 0;
  for (const Arrival& arrival : arrivals) {
    if (arrival.number != expected) ++runs;
    expected = arrival.number + 1;
  }
  const auto lost = static_cast<double>(path.counters().dropped_loss);
  EXPECT_NEAR(lost, 4000, 600);
  EXPECT_NEAR(lost / static_cast<double>(runs), 5, 0.6);
}

TEST(Path, ReordersByTheTimeAskedFor) {
  Path path({.delay = 1_ms, .reorder = 0.05, .reorder_by = 100_us, .seed = 5}, frames_max);
  size_t late = 0;
  for (const Arrival& arrival : run(path, 10'000, 10_us)) {
    const Duration took = arrival.at - (Instant{} + 10_us * arrival.number);
    EXPECT_TRUE(took == 1_ms || took == 1100_us);
    late += took != 1_ms;
  }
  EXPECT_EQ(late, path.counters().reordered);
  EXPECT_NEAR(static_cast<double>(late), 500, 80);
}

TEST(Path, ReordersForwardNoEarlierThanItWasSent) {
  Path path({.delay = 1_ms, .reorder = 1, .reorder_by = -5_ms}, frames_max);
  for (const Arrival& arrival : run(path, 10, 10_us)) {
    EXPECT_EQ(arrival.at, Instant{} + 10_us * arrival.number);
  }
}

TEST(Path, OneSeedOneOutcome) {
  const auto survivors = [](uint64_t seed) {
    Path path({.loss = 0.3, .seed = seed}, frames_max);
    std::set<uint32_t> numbers;
    for (const Arrival& arrival : run(path, 500, 1_us)) numbers.insert(arrival.number);
    return numbers;
  };
  EXPECT_EQ(survivors(1), survivors(1));
  EXPECT_NE(survivors(1), survivors(2));
}

TEST(Path, LosesNoArp) {
  Path path({.loss = 1}, frames_max);
  std::vector<std::byte> arp(60);
  arp[12] = std::byte{0x08};
  arp[13] = std::byte{0x06};
  path.offer(Instant{}, arp);
  EXPECT_TRUE(path.take(Instant{}));
}

TEST(Path, CountsWhatItHadNoRoomFor) {
  Path path({.delay = 1_s}, 4);
  for (uint32_t i = 0; i < 6; ++i) path.offer(Instant{}, numbered(i));
  EXPECT_EQ(path.counters().dropped_pool, 2U);
}

uint16_t ip_checksum(std::span<const std::byte> header) {
  uint32_t sum = 0;
  for (size_t i = 0; i < 20; i += 2) {
    sum += std::to_integer<uint32_t>(header[i]) << 8 | std::to_integer<uint32_t>(header[i + 1]);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

TEST(Path, MarksCapableFramesBehindALongQueue) {
  Path path({.rate_bits_per_s = 8'000'000, .ecn_bytes = 3 * 1514}, frames_max);
  for (uint32_t i = 0; i < 6; ++i) {
    std::vector<std::byte> frame = numbered(i);
    frame[15] = i == 5 ? std::byte{0} : std::byte{0x02};  // the last one is not capable
    const uint16_t sum = ip_checksum(std::span(frame).subspan(14));
    frame[24] = static_cast<std::byte>(~sum >> 8 & 0xff);
    frame[25] = static_cast<std::byte>(~sum & 0xff);
    path.offer(Instant{}, frame);
  }
  for (uint32_t i = 0; i < 6; ++i) {
    const auto frame = path.take(Instant{} + 60_s);
    ASSERT_TRUE(frame);
    const unsigned ecn = std::to_integer<unsigned>((*frame)[15]) & 3U;
    EXPECT_EQ(ecn, i < 3 ? 2U : i < 5 ? 3U : 0U) << i;
    EXPECT_EQ(ip_checksum(frame->subspan(14)), 0xffff) << i;
  }
  EXPECT_EQ(path.counters().marked, 2U);
}

TEST(Path, MarksIPv6) {
  std::array<std::byte, 60> frame{};
  frame[12] = std::byte{0x86};
  frame[13] = std::byte{0xdd};
  frame[14] = std::byte{0x60};
  EXPECT_FALSE(mark_congestion(frame));
  frame[15] = std::byte{0x20};  // ECT(0)
  EXPECT_TRUE(mark_congestion(frame));
  EXPECT_EQ(frame[15], std::byte{0x30});
}

}  // namespace
}  // namespace sluice::perf
