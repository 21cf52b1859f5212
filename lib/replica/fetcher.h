// Fetcher: the pieces that this node wants, each from a peer, else from its own disk, verified.
//
//   Fetch -> choosing -> granting -> wanted -> Landed -> revoking -> CRC-32C -> Fetched
//                                      |                               wrong: choosing again
//                                      +-> Refuse -> revoking -> choosing, the next source
//                                      +-> late   -> cancelling -> revoking -> likewise
//   a source whose RDMA link is due soon: choosing again when it is up, or not due any more
//   LinkDown, at any time: the grant is gone; choosing again, the same source if it has a link
//   no source: on disk -> CRC-32C -> Fetched
//   nor there: sources that were dropped for wrong checksums, with back-off; then EIO
//
// Invariants
//  - An extent is given back (Fetched) only after Revoked, or LinkDown, of every grant on it.
//  - Bytes are looked at only after that: no peer can change what was verified.
//  - A link has at most grants_max grants, each of one fetch.
//
// Pure; part of Node. Allocates nothing after construction.
#pragma once

#include <array>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/fixed_vector.h"
#include "content/arena_view.h"
#include "replica/generations.h"
#include "replica/overlay_messages.h"
#include "replica/session.h"

namespace sluice::replica {

/// After a Cancel the peer has so long to say that it will not write; then it is fenced regardless.
inline constexpr Duration cancel_patience = 2_s;
/// A link on which other pieces still land is slow, not stuck: its pieces are late only when none
/// landed for fetch_patience, or after so many times that.
inline constexpr int64_t slow_link_patience = 12;
/// Where no source has a link now but one is expected, the fetch looks again this often.
inline constexpr Duration source_search_every = 50_ms;
/// A source that knows nothing of the generation, or does not hold it yet, may just not have been
/// told: it is asked again this often, for so long.
inline constexpr Duration early_retry_every = 2_ms;
inline constexpr Duration early_patience = 250_ms;
/// A source that was dropped, asked for want of any other: so often by one fetch, so long after the
/// first wrong answer, and twice as long after each further one.
inline constexpr uint8_t last_resort_tries = 4;
inline constexpr Duration last_resort_pause = 100_ms;
/// Links that may die under one fetch before their source counts as tried.
inline constexpr uint8_t link_losses_max = 8;

class Fetcher {
 public:
  Fetcher(const NodeConfig& config, const content::ArenaView& arena, Sessions& sessions,
          Generations& generations, stats::Counters& counters);

  // From the Overlay
  void handle(Instant now, const Fetch& fetch);
  void handle(Instant now, const DiskRead& read);

  // From links
  void handle(Instant now, const Granted& event);
  void handle(Instant now, const Landed& event);
  void handle(Instant now, const Revoked& event);
  void handle(Instant now, const LinkId& link, const Refuse& refuse);
  /// Before the Sessions forget the link.
  void handle_link_down(Instant now, const LinkId& link);
  /// A link came up, or sources changed: those that wait for one look again.
  void handle_sources_changed() { look_again_ = true; }
  void handle_timeout(Instant now);

  // Output
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  [[nodiscard]] bool poll_overlay(ToOverlay& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  /// Whether the piece is being asked of that peer now.
  [[nodiscard]] bool is_asked_of(NodeId node, GenerationId generation,
                                 content::PieceNumber piece) const;
  [[nodiscard]] uint32_t in_use() const { return in_use_; }
  /// Whether a piece of it is being fetched, from wherever.
  [[nodiscard]] bool is_fetching(GenerationId generation) const;
  /// What came from peers: for `sluicectl transfers`.
  struct Arrival {
    GenerationId generation;
    NodeId from;
    Transport transport = Transport::tcp;
    uint32_t bytes = 0;
    Duration waited;  // from Want to Landed
  };
  [[nodiscard]] bool poll_arrival(Arrival& out) { return arrivals_.pop(out); }

 private:
  static constexpr uint32_t none = IndexPool::none;

  enum class State : uint8_t {
    idle,
    choosing,    // in queue_, or in waiting_
    granting,    // Granted is awaited
    want_due,    // in queue_
    wanted,      // Landed or Refuse is awaited
    cancel_due,  // in queue_
    cancelling,  // Landed or Refuse is awaited a little longer
    revoke_due,  // in queue_
    revoking,    // Revoked is awaited
    on_disk,     // DiskRead is awaited
  };
  struct Entry {
    State state = State::idle;
    bool has_landed = false;  // as many bytes as there should be: to be verified
    bool tried_disk = false;
    bool is_early = false;  // the source may have it soon: it is asked again
    bool waited_for_rdma = false;
    uint8_t link_losses = 0;
    uint8_t wrong_answers = 0;  // since nothing was left but dropped sources
    uint32_t serial = 0;        // of its last Want
    GenerationId generation;
    content::PieceNumber piece = 0;
    content::Extent extent;
    NodeId source;
    LinkId link;
    uint32_t grant = 0;
    Window window;
    Instant began;
    Instant choosing_since;
    Instant not_before;  // asks no dropped source earlier
    Instant asked;
    Instant deadline = Instant::never();
    FixedVector<NodeId, holders_max> tried;
  };
  struct Grants {
    uint64_t taken = 0;
    Instant landed_at;  // the latest piece of any
    std::array<uint32_t, grants_max> owner{};
  };
  struct Answer {
    uint32_t fetch = 0;
    bool read_disk = false;
    int error = 0;
  };
  struct Complaint {
    NodeId to;
    PieceBad body;
  };

  [[nodiscard]] Entry* entry_of(const LinkId& link, uint32_t want);
  [[nodiscard]] uint32_t want_of(uint32_t fetch) const;
  void queue(uint32_t fetch, State state);
  [[nodiscard]] bool poll_entry(Instant now, uint32_t fetch, Post& out);
  [[nodiscard]] bool poll_complaint(Instant now, Post& out);
  [[nodiscard]] bool choose(Instant now, uint32_t fetch, Post& out);
  // due: over RDMA, for which this waits a short while.
  enum class Asked : uint8_t { yes, due, may_come, nobody };
  [[nodiscard]] Asked ask_source(Instant now, uint32_t fetch, KnownGeneration& generation,
                                 Post& out);
  void wait_for_source(uint32_t fetch, Instant until);
  void choose_again(Instant now, uint32_t fetch, bool source_failed);
  void begin_disk(uint32_t fetch);
  void release_grant(Entry& entry);
  [[nodiscard]] bool is_slow_only(Instant now, Entry& entry, Duration patience);
  void verify(Instant now, uint32_t fetch);
  void strike(Instant now, KnownGeneration& generation, const Entry& entry);
  void finish(uint32_t fetch, int error);

  const NodeConfig& config_;
  content::ArenaView arena_;
  Sessions& sessions_;
  Generations& generations_;
  stats::Counters& counters_;
  FixedArray<Entry> entries_;
  FixedArray<Grants> grants_;       // of each link
  BoundedQueue<uint32_t> queue_;    // have something to post; each at most once
  BoundedQueue<uint32_t> waiting_;  // for a source: each at most once
  BoundedQueue<Answer> answers_;
  BoundedQueue<Complaint> complaints_;
  BoundedQueue<Arrival> arrivals_;
  bool look_again_ = false;
  Instant look_at_ = Instant::never();
  uint32_t in_use_ = 0;
};

}  // namespace sluice::replica
