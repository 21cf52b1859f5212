// DataPlane: the parts of a Node that move bytes, joined: Sessions, Fetcher, Supplier, Keeper and
// the Catalog that the last two share. Carries out the Directory's tasks; decides nothing.
//
// Pure; inside Node.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "content/catalog.h"
#include "replica/directory.h"
#include "replica/fetcher.h"
#include "replica/generations.h"
#include "replica/keeper.h"
#include "replica/session.h"
#include "replica/supplier.h"
#include "replica/transfers.h"

namespace sluice::replica {

/// Entries of the Node's Catalog. The Store must take as many open NeedPieces (its needs_max).
inline constexpr uint32_t node_pieces_max = 4'096;
/// A superseded generation is kept while it is read: here (the Store knows: a lease, or a piece on
/// its way), or by a peer that asked for a piece of it less than peer_reads_for ago. Whether it is
/// is looked at first after readers_first_asked, then every readers_asked_every; where nobody reads
/// it twice in a row it is let go. Longer than superseded_kept_max none is kept, nor more of them
/// than superseded_max, nor one whose room of `hold_bytes_max` a new one needs (Keeper): counted,
/// replica_superseded_cut.
inline constexpr Duration readers_first_asked = 5_s;
inline constexpr Duration readers_asked_every = 1_s;
inline constexpr Duration peer_reads_for = 30_s;
inline constexpr Duration superseded_kept_max = 600_s;
inline constexpr uint32_t superseded_max = 1'024;

class DataPlane {
 public:
  /// Requires: `config`, `pins` and `counters` outlive this.
  DataPlane(const NodeConfig& config, const content::ArenaView& arena, content::ChunkPins& pins,
            stats::Counters& counters);

  // Input
  void handle(Instant now, const LinkEvent& event);
  void handle(Instant now, const content::ToWorker& message);
  void handle(Instant now, const FromOverlay& message);
  void handle_load(Instant now, uint64_t client_tx_bytes);
  void handle_timeout(Instant now);
  /// `manifest`: of the generation of a RedirectTask or SourcesTask, where it has one.
  void handle_task(Instant now, const Task& task, const Manifest* manifest);

  // Output
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  [[nodiscard]] bool poll_message(content::ToStore& out);
  [[nodiscard]] bool poll_overlay(ToOverlay& out);
  [[nodiscard]] bool poll_keeper_event(Keeper::Event& out) { return keeper_.poll_event(out); }
  [[nodiscard]] bool poll_session_event(SessionEvent& out) { return sessions_.poll_event(out); }
  /// A peer took a piece of it from here.
  [[nodiscard]] bool poll_progress(GenerationId& out) { return progress_.pop(out); }
  [[nodiscard]] Instant next_timeout() const;

  [[nodiscard]] Sessions& sessions() { return sessions_; }
  [[nodiscard]] const Sessions& sessions() const { return sessions_; }
  [[nodiscard]] std::vector<TransferRow> transfers() const;

 private:
  void handle_message(Instant now, const LinkId& link, const Body& body);
  void handle_link_down(Instant now, const LinkDown& event);
  void handle_woken(Instant now);
  void handle_released();
  void note_transfers(Instant now);
  void describe(const Manifest& manifest);
  void leave(Instant now, GenerationId generation);
  void look_for_readers(Instant now);
  void handle_readers(Instant now, const Readers& readers);
  void forget(GenerationId generation);

  const NodeConfig& config_;
  content::ChunkPins& pins_;
  stats::Counters& counters_;
  content::Catalog catalog_;
  Generations generations_;
  Sessions sessions_;
  Fetcher fetcher_;
  Keeper keeper_;
  Supplier supplier_;
  Transfers transfers_;
  std::deque<ToOverlay> overlay_;  // control: Describe, Redirect, Forget
  struct Leaving {                 // superseded, and kept for who reads it
    Instant since;
    Instant look_at;
    uint32_t quiet = 0;  // times in a row that nobody read it
  };
  std::map<GenerationId, Leaving> leaving_;
  Instant leaving_due_ = Instant::never();  // no look_at is earlier
  bool readers_asked_ = false;
  BoundedQueue<GenerationId> progress_;
  Instant progress_at_;
  Instant now_;  // of the last input: for rows
};

}  // namespace sluice::replica
