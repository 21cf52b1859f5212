// Catalog: what one worker knows of content: which path is which object version, and where in the
// arena its pieces are. A cache of the Store's knowledge: any entry may be dropped and asked for
// again.
//
// Objects are found by the keyed 128-bit digest of their path and are reference counted while a
// response uses them. Pieces are found by (ObjectId, number). A connection in the middle of sending
// a piece holds a Lease on it, which the Catalog may revoke at any time (the Store needs the
// chunk): the next find() then says `missing` and the piece is fetched again. Only frames in a NIC
// ring hold hard pins. See docs/decisions/0002-leases.md.
//
// Pure; one thread; all memory reserved at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bounded_queue.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "base/time.h"
#include "content/chunk_pins.h"
#include "content/ids.h"
#include "content/message.h"
#include "stats/counters.h"

namespace sluice::content {

/// A reference-counted entry of the catalog; valid between acquire() and the matching release().
using ObjectHandle = StrongIndex<struct ObjectHandleTag>;

/// A soft hold on one piece. Trivially copyable, but each taken lease is dropped exactly once.
struct Lease {
  uint32_t entry = IndexPool::none;
  uint32_t generation = 0;
};

struct CatalogLimits {
  uint32_t objects_max = 0;  // entries; more distinct live objects than this are refused
  uint32_t pieces_max = 0;   // entries; must exceed waiters_max
  uint32_t waiters_max = 0;  // waiter numbers are below this (one per connection)
  uint32_t chunk_count = 0;
  uint32_t chunk_bytes = 0;
  uint32_t readahead_pieces = 0;  // pieces asked for ahead of the one being sent
  Duration fresh_for;             // after this an object is looked up again before a new response
};

class Catalog {
 public:
  Catalog(const CatalogLimits& limits, ChunkPins& pins, stats::Counters& counters);

  // Objects
  // -----------------------------------------------------------------------------------------

  /// The current version known for the path, if it may be used without asking the Store again.
  /// Returns none() when unknown or due for revalidation.
  [[nodiscard]] ObjectHandle find_path(Instant now, const SipDigest& path_key) const;

  /// Notes what the Store answered for the path. A different version replaces the current one;
  /// responses that use the old one go on with it. `label` is a word for the caller (its media
  /// type). Returns none() when every entry is in use.
  [[nodiscard]] ObjectHandle insert(Instant now, const SipDigest& path_key, const ObjectInfo& info,
                                    std::string_view label);
  /// The Store says that the path no longer leads to an object.
  void forget_path(const SipDigest& path_key);

  void acquire(ObjectHandle object);
  void release(ObjectHandle object);
  [[nodiscard]] const ObjectInfo& info(ObjectHandle object) const;
  [[nodiscard]] std::string_view label(ObjectHandle object) const;

  // Pieces
  // ------------------------------------------------------------------------------------------

  struct Range {
    uint64_t offset_bytes = 0;  // from here
    uint32_t max_bytes = 0;     // at most this many
    uint64_t end_bytes = 0;     // where the response ends: no read-ahead beyond it
  };
  enum class Find : uint8_t {
    here,     // `out` holds 1..max_bytes bytes, all in one piece
    missing,  // not in the arena now: wait() and try again when woken
    gone,     // this version can be read no more: the response cannot be completed
  };
  /// Finds bytes of an acquired object and moves `lease` to their piece.
  /// Requires: offset_bytes < object size; max_bytes > 0; offset_bytes < end_bytes <= size.
  [[nodiscard]] Find find(Instant now, ObjectHandle object, const Range& range, Lease& lease,
                          Extent& out);
  /// Lets go of a lease; a lease that was revoked, or never taken, is fine.
  void drop(Lease& lease);

  /// Asks for the piece that holds `offset_bytes`, and notes that `waiter` is to be woken. A waiter
  /// waits for one piece at a time: an earlier wait is given up.
  void wait(ObjectHandle object, uint64_t offset_bytes, uint32_t waiter);
  void cancel_wait(uint32_t waiter);
  struct Woken {
    uint32_t waiter = 0;
    bool failed = false;  // the piece cannot be had: end the response
  };
  /// Returns false when nobody is to be woken.
  [[nodiscard]] bool poll_woken(Woken& out);

