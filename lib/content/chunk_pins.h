// ChunkPins: how one worker uses chunks. Written by that worker alone, read by the Store at any
// time.
//
// A pin is hard: a frame in a NIC ring, or (head slots only) a send queue, refers to the bytes, and
// they must stay until it lets go. A lease is soft: a connection is in the middle of sending the
// chunk, so evicting it would be a waste, but it may be revoked (docs/decisions/0002-leases.md).
// `last_use` is what eviction goes by.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "content/ids.h"

namespace sluice::content {

class ChunkPins {
 public:
  /// `content_chunks` shared chunks, followed by `head_slots` slots of this worker's own.
  ChunkPins(uint32_t content_chunks, uint32_t head_slots)
      : content_chunks_(content_chunks),
        uses_(content_chunks + head_slots),
        released_(content_chunks + head_slots) {}

  void pin(ChunkIndex chunk) {
    Use& use = uses_[chunk.value()];
    bump(use.pins, +1);
    ++total_;
  }
  /// A pin that nobody will undo, and that total() does not count.
  void pin_for_good(ChunkIndex chunk) { bump(uses_[chunk.value()].pins, +1); }
  /// When the last pin of a head slot, or of a watched chunk, goes, the index can be had once from
  /// poll_released().
  void unpin(ChunkIndex chunk) {
    Use& use = uses_[chunk.value()];
    ASSERT(use.pins.load(std::memory_order_relaxed) > 0);
    bump(use.pins, -1);
    --total_;
    if (use.pins.load(std::memory_order_relaxed) == 0) {
      if (is_head_slot(chunk) || use.watched) release(use, chunk);
    }
  }
  /// Asks that poll_released() tell when the chunk has no pins (at once, if it has none now).
  /// Requires: a content chunk that is not watched already.
  void watch(ChunkIndex chunk) {
    Use& use = uses_[chunk.value()];
    ASSERT(!is_head_slot(chunk) && !use.watched);
    use.watched = true;
    if (use.pins.load(std::memory_order_relaxed) == 0) release(use, chunk);
  }
  /// Returns false when there is nothing to tell.
  [[nodiscard]] bool poll_released(ChunkIndex& out) { return released_.pop(out); }

  void lease(ChunkIndex chunk) { bump(uses_[chunk.value()].leases, +1); }
  void unlease(ChunkIndex chunk) {
    ASSERT(leases(chunk) > 0);
    bump(uses_[chunk.value()].leases, -1);
  }
  /// Notes that the chunk was used. Units of `tick`: milliseconds of the process's monotonic clock,
  /// truncated to 32 bits.
  void touch(ChunkIndex chunk, uint32_t tick_ms) {
    uses_[chunk.value()].last_use_ms.store(tick_ms, std::memory_order_relaxed);
  }

  // For any thread; a moment's value.
  [[nodiscard]] uint32_t pins(ChunkIndex chunk) const {
    return uses_[chunk.value()].pins.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint32_t leases(ChunkIndex chunk) const {
    return uses_[chunk.value()].leases.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint32_t last_use_ms(ChunkIndex chunk) const {
    return uses_[chunk.value()].last_use_ms.load(std::memory_order_relaxed);
  }

  /// Pins over all chunks and slots; 0 when nothing is being sent. Owner only.
  [[nodiscard]] uint64_t total() const { return total_; }
  [[nodiscard]] uint32_t content_chunks() const { return content_chunks_; }
  [[nodiscard]] bool is_head_slot(ChunkIndex chunk) const {
    return chunk.value() >= content_chunks_;
  }

 private:
  struct Use {
    std::atomic<uint32_t> pins{0};
    std::atomic<uint32_t> leases{0};
    std::atomic<uint32_t> last_use_ms{0};
    bool watched = false;
  };

  static void bump(std::atomic<uint32_t>& value, int32_t by) {
    // One writer: not a locked addition.
    value.store(value.load(std::memory_order_relaxed) + static_cast<uint32_t>(by),
                std::memory_order_relaxed);
  }
  void release(Use& use, ChunkIndex chunk) {
    use.watched = false;
    const bool pushed = released_.push(chunk);
    ASSERT(
        pushed);  // each index is in the queue at most once: its owner re-uses it only afterwards
  }

  uint32_t content_chunks_;
  FixedArray<Use> uses_;
  BoundedQueue<ChunkIndex> released_;
  uint64_t total_ = 0;
};

}  // namespace sluice::content
