// SendQueue: what is to be sent and what may have to be sent again, described, never copied: a
// bounded list of spans addressed by stream offset.
//
// Read first: docs/decisions/0002-leases.md. A head slot's span holds the pin that came with it; an
// object's span holds one reference to the object and no pin: its bytes are found in the arena when
// they are sent, and found again when they are sent again. One lease follows the bytes sent first.
//
// A span stands in a pool of the stack. Two places are each queue's own, so that a response can
// always be queued; more, for pipelining, come from a share that all queues have in common.
//
//   spans    | head slot | object .............. | head slot | object ...... |
//            ^ begin()        ^ SND.UNA   ^ SND.NXT                          ^ end()
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "base/fixed_array.h"
#include "base/fixed_vector.h"
#include "base/index_pool.h"
#include "base/time.h"
#include "content/catalog.h"
#include "content/ids.h"
#include "tcp/seq_number.h"
#include "wire/frame.h"

namespace sluice::tcp {

/// A run of bytes of one source.
struct Span {
  uint64_t offset_bytes = 0;  // of the first byte within the slot or the object
  uint64_t length_bytes = 0;
  uint32_t source = 0;  // content::ChunkIndex of a head slot, or content::ObjectHandle
  bool is_object = false;
};

/// The spans of all send queues of a stack. A place takes 24 bytes.
class SpanPool {
 public:
  static constexpr uint32_t none = IndexPool::none;
  static constexpr uint32_t own = 2;  // places of each queue: a head and a body

  struct Sizes {
    uint32_t queues = 0;
    uint32_t shared = 0;
  };
  explicit SpanPool(const Sizes& sizes)
      : nodes_(size_t{own} * sizes.queues + sizes.shared), shared_free_(sizes.shared) {
    for (uint32_t i = 0; i < nodes_.size(); ++i) nodes_[i].next = i + 1;
  }

  /// For a queue that has `count` spans. Returns none when it has its own and no other is free.
  [[nodiscard]] uint32_t take(uint32_t count, const Span& span) {
    if (count >= own) {
      if (shared_free_ == 0) return none;
      --shared_free_;
    }
    const uint32_t node = free_;
    ASSERT(node < nodes_.size() && span.source < object_bit);
    free_ = nodes_[node].next;
    nodes_[node] = {.offset = halves(span.offset_bytes),
                    .length = halves(span.length_bytes),
                    .source = span.source | (span.is_object ? object_bit : 0),
                    .next = none};
    return node;
  }
  /// From a queue that had `count` spans.
  void give_back(uint32_t node, uint32_t count) {
    if (count > own) ++shared_free_;
    nodes_[node].next = free_;
    free_ = node;
  }
  [[nodiscard]] uint32_t shared_free() const { return shared_free_; }
  [[nodiscard]] Span span(uint32_t node) const {
    const Node& at = nodes_[node];
    return {.offset_bytes = whole(at.offset),
            .length_bytes = whole(at.length),
            .source = at.source & ~object_bit,
            .is_object = (at.source & object_bit) != 0};
  }
  [[nodiscard]] uint64_t length(uint32_t node) const { return whole(nodes_[node].length); }
  [[nodiscard]] uint32_t& next(uint32_t node) { return nodes_[node].next; }
  [[nodiscard]] static uint64_t memory_bytes(const Sizes& sizes) {
    return (uint64_t{own} * sizes.queues + sizes.shared) * sizeof(Node);
  }

 private:
  static constexpr uint32_t object_bit = 1u << 31;
  // 64 bits that do not ask for an alignment of eight bytes.
  struct Halves {
    uint32_t low = 0;
    uint32_t high = 0;
  };
  struct Node {
    Halves offset;
    Halves length;
    uint32_t source = 0;
    uint32_t next = none;  // of the queue, or free
  };
  static_assert(sizeof(Node) == 24);
  [[nodiscard]] static constexpr Halves halves(uint64_t value) {
    return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
  }
  [[nodiscard]] static constexpr uint64_t whole(const Halves& value) {
    return uint64_t{value.high} << 32 | value.low;
  }

  FixedArray<Node> nodes_;
  uint32_t free_ = 0;
  uint32_t shared_free_;
};

class SendQueue {
 public:
  // A response is two spans: pipelining goes eight responses deep before it waits for an ACK.
  static constexpr uint32_t spans_max = 16;
  using Extents = FixedVector<content::Extent, wire::TxFrame::extents_max>;

  void reset(StreamOffset begin);

  /// Returns false, and changes nothing, when full. Requires: length_bytes > 0.
  [[nodiscard]] bool push(SpanPool& pool, const Span& span);
  /// Takes out the first span if all of it is before `snd_una`. The caller lets go of its source.
  [[nodiscard]] bool pop_acknowledged(SpanPool& pool, StreamOffset snd_una, Span& out);
  /// Takes out the first span, whatever was acknowledged. Returns false when there is none.
  [[nodiscard]] bool pop(SpanPool& pool, Span& out);

  [[nodiscard]] StreamOffset begin() const { return begin_; }
  [[nodiscard]] StreamOffset end() const { return end_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// How often push() will succeed.
  [[nodiscard]] static uint32_t spans_free(const SpanPool& pool, uint32_t count) {
    const uint32_t own = count < SpanPool::own ? SpanPool::own - count : 0;
    return std::min(own + pool.shared_free(), spans_max - count);
  }
  [[nodiscard]] uint32_t span_count() const { return count_; }

  enum class Stop : uint8_t {
    done,     // all of it, or as much as a frame has extents for
    missing,  // up to content that is not in the arena
    gone,     // up to content that can be read no more
  };
  struct Described {
    uint32_t bytes = 0;
    Stop stop = Stop::done;
    content::ObjectHandle object;  // with `missing`
    uint64_t offset_bytes = 0;     // with `missing`
  };
  struct Range {
    StreamOffset from;
    uint32_t max_bytes = 0;
    bool again = false;  // a retransmission: the lease stays where it is, nothing is read ahead
  };
  /// Appends the extents of a range, as far as they can be had.
  /// Requires: begin() <= from, from + max_bytes <= end().
  [[nodiscard]] Described describe(Instant now, content::Catalog& catalog, SpanPool& pool,
                                   const Range& range, Extents& out);
  void drop_lease(content::Catalog& catalog) { catalog.drop(lease_); }

 private:
  // A span, and where it begins.
  struct Place {
    uint32_t node = SpanPool::none;
    StreamOffset begin;
  };
  [[nodiscard]] Place seek(SpanPool& pool, StreamOffset from) const;

  StreamOffset begin_;
  StreamOffset end_;
  content::Lease lease_;
  uint32_t first_ = SpanPool::none;
  uint32_t count_ = 0;
};

}  // namespace sluice::tcp
