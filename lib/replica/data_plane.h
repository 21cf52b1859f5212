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
/// A generation that is to be forgotten can be read for so long, by responses that have it.
inline constexpr Duration generation_linger = 10_s;

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
  void forget_due(Instant now);

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
  std::deque<ToOverlay> overlay_;            // control: Describe, Redirect, Forget
  std::map<GenerationId, Instant> forgets_;  // and when
  BoundedQueue<GenerationId> progress_;
  Instant progress_at_;
  Instant now_;  // of the last input: for rows
};

}  // namespace sluice::replica
