// Keeper: the generations that this node holds. Asks the Store for every piece of each, through its
// internal name, and pins what comes; sums a file that is to be published; looks from time to time
// whether what is held still is what was published.
//
//   hold    Lookup of the internal name -> every piece in order, a window of them at a time
//           -> pinned, counted -> verified
//   ingest  Lookup of the path -> every piece -> CRC-32C of each -> Manifest
//   scrub   every held piece in turn -> CRC-32C; another one than the manifest's -> Discard;
//           what a peer calls bad at once, all of it once in scrub_pass_min at most
//
// The Store has the bytes of an internal name only from the Fetcher, which verified them: what is
// held is verified. Where the Store takes a held piece back (Retire, after a Discard or in need),
// it is asked for again.
//
// Pure; part of Node. Taking up a hold or an ingest allocates (control work); moving through it
// does not.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "content/arena_view.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "replica/directory.h"
#include "replica/generations.h"
#include "replica/node_config.h"
#include "stats/counters.h"

namespace sluice::replica {

/// Lookups that the Keeper has open.
inline constexpr uint32_t keeper_lookups_max = 16;
/// Pieces of a file under way that is to be published.
inline constexpr uint32_t ingest_window = 8;
/// A hold that got no piece for so many times fetch_patience is answered no_source.
inline constexpr int64_t hold_patience_factor = 3;
/// Times that a file may change while it is summed.
inline constexpr uint32_t ingest_attempts_max = 5;

class Keeper {
 public:
  /// Its waiters in the Catalog are [first_waiter, first_waiter + waiters(config)).
  struct Parts {
    const NodeConfig& config;
    content::ArenaView arena;
    Generations& generations;
    content::Catalog& catalog;
    content::ChunkPins& pins;
    stats::Counters& counters;
    uint32_t first_waiter = 0;
  };
  explicit Keeper(const Parts& parts);
  [[nodiscard]] static uint32_t waiters(const NodeConfig& config) {
    return config.fetch_window + ingest_window;
  }

  // Tasks
  /// Requires: the generation is in Generations.
  void hold(Instant now, GenerationId generation);
  void release(GenerationId generation);
  /// It was superseded, but may be read still, here or by peers: what there is of it stays pinned,
  /// until it is released or another needs the room. Nothing more of it is asked for.
  void linger(GenerationId generation);
  void ingest(uint32_t ticket, const std::string& path);
  /// A peer says that this piece of ours is bad: it is looked at next.
  void suspect(GenerationId generation, content::PieceNumber piece);

  // Input
  void handle(Instant now, const content::LookupAnswer& answer);
  /// Of one of its waiters.
  void handle_woken(Instant now, const content::Catalog::Woken& woken);
  /// After the Catalog.
  void handle(Instant now, const content::Retire& retire);
  void handle_timeout(Instant now);