  // Messages
  // ----------------------------------------------------------------------------------------

  void handle(Instant now, const PieceReady& message);
  void handle(Instant now, const PieceFailed& message);
  void handle(Instant now, const Retire& message);
  void handle(Instant now, const Revalidate& message);
  /// Answers a Retire once the chunk has no pins. Called with what ChunkPins::poll_released() told.
  void handle_released(ChunkIndex chunk);
  /// Returns false when there is nothing for the Store.
  [[nodiscard]] bool poll_message(ToStore& out);

  [[nodiscard]] uint32_t objects_in_use() const { return objects_referenced_; }
  [[nodiscard]] uint32_t pieces_known() const { return piece_pool_.in_use(); }
  [[nodiscard]] const CatalogLimits& limits() const { return limits_; }
  /// Bytes reserved at construction, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const CatalogLimits& limits);

 private:
  static constexpr uint32_t none = IndexPool::none;

  struct Link {
    uint32_t next = none;
    uint32_t previous = none;
  };
  struct Object {
    SipDigest path_key;
    ObjectInfo info;
    Instant validated_at;
    uint64_t epoch = 0;
    std::string_view label;
    uint32_t uses = 0;
    uint32_t hash_next = none;
    Link recency;          // in the list of unused entries, most recent first
    bool current = false;  // found by path
    bool gone = false;     // cannot be read any more
  };
  enum class PieceState : uint8_t { free, requested, ready };
  struct Piece {
    ObjectId object;
    PieceNumber number = 0;
    uint32_t generation = 1;
    Extent extent;
    uint32_t hash_next = none;
    Link in_chunk;  // other pieces in the same chunk
    Link recency;   // ready pieces, most recently found first
    uint32_t first_waiter = none;
    uint32_t last_waiter = none;
    uint32_t leases = 0;
    PieceState state = PieceState::free;
    bool prefetch = false;  // asked for ahead of need
  };
  struct List {
    uint32_t first = none;
    uint32_t last = none;
  };

  [[nodiscard]] uint32_t object_bucket(const SipDigest& key) const {
    return static_cast<uint32_t>(key.low) & object_bucket_mask_;
  }
  [[nodiscard]] uint32_t piece_bucket(ObjectId object, PieceNumber number) const;
  [[nodiscard]] uint32_t current_entry(const SipDigest& key) const;
  void unlink_path(uint32_t entry);
  [[nodiscard]] uint32_t take_object_entry();
  [[nodiscard]] uint32_t find_piece(ObjectId object, PieceNumber number) const;
  [[nodiscard]] uint32_t add_piece(ObjectId object, PieceNumber number);
  void remove_piece(uint32_t entry);
  [[nodiscard]] uint32_t request(ObjectId object, PieceNumber number, bool prefetch);
  void read_ahead(const Object& object, PieceNumber from, uint64_t end_bytes);
  void wake_all(Piece& piece, bool failed);
  void send(uint32_t word);

  CatalogLimits limits_;
  ChunkPins& pins_;
  stats::Counters& counters_;

  FixedArray<Object> objects_;
  IndexPool object_pool_;
  FixedArray<uint32_t> object_buckets_;
  uint32_t object_bucket_mask_;
  List unused_objects_;
  uint32_t objects_referenced_ = 0;
  uint64_t epoch_ = 0;

  FixedArray<Piece> pieces_;
  IndexPool piece_pool_;
  FixedArray<uint32_t> piece_buckets_;
  uint32_t piece_bucket_mask_;
  FixedArray<uint32_t> chunk_pieces_;  // first piece in each chunk
  List ready_pieces_;
  uint32_t requested_ = 0;  // entries whose answer is still to come

  struct Waiter {
    uint32_t piece = none;
    Link link;
    bool woken = false;  // in woken_, not yet polled
    bool failed = false;
  };
  FixedArray<Waiter> waiters_;
  BoundedQueue<uint32_t> woken_;
  // A word each: the entry that is asked for, or, with retired_bit, a chunk.
  static constexpr uint32_t retired_bit = 1u << 31;
  BoundedQueue<uint32_t> outbox_;
};

}  // namespace sluice::content
