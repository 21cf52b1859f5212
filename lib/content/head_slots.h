// HeadSlots: one worker's small buffers for bytes that it writes itself: response heads, error
// bodies, ICMP echo data. A slot is addressed and pinned like a chunk, so sending it is nothing
// special.
//
// take() gives a slot with one pin. Whoever holds that pin passes it on (to a send queue) or unpins
// it; frames in the NIC add theirs. When the last pin goes, ChunkPins::poll_released() tells the
// index, and its reader (the Engine) calls give_back().
#pragma once

#include "base/index_pool.h"
#include "content/arena_view.h"
#include "content/chunk_pins.h"

namespace sluice::content {

class HeadSlots {
 public:
  HeadSlots(const ArenaView& arena, ChunkPins& pins)
      : arena_(arena), pins_(pins), free_(arena.head_slot_count) {}

  /// Returns none() when all slots are out; a slot with one pin otherwise.
  [[nodiscard]] ChunkIndex take() {
    const uint32_t slot = free_.take();
    if (slot == IndexPool::none) return ChunkIndex::none();
    const ChunkIndex chunk(arena_.chunk_count + slot);
    pins_.pin(chunk);
    return chunk;
  }
  /// A slot that never comes back, for bytes that are written once and sent many times: whoever
  /// sends it pins it. It counts neither as in use nor as pinned. Returns none() when that would be
  /// the last one.
  [[nodiscard]] ChunkIndex set_aside() {
    if (free_.available() < 2) return ChunkIndex::none();
    const ChunkIndex chunk(arena_.chunk_count + free_.take());
    pins_.pin_for_good(chunk);
    ++set_aside_;
    return chunk;
  }
  /// One more pin on a slot that was set aside, for a send queue to take over; and its end, if none
  /// did.
  void pin(ChunkIndex slot) { pins_.pin(slot); }
  void unpin(ChunkIndex slot) { pins_.unpin(slot); }
  /// The whole slot: head_slot_bytes bytes.
  [[nodiscard]] MutableBytes bytes(ChunkIndex slot) const {
    return arena_.bytes({slot, 0, head_slot_bytes});
  }
  /// Requires: poll_released() told `slot`.
  void give_back(ChunkIndex slot) { free_.give_back(slot.value() - arena_.chunk_count); }

  [[nodiscard]] uint32_t available() const { return free_.available(); }
  [[nodiscard]] uint32_t in_use() const { return free_.in_use() - set_aside_; }
  /// Bytes reserved at construction, for the budget; the slots themselves are the arena's.
  [[nodiscard]] static uint64_t memory_bytes(uint32_t slots) { return uint64_t{slots} * 4; }

 private:
  ArenaView arena_;
  ChunkPins& pins_;
  IndexPool free_;
  uint32_t set_aside_ = 0;
};

}  // namespace sluice::content
