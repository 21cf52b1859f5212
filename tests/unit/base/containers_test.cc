#include <gtest/gtest.h>

#include <thread>

#include "base/bounded_queue.h"
#include "base/fixed_vector.h"
#include "base/index_pool.h"
#include "base/spsc_ring.h"

namespace sluice {
namespace {

TEST(FixedVector, RefusesMoreThanItsCapacity) {
  FixedVector<int, 2> vector;
  EXPECT_TRUE(vector.push_back(1));
  EXPECT_TRUE(vector.push_back(2));
  EXPECT_FALSE(vector.push_back(3));
  EXPECT_FALSE(vector.insert(0, 3));
  EXPECT_EQ(vector.size(), 2u);
  EXPECT_EQ(vector.back(), 2);
}

TEST(FixedVector, InsertAndEraseKeepTheOrder) {
  FixedVector<int, 4> vector;
  ASSERT_TRUE(vector.push_back(1));
  ASSERT_TRUE(vector.push_back(3));
  ASSERT_TRUE(vector.insert(1, 2));
  ASSERT_TRUE(vector.insert(3, 4));
  vector.erase(0);
  EXPECT_EQ(vector[0], 2);
  EXPECT_EQ(vector[1], 3);
  EXPECT_EQ(vector[2], 4);
}

TEST(FixedVectorDeathTest, AnIndexBehindTheEndIsOurBug) {
  FixedVector<int, 4> vector;
  EXPECT_DEATH(static_cast<void>(vector[0]), "ASSERT");
}

TEST(BoundedQueue, IsFirstInFirstOutAcrossTheWrap) {
  BoundedQueue<int> queue(3);
  EXPECT_EQ(queue.capacity(), 4u);
  int next_in = 0, next_out = 0, out = 0;
  for (int round = 0; round < 100; ++round) {
    while (queue.push(next_in)) ++next_in;
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(queue.pop(out));
      ASSERT_EQ(out, next_out++);
    }
  }
  EXPECT_EQ(queue.size(), 1u);
}

TEST(BoundedQueue, EmptyGivesNothing) {
  BoundedQueue<int> queue(1);
  int out = 0;
  EXPECT_FALSE(queue.pop(out));
}

TEST(IndexPool, HandsOutEachIndexOnce) {
  IndexPool pool(3);
  const uint32_t a = pool.take(), b = pool.take(), c = pool.take();
  EXPECT_EQ(pool.take(), IndexPool::none);
  EXPECT_NE(a, b);
  EXPECT_NE(b, c);
  EXPECT_EQ(pool.in_use(), 3u);
  pool.give_back(b);
  EXPECT_FALSE(pool.is_taken(b));
  EXPECT_EQ(pool.take(), b);
}

TEST(IndexPool, AnEmptyPoolHasNothing) {
  EXPECT_EQ(IndexPool(0).take(), IndexPool::none);
}

TEST(IndexPoolDeathTest, GivingBackTwiceIsOurBug) {
  IndexPool pool(2);
  const uint32_t index = pool.take();
  pool.give_back(index);
  EXPECT_DEATH(pool.give_back(index), "ASSERT");
}

TEST(SpscRing, RefusesWhenFullAndSaysHowMuchRoomThereIs) {
  SpscRing<int> ring(2);
  EXPECT_EQ(ring.free_slots(), 2u);
  EXPECT_TRUE(ring.push(1));
  EXPECT_TRUE(ring.push(2));
  EXPECT_FALSE(ring.push(3));
  int out = 0;
  EXPECT_TRUE(ring.pop(out));
  EXPECT_EQ(out, 1);
  EXPECT_EQ(ring.free_slots(), 1u);
}

TEST(SpscRing, CarriesEverythingInOrderBetweenTwoThreads) {
  SpscRing<uint32_t> ring(64);
  constexpr uint32_t count = 200'000;
  std::thread producer([&] {
    for (uint32_t i = 0; i < count;) {
      if (ring.push(i)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  uint32_t expected = 0;
  while (expected < count) {
    uint32_t value = 0;
    if (!ring.pop(value)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(value, expected++);
  }
  producer.join();
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace sluice
