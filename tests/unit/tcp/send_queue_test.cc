#include "tcp/send_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::tcp {
namespace {

constexpr Span slot(uint32_t source, uint64_t length) {
  return {.offset_bytes = 0, .length_bytes = length, .source = source};
}

TEST(SendQueue, SpansComeOutInOrderWhenTheyAreAcknowledged) {
  SpanPool pool({.queues = 1, .shared = 2});
  SendQueue queue;
  queue.reset(StreamOffset(1));
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(queue.push(pool, slot(i, 10)));
  EXPECT_EQ(queue.end() - queue.begin(), 40u);
  Span out;
  EXPECT_FALSE(queue.pop_acknowledged(pool, StreamOffset(10), out));
  for (uint32_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(queue.pop_acknowledged(pool, StreamOffset(41), out));
    EXPECT_EQ(out.source, i);
  }
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.pop(pool, out));
}

TEST(SendQueue, EveryQueueHasRoomForAResponseHoweverManyPipeline) {
  SpanPool pool({.queues = 3, .shared = 3});
  std::vector<SendQueue> queues(3);
  for (SendQueue& queue : queues) queue.reset(StreamOffset(1));
  EXPECT_EQ(SendQueue::spans_free(pool, 0), 5u);
  uint32_t taken = 0;
  while (queues[0].push(pool, slot(taken, 1))) ++taken;
  EXPECT_EQ(taken, 5u);
  for (uint32_t i = 1; i < 3; ++i) {
    EXPECT_EQ(SendQueue::spans_free(pool, 0), 2u);
    EXPECT_TRUE(queues[i].push(pool, slot(0, 1)));
    EXPECT_TRUE(queues[i].push(pool, slot(1, 1)));
    EXPECT_FALSE(queues[i].push(pool, slot(2, 1)));
  }
  // What one lets go of, another can have.
  Span out;
  ASSERT_TRUE(queues[0].pop(pool, out));
  EXPECT_TRUE(queues[1].push(pool, slot(2, 1)));
  EXPECT_FALSE(queues[2].push(pool, slot(2, 1)));
  for (SendQueue& queue : queues) {
    while (queue.pop(pool, out)) {
    }
  }
  EXPECT_EQ(pool.shared_free(), 3u);
}

TEST(SendQueue, OneQueueTakesNoMoreThanItsLimit) {
  SpanPool pool({.queues = 1, .shared = 100});
  SendQueue queue;
  queue.reset(StreamOffset(1));
  EXPECT_EQ(SendQueue::spans_free(pool, 0), SendQueue::spans_max);
  for (uint32_t i = 0; i < SendQueue::spans_max; ++i) ASSERT_TRUE(queue.push(pool, slot(i, 1)));
  EXPECT_FALSE(queue.push(pool, slot(0, 1)));
  EXPECT_EQ(SendQueue::spans_free(pool, queue.span_count()), 0u);
}

}  // namespace
}  // namespace sluice::tcp
