// ConnectionTable: from a flow's keyed hash to its connection. Open addressing with linear probing;
// an entry is the hash's low 32 bits and an index, eight to a cache line.
//
// Invariant: capacity is a power of two of at least twice the entries, so that probes are short;
// removal moves later entries back (Knuth, volume 3, 6.4 algorithm R), so that there are no
// tombstones to collect.
#pragma once

#include <bit>
#include <cstdint>

#include "base/assert.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"

namespace sluice::tcp {

class ConnectionTable {
 public:
  static constexpr uint32_t none = IndexPool::none;

  explicit ConnectionTable(uint32_t entries_max)
      : entries_(capacity_for(entries_max)), mask_(static_cast<uint32_t>(entries_.size()) - 1) {}

  [[nodiscard]] static size_t capacity_for(uint32_t entries_max) {
    return std::bit_ceil(size_t{entries_max > 0 ? entries_max : 1} * 2);
  }

  /// Returns the index for which `matches(index)` holds among those of that hash, or none.
  template <typename Matches>
  [[nodiscard]] uint32_t find(uint64_t hash, const Matches& matches) const {
    const auto tag = static_cast<uint32_t>(hash);
    const Entry* entries = entries_.begin();
    // Bounded: half of the entries are free.
    for (uint32_t at = tag & mask_; entries[at].index != none; at = (at + 1) & mask_) {
      if (entries[at].tag == tag && matches(entries[at].index)) return entries[at].index;
    }
    return none;
  }

  /// Requires: fewer than entries_max entries, and `index` not among them.
  void insert(uint64_t hash, uint32_t index) {
    const auto tag = static_cast<uint32_t>(hash);
    uint32_t at = tag & mask_;
    while (entries_[at].index != none) at = (at + 1) & mask_;
    entries_[at] = {tag, index};
    ++size_;
    ASSERT(size_ * 2 <= entries_.size());
  }

  /// Requires: insert(hash, index) came before.
  void remove(uint64_t hash, uint32_t index) {
    uint32_t hole = static_cast<uint32_t>(hash) & mask_;
    while (entries_[hole].index != index) {
      ASSERT(entries_[hole].index != none);
      hole = (hole + 1) & mask_;
    }
    for (uint32_t at = (hole + 1) & mask_; entries_[at].index != none; at = (at + 1) & mask_) {
      // An entry may move back into the hole unless that is before the place its probing starts at.
      const uint32_t home = entries_[at].tag & mask_;
      if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = {};
    --size_;
  }

  /// Brings the cache line near in which find() will begin.
  void prefetch(uint64_t hash) const {
    __builtin_prefetch(entries_.begin() + (static_cast<uint32_t>(hash) & mask_));
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  struct Entry {
    uint32_t tag = 0;
    uint32_t index = none;
  };
  FixedArray<Entry> entries_;
  uint32_t mask_;
  size_t size_ = 0;
};

}  // namespace sluice::tcp