  // Output
  [[nodiscard]] bool poll_message(content::ToStore& out);
  struct Held {
    GenerationId generation;
    HoldResult result = HoldResult::verified;
  };
  struct Progress {
    GenerationId generation;
  };
  struct Lost {
    GenerationId generation;
  };
  struct Ingested {
    uint32_t ticket = 0;
    Manifest manifest;  // but for generation and digest
  };
  struct IngestFailed {
    uint32_t ticket = 0;
    std::string why;
  };
  using Event = std::variant<Held, Progress, Lost, Ingested, IngestFailed>;
  [[nodiscard]] bool poll_event(Event& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  /// The object behind the internal name of a generation that is held, or being filled; none() of
  /// others.
  [[nodiscard]] content::ObjectHandle object_of(GenerationId generation) const;
  [[nodiscard]] uint64_t held_bytes() const { return held_bytes_; }
  struct Filling {
    GenerationId generation;
    uint64_t bytes_held = 0;
  };
  /// Holds that are not complete.
  [[nodiscard]] std::vector<Filling> filling() const;

 private:
  static constexpr uint32_t none = IndexPool::none;

  enum class Phase : uint8_t { lookup_due, looking, filling, complete };
  enum class PieceState : uint8_t { missing, asked, held, rotten };
  struct Piece {
    content::ChunkIndex chunk;  // held or rotten: pinned
    uint32_t offset_bytes = 0;
    PieceState state = PieceState::missing;
  };
  struct Hold {
    GenerationId id;
    uint64_t size_bytes = 0;
    content::ObjectHandle object;
    Phase phase = Phase::lookup_due;
    std::vector<Piece> pieces;
    uint32_t pieces_held = 0;
    uint64_t bytes_held = 0;
    uint32_t cursor = 0;  // no piece below is missing
    uint32_t under_way = 0;
    uint32_t failures = 0;    // in a row
    uint32_t unanswered = 0;  // HoldTasks
    bool was_lost = false;    // said so, since it was complete
    bool lingers = false;     // in lingering_
    uint32_t rotten = 0;      // pieces that a Retire is awaited for
    Instant rotten_at;
    Instant retry_at;
    Instant progress_at;
    Instant progress_told_at;
  };
  struct Slot {  // a piece under way
    bool used = false;
    GenerationId generation;
    content::PieceNumber piece = 0;
  };
  struct Ingest {
    uint32_t ticket = 0;
    std::string path;
    Phase phase = Phase::lookup_due;
    content::ObjectHandle object;
    std::vector<uint32_t> crcs;
    uint32_t cursor = 0;
    uint32_t done = 0;
    uint32_t attempts = 0;  // waits
    uint32_t restarts = 0;
    Instant retry_at;
    std::array<uint32_t, ingest_window> slots{};  // piece, or none
  };
  struct Ticket {
    std::string path;         // stays where it is until the answer
    GenerationId generation;  // none: of the ingest
  };
  struct Suspect {
    GenerationId generation;
    content::PieceNumber piece = 0;
  };

  // keeper.cc: holds
  void pump(Instant now);
  void ask_lookup(Hold& hold);
  void fill(Instant now, Hold& hold);
  void look(Instant now, Hold& hold, uint32_t slot);
  void take(Instant now, Hold& hold, content::PieceNumber piece, const content::Extent& extent);
  void let_go(Hold& hold, content::PieceNumber piece);
  void restart(Instant now, Hold& hold);
  void back_off(Instant now, Hold& hold);
  void free_slots(GenerationId generation);
  void check_patience(Instant now, Hold& hold);
  void check_rotten(Instant now, Hold& hold);
  void complete_if_whole(Hold& hold);
  void reopen(Instant now, Hold& hold);
  void answer(Hold& hold, HoldResult result);
  void take_up(Instant now, Hold& hold);
  [[nodiscard]] uint32_t length_of(const Hold& hold, content::PieceNumber piece) const;
  [[nodiscard]] SipDigest key_of(std::string_view path) const;
  [[nodiscard]] uint32_t take_ticket(std::string_view path, GenerationId generation);

  // keeper_ingest.cc: publication and scrub
  void pump_ingest(Instant now);
  void handle_ingest_answer(Instant now, const content::LookupAnswer& answer);
  void look_ingest(Instant now, uint32_t slot);
  void restart_ingest(Instant now);
  void end_ingest();
  void fail_ingest(std::string_view why);
  void scrub(Instant now);
  [[nodiscard]] Instant scrub_timeout() const;
  void verify(Instant now, Hold& hold, content::PieceNumber piece);

  Parts parts_;
  std::map<GenerationId, Hold> holds_;
  std::deque<GenerationId> incomplete_;  // in the order of being filled: first come, first served
  std::deque<GenerationId> lingering_;   // longest first
  FixedArray<Slot> slots_;
  uint32_t slots_used_ = 0;
  std::array<Ticket, keeper_lookups_max> tickets_;
  IndexPool ticket_pool_;
  BoundedQueue<content::ToStore> outbox_;
  std::deque<Event> events_;
  std::deque<Ingest> ingests_;  // the first is under way
  FixedArray<uint32_t> held_in_chunk_;
  uint64_t held_bytes_ = 0;
  uint64_t promised_bytes_ = 0;   // of all holds
  uint64_t lingering_bytes_ = 0;  // of those that are superseded
  uint64_t held_pieces_ = 0;
  bool pump_due_ = false;

  Instant scrub_turn_at_;  // no sum before
  Instant scrub_pass_at_;  // no pass before; that of the pass under way is over
  Instant scrub_pass_began_;
  GenerationId scrub_generation_;  // where the pass is; none: at its start
  uint32_t scrub_piece_ = 0;
  BoundedQueue<Suspect> suspects_;
};

}  // namespace sluice::replica
