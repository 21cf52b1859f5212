// AgeList: who holds something, longest first. The things are numbered from outside (the indices of
// a pool); each is in the list at most once.
#pragma once

#include <cstdint>

#include "base/fixed_array.h"
#include "base/index_pool.h"

namespace sluice::tcp {

class AgeList {
 public:
  static constexpr uint32_t none = IndexPool::none;

  explicit AgeList(uint32_t capacity) : nodes_(capacity) {}

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] bool contains(uint32_t at) const { return nodes_[at].owner != none; }
  /// Returns the one that is there longest, or none.
  [[nodiscard]] uint32_t oldest() const { return oldest_; }
  /// Returns the one that came after it, or none. Requires: contains(at).
  [[nodiscard]] uint32_t newer(uint32_t at) const { return nodes_[at].newer; }
  [[nodiscard]] uint32_t owner(uint32_t at) const { return nodes_[at].owner; }
  [[nodiscard]] uint32_t since_ms(uint32_t at) const { return nodes_[at].since_ms; }

  struct Entry {
    uint32_t owner = none;
    uint32_t since_ms = 0;
  };
  /// Requires: not contains(at), and an owner other than none.
  void add(uint32_t at, const Entry& entry) {
    nodes_[at] = {entry.owner, entry.since_ms, newest_, none};
    (newest_ == none ? oldest_ : nodes_[newest_].newer) = at;
    newest_ = at;
    ++size_;
  }
  /// Does nothing when it is not there.
  void remove(uint32_t at) {
    const Node gone = nodes_[at];
    if (gone.owner == none) return;
    (gone.older == none ? oldest_ : nodes_[gone.older].newer) = gone.newer;
    (gone.newer == none ? newest_ : nodes_[gone.newer].older) = gone.older;
    nodes_[at] = {};
    --size_;
  }

  [[nodiscard]] static uint64_t memory_bytes(uint32_t capacity) {
    return uint64_t{capacity} * sizeof(Node);
  }

 private:
  struct Node {
    uint32_t owner = none;
    uint32_t since_ms = 0;
    uint32_t older = none;
    uint32_t newer = none;
  };
  FixedArray<Node> nodes_;
  uint32_t oldest_ = none;
  uint32_t newest_ = none;
  uint32_t size_ = 0;
};

}  // namespace sluice::tcp
