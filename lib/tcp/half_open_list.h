// HalfOpenList: the connections in SYN-RECEIVED, oldest first, and never more than a bound.
//
// Read first: RFC 4987 section 3.3 (recycling the oldest half-open connection).
#pragma once

#include <cstdint>

#include "base/fixed_array.h"
#include "base/index_pool.h"

namespace sluice::tcp {

class HalfOpenList {
 public:
  static constexpr uint32_t none = IndexPool::none;

  explicit HalfOpenList(uint32_t capacity) : nodes_(capacity), pool_(capacity) {}

  [[nodiscard]] bool full() const { return pool_.available() == 0; }
  [[nodiscard]] uint32_t size() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t capacity() const { return pool_.size(); }
  /// Returns the connection that waits longest, or none.
  [[nodiscard]] uint32_t oldest() const {
    return oldest_ == none ? none : nodes_[oldest_].connection;
  }
  /// Returns the node, for remove(). Requires: not full().
  [[nodiscard]] uint32_t add(uint32_t connection) {
    const uint32_t node = pool_.take();
    nodes_[node] = {connection, newest_, none};
    (newest_ == none ? oldest_ : nodes_[newest_].newer) = node;
    newest_ = node;
    return node;
  }
  void remove(uint32_t node) {
    const Node& gone = nodes_[node];
    (gone.older == none ? oldest_ : nodes_[gone.older].newer) = gone.newer;
    (gone.newer == none ? newest_ : nodes_[gone.newer].older) = gone.older;
    pool_.give_back(node);
  }

 private:
  struct Node {
    uint32_t connection = none;
    uint32_t older = none;
    uint32_t newer = none;
  };
  FixedArray<Node> nodes_;
  IndexPool pool_;
  uint32_t oldest_ = none;
  uint32_t newest_ = none;
};

}  // namespace sluice::tcp
