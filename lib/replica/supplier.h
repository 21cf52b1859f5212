// Supplier: the pieces that peers want. Finds each in the Catalog, waits for one that is itself
// arriving, pins it, writes it, and lets go of it when the write is done.
//
//   Want -> here:     ready -> (throttle) -> writing -> WriteDone
//        -> missing:  waiting -> ready, or Refuse
//        -> never:    Refuse
//   Cancel, before the write: Refuse
//
// Invariants
//  - A chunk that is being written is pinned until WriteDone or LinkDown.
//  - A peer has at most grants_max Wants open on a link: one more ends the link.
//  - Only pieces of generations that this node holds, or is about to, are looked for: a peer cannot
//    make it read anything else.
//
// Pure; part of Node. Allocates nothing after construction.
#pragma once

#include <array>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "replica/fetcher.h"
#include "replica/generations.h"
#include "replica/keeper.h"
#include "replica/session.h"
#include "replica/throttle.h"

namespace sluice::replica {

/// Wants that may be open, over all links.
inline constexpr uint32_t wants_max = 512;
/// A Want that waits longer is refused: by then the peer has given it up.
inline constexpr Duration want_age_max = 60_s;

class Supplier {
 public:
  /// Its waiters in the Catalog are [first_waiter, first_waiter + wants_max).
  struct Parts {
    const NodeConfig& config;
    Sessions& sessions;
    Generations& generations;
    content::Catalog& catalog;
    content::ChunkPins& pins;
    Keeper& keeper;
    const Fetcher& fetcher;
    stats::Counters& counters;
    uint32_t first_waiter = 0;
  };
  explicit Supplier(const Parts& parts);

  // Input
  void handle(Instant now, const LinkId& link, const Want& want);
  void handle(Instant now, const LinkId& link, const Cancel& cancel);
  void handle(Instant now, const WriteDone& event);
  /// Before the Sessions forget the link.
  void handle_link_down(const LinkId& link);
  /// Of one of its waiters.
  void handle_woken(Instant now, const content::Catalog::Woken& woken);
  void handle_load(Instant now, uint64_t client_tx_bytes) {
    throttle_.handle_load(now, client_tx_bytes);
  }
  void handle_timeout(Instant now);

  // Output
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] const Throttle& throttle() const { return throttle_; }
  /// What was written to peers: for `sluicectl transfers`.
  struct Departure {
    GenerationId generation;
    NodeId to;
    Transport transport = Transport::tcp;
    uint32_t bytes = 0;
    Duration lag;  // from when it was asked for and here, to when it was written
  };
  [[nodiscard]] bool poll_departure(Departure& out) { return departures_.pop(out); }

 private:
  static constexpr uint32_t none = IndexPool::none;

  enum class State : uint8_t {
    waiting,     // for the piece
    ready,       // pinned; in ready_
    writing,     // pinned; WriteDone is awaited
    refuse_due,  // in refusals_
    dropped,     // its link is gone; in ready_ or refusals_ until it comes by
  };
  struct Entry {
    State state = State::waiting;
    LinkId link;
    NodeId peer;
    Want want;
    content::Extent extent;
    RefuseReason reason = RefuseReason::failed;
    uint32_t write = 0;
    Instant came;   // the Want
    Instant since;  // it was asked for and here
  };
  struct LinkState {
    uint32_t wants = 0;   // open
    uint64_t writes = 0;  // numbers taken
    std::array<uint32_t, writes_in_flight_max> owner{};
  };

  [[nodiscard]] uint32_t find(const LinkId& link, uint32_t want) const;
  [[nodiscard]] bool check(Instant now, Entry& entry);
  void look(Instant now, uint32_t index);
  void refuse(uint32_t index, RefuseReason reason);
  void finish(uint32_t index);
  [[nodiscard]] bool poll_refusal(Post& out);
  [[nodiscard]] bool poll_write(Instant now, Post& out);

  Parts parts_;
  Throttle throttle_;
  FixedArray<Entry> entries_;
  IndexPool pool_;
  FixedArray<LinkState> links_;
  BoundedQueue<uint32_t> ready_;
  BoundedQueue<uint32_t> refusals_;
  BoundedQueue<Departure> departures_;
  bool is_throttled_ = false;
  Instant wait_ends_ = Instant::never();  // no Want that waits for its piece is too old earlier
};

}  // namespace sluice::replica
