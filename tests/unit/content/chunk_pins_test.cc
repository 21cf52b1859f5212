#include "content/chunk_pins.h"

#include <gtest/gtest.h>

#include <vector>

#include "content/head_slots.h"

namespace sluice::content {
namespace {

TEST(ChunkPins, AContentChunkIsToldOnlyWhenWatched) {
  ChunkPins pins(2, 0);
  ChunkIndex released;
  pins.pin(ChunkIndex(1));
  pins.unpin(ChunkIndex(1));
  EXPECT_FALSE(pins.poll_released(released));
  pins.pin(ChunkIndex(1));
  pins.pin(ChunkIndex(1));
  pins.watch(ChunkIndex(1));
  pins.unpin(ChunkIndex(1));
  EXPECT_FALSE(pins.poll_released(released));
  pins.unpin(ChunkIndex(1));
  ASSERT_TRUE(pins.poll_released(released));
  EXPECT_EQ(released, ChunkIndex(1));
  EXPECT_EQ(pins.total(), 0u);
}

TEST(ChunkPins, WatchingWhatHasNoPinsTellsAtOnce) {
  ChunkPins pins(1, 0);
  pins.watch(ChunkIndex(0));
  ChunkIndex released;
  EXPECT_TRUE(pins.poll_released(released));
  EXPECT_FALSE(pins.poll_released(released));
}

TEST(ChunkPinsDeathTest, UnpinningWhatIsNotPinnedIsOurBug) {
  ChunkPins pins(1, 0);
  EXPECT_DEATH(pins.unpin(ChunkIndex(0)), "ASSERT");
}

TEST(HeadSlots, ASlotComesBackWhenItsLastPinGoes) {
  std::vector<std::byte> memory(2 * head_slot_bytes);
  const ArenaView arena{.chunk_count = 3, .head_slots = memory.data(), .head_slot_count = 2};
  ChunkPins pins(3, 2);
  HeadSlots slots(arena, pins);
  const ChunkIndex a = slots.take(), b = slots.take();
  EXPECT_TRUE(slots.take().is_none());
  EXPECT_TRUE(pins.is_head_slot(a));
  EXPECT_NE(slots.bytes(a).data(), slots.bytes(b).data());
  pins.pin(a);  // a frame in the NIC
  pins.unpin(a);
  ChunkIndex released;
  EXPECT_FALSE(pins.poll_released(released));
  pins.unpin(a);
  ASSERT_TRUE(pins.poll_released(released));
  slots.give_back(released);
  EXPECT_EQ(slots.take(), a);
}

}  // namespace
}  // namespace sluice::content
