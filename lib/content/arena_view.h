// ArenaView: from an extent to its bytes. The memory itself is the arena edge's (or a test's
// vector).
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "content/ids.h"

namespace sluice::content {

/// Head slots hold response heads and other short bytes that an engine writes itself (ICMP echo
/// data).
inline constexpr uint32_t head_slot_bytes = 1024;

/// One worker's view: `chunk_count` content chunks of `chunk_bytes` each, contiguous at `chunks`,
/// and that worker's own head slots, contiguous at `head_slots`.
struct ArenaView {
  std::byte* chunks = nullptr;
  uint32_t chunk_count = 0;
  uint32_t chunk_bytes = 0;
  std::byte* head_slots = nullptr;
  uint32_t head_slot_count = 0;

  /// Requires: the extent lies in one chunk or slot.
  [[nodiscard]] MutableBytes bytes(const Extent& extent) const {
    if (extent.chunk.value() < chunk_count) {
      ASSERT(uint64_t{extent.offset_bytes} + extent.length_bytes <= chunk_bytes);
      return {chunks + size_t{extent.chunk.value()} * chunk_bytes + extent.offset_bytes,
              extent.length_bytes};
    }
    const uint32_t slot = extent.chunk.value() - chunk_count;
    ASSERT(slot < head_slot_count);
    ASSERT(uint64_t{extent.offset_bytes} + extent.length_bytes <= head_slot_bytes);
    return {head_slots + size_t{slot} * head_slot_bytes + extent.offset_bytes, extent.length_bytes};
  }
};

}  // namespace sluice::content
