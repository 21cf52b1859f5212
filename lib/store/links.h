// Lists and hash chains over the entries of fixed tables, by index: nothing is ever allocated.
#pragma once

#include <bit>
#include <cstdint>

#include "base/fixed_array.h"
#include "base/index_pool.h"

namespace sluice::store {

inline constexpr uint32_t none = IndexPool::none;

struct Link {
  uint32_t next = none;
  uint32_t previous = none;
};

/// A doubly linked list through the member `Member` of the entries of a table.
template <typename Entry, Link Entry::*Member>
class IndexList {
 public:
  void push_back(FixedArray<Entry>& table, uint32_t entry) {
    table[entry].*Member = {none, last_};
    (last_ != none ? (table[last_].*Member).next : first_) = entry;
    last_ = entry;
    ++size_;
  }
  void push_front(FixedArray<Entry>& table, uint32_t entry) {
    table[entry].*Member = {first_, none};
    (first_ != none ? (table[first_].*Member).previous : last_) = entry;
    first_ = entry;
    ++size_;
  }
  /// Requires: `entry` is in this list.
  void remove(FixedArray<Entry>& table, uint32_t entry) {
    const Link link = table[entry].*Member;
    (link.previous != none ? (table[link.previous].*Member).next : first_) = link.next;
    (link.next != none ? (table[link.next].*Member).previous : last_) = link.previous;
    table[entry].*Member = {};
    ASSERT(size_ > 0);
    --size_;
  }
  /// Returns none when empty.
  [[nodiscard]] uint32_t pop_front(FixedArray<Entry>& table) {
    const uint32_t entry = first_;
    if (entry != none) remove(table, entry);
    return entry;
  }
  [[nodiscard]] uint32_t first() const { return first_; }
  [[nodiscard]] uint32_t last() const { return last_; }
  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return first_ == none; }

 private:
  uint32_t first_ = none;
  uint32_t last_ = none;
  uint32_t size_ = 0;
};

/// Buckets of a chained hash table; entries are chained through `Next`.
template <typename Entry, uint32_t Entry::*Next>
class HashChains {
 public:
  explicit HashChains(uint32_t entries) : buckets_(bucket_count(entries)) {
    for (uint32_t& bucket : buckets_) bucket = none;
  }
  [[nodiscard]] uint32_t first(uint64_t hash) const { return buckets_[index(hash)]; }
  void insert(FixedArray<Entry>& table, uint64_t hash, uint32_t entry) {
    table[entry].*Next = buckets_[index(hash)];
    buckets_[index(hash)] = entry;
  }
  /// Requires: `entry` was inserted with this hash.
  void remove(FixedArray<Entry>& table, uint64_t hash, uint32_t entry) {
    uint32_t* at = &buckets_[index(hash)];
    while (*at != entry) at = &(table[*at].*Next);
    *at = table[entry].*Next;
    table[entry].*Next = none;
  }
  [[nodiscard]] static uint32_t bucket_count(uint32_t entries) {
    return std::bit_ceil(entries < 2 ? 2u : entries);
  }

 private:
  [[nodiscard]] size_t index(uint64_t hash) const {
    return static_cast<size_t>(hash) & (buckets_.size() - 1);
  }
  FixedArray<uint32_t> buckets_;
};

}  // namespace sluice::store
