#include "nic/doorbell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace sluice::nic {
namespace {

TEST(Doorbell, NobodyRingsTheTimePasses) {
  Doorbell bell;
  const auto begin = std::chrono::steady_clock::now();
  bell.announce();
  bell.wait(Duration::from_ms(5));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(5));
}

TEST(Doorbell, ARingBetweenAnnounceAndWaitIsNotLost) {
  Doorbell bell;
  bell.announce();
  bell.ring_if_asleep();
  const auto begin = std::chrono::steady_clock::now();
  bell.wait(Duration::from_s(20));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Doorbell, ARingAtOneWhoIsAwakeIsForgotten) {
  Doorbell bell;
  bell.ring_if_asleep();
  const auto begin = std::chrono::steady_clock::now();
  bell.announce();
  bell.wait(Duration::from_ms(5));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(5));
}

// One item at a time goes back and forth. A lost ring would cost the sleeper its 20 s.
TEST(Doorbell, NothingIsLeftBesideASleeper) {
  constexpr uint32_t items = 20'000;
  Doorbell bell;
  std::atomic<uint32_t> sent{0};
  std::atomic<uint32_t> seen{0};
  std::thread sleeper([&] {
    for (uint32_t taken = 0; taken < items;) {
      if (sent.load(std::memory_order_relaxed) > taken) {
        seen.store(++taken, std::memory_order_release);
        continue;
      }
      bell.announce();
      if (sent.load(std::memory_order_relaxed) > taken) {
        bell.stay_awake();
        continue;
      }
      bell.wait(Duration::from_s(20));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t i = 1; i <= items; ++i) {
    sent.store(i, std::memory_order_relaxed);
    bell.ring_if_asleep();
    while (seen.load(std::memory_order_acquire) != i) std::this_thread::yield();
  }
  sleeper.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

}  // namespace
}  // namespace sluice::nic
