// Store: the single owner of all chunks. It knows which versions of which files there are, fills
// chunks from the disk, tells workers, and takes chunks back.
//
// Pure: messages, completions, changes and time go in; messages, I/O requests and the next timeout
// come out. One thread; all memory reserved at construction. Read content/message.h (what workers
// say) and store/io.h (what the disk says) first.
//
// Invariants
//  - One lookup of a path and one fill of a piece are under way at a time, however many ask.
//  - Every question gets exactly one answer, in the order asked among those for the same thing.
//  - A chunk is written to again only after every worker that was told of it answered Retired.
//  - A chunk that the holder has pinned is no victim, however badly room is needed.
//  - Bytes answered as a version were read from a file that, looked at after the read, still was
//    that version; and the read began when the clock tick of its last change was over.
//  - Nothing waits for something that will not come: each of the three things waited for (a file
//    number, a turn at the disk, a chunk) is given back by what does not wait for a later one.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "base/bounded_queue.h"
#include "content/chunk_pins.h"
#include "content/message.h"
#include "stats/counters.h"
#include "store/chunk_table.h"
#include "store/file_table.h"
#include "store/io.h"
#include "store/object_table.h"
#include "store/opening_table.h"
#include "store/piece_table.h"

namespace sluice::store {

inline constexpr uint32_t workers_max = 64;

struct Config {
  uint32_t workers = 1;  // at most workers_max
  uint32_t chunk_count = 0;
  uint32_t chunk_bytes = 2u << 20;  // a multiple of io_align_bytes
  uint32_t max_objects = 65'536;    // versions remembered
  uint32_t max_open_files = 1'024;  // descriptors
  uint32_t lookups_max = 1'024;     // open Lookups of one worker; more are answered `busy`
  uint32_t needs_max = 4'096;       // open NeedPieces of one worker: its Catalog's pieces_max
  uint32_t reads_in_flight = 64;    // at the disk
  uint32_t opens_in_flight = 64;    // at the disk
  Duration fresh_for = 250_ms;      // a lookup so soon after the last does not ask the disk
  Duration file_idle_max = 60_s;    // a file not read for so long is closed
  SipKey path_key;                  // of the table of paths: secret
  /// The last worker holds: a chunk that it has pinned is taken back only by its own Discard, and
  /// an object with such a chunk is not forgotten.
  bool last_holds = false;
};

class Store {
 public:
  /// `uses`: the ChunkPins of each worker, in order.
  /// Requires: they and `counters` outlive the Store.
  Store(const Config& config, std::span<const content::ChunkPins* const> uses,
        stats::Counters& counters);

  // Input
  /// Whether the worker's next message can be taken now. Its answers to a worker that does not
  /// fetch them are limited: then its messages wait in its ring.
  [[nodiscard]] bool can_take(uint32_t worker) const;
  /// Requires: can_take(worker).
  void handle_message(Instant now, uint32_t worker, const content::ToStore& message);
  void handle_completion(Instant now, const IoCompletion& completion);
  /// The file at `path` (relative to the root) may have changed.
  void handle_change(Instant now, std::string_view path);
  /// Anything may have changed.
  void handle_change_anywhere(Instant now);
  void handle_timeout(Instant now);

  // Output
  /// Returns false when nothing is to be asked of the disk now.
  [[nodiscard]] bool poll_io(Instant now, IoRequest& out);
  /// Returns false when there is nothing for this worker. Call it when the worker has room.
  [[nodiscard]] bool poll_message(uint32_t worker, content::ToWorker& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  /// Writes the moment's values into the gauges of the counters.
  void publish_gauges();
  [[nodiscard]] uint32_t io_in_flight() const { return reads_in_flight_ + opens_in_flight_; }
  [[nodiscard]] uint32_t chunks(ChunkState state) const { return chunks_.count(state); }
  [[nodiscard]] uint32_t open_files() const { return files_.in_use(); }
  [[nodiscard]] uint32_t objects() const { return objects_.in_use(); }
  /// Whether the file behind the path is being read by anybody: a worker holds a lease on a chunk
  /// with a piece of it, or a piece is on its way. A short piece shares its chunk, and its leases,
  /// with others. Walks the pieces of it that are in the arena.
  [[nodiscard]] bool is_read(std::string_view path) const;
  [[nodiscard]] const Config& config() const { return config_; }
  /// Bytes reserved at construction, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const Config& config);

 private:
  using Object = ObjectTable::Object;
  using Piece = PieceTable::Piece;
  using Opening = OpeningTable::Opening;

  // lookup.cc: from a path to a version
  void handle_lookup(Instant now, uint32_t worker, const content::Lookup& lookup);
  [[nodiscard]] uint32_t open_path(const SipDigest& key, std::string_view path);
  [[nodiscard]] bool poll_open(IoRequest& out);
  [[nodiscard]] bool poll_stat(IoRequest& out);
  void handle_opened(Instant now, const IoCompletion& completion);
  void handle_opening_stat(Instant now, const IoCompletion& completion);
  void settle(Instant now, uint32_t opening);
  void ask_again(uint32_t opening);
  void finish_opening(Instant now, uint32_t opening, int error);
  void serve_wanting(Instant now, uint32_t opening, int error);
  [[nodiscard]] bool is_known_version(const Opening& opening) const;
  [[nodiscard]] content::LookupAnswer answer_for(Instant now, Opening& opening, int error);
  [[nodiscard]] uint32_t adopt_version(Instant now, Opening& opening);
  [[nodiscard]] bool make_object_room(size_t path_length_bytes);
  [[nodiscard]] uint32_t choose_object();
  [[nodiscard]] bool is_leased(const Object& object) const;
  [[nodiscard]] bool is_held(const Object& object) const;
  void recycle(uint32_t object);
  void close_file(uint32_t file);
  void drop_opening_file(Opening& opening);
  [[nodiscard]] content::ObjectInfo info(uint32_t object) const;

  // fill.cc: from a version to its bytes
  void handle_need(Instant now, uint32_t worker, const content::NeedPiece& need);
  [[nodiscard]] uint32_t add_piece(uint32_t object, content::PieceNumber number);
  void begin_piece(Instant now, uint32_t piece);
  [[nodiscard]] bool place(Instant now, Piece& piece);
  void start_fill(uint32_t piece);
  void want_file(uint32_t piece);
  void queue_read(uint32_t piece);
  [[nodiscard]] bool poll_read(IoRequest& out);
  void handle_read(Instant now, const IoCompletion& completion);
  [[nodiscard]] bool is_still(uint32_t object, const FileFacts& facts);
  void continue_read(Instant now, uint32_t piece, uint32_t arrived_bytes);
  void finish_piece(Instant now, uint32_t piece);
  void fail_piece(uint32_t piece, content::PieceFailure reason);
  void answer_failed(uint32_t worker, const content::PieceFailed& answer);
  void release_space(Piece& piece);
  void handle_discard(const content::Discard& discard);
  void make_stale(uint32_t object);
  void make_unwanted(const Object& object);
  [[nodiscard]] uint32_t piece_length(const Object& object, content::PieceNumber number) const;

  // evict.cc: from bytes to room
  void make_room(Instant now);
  void assign_chunks(Instant now);
  void take_back(Instant now);
  void evict(content::ChunkIndex chunk);
  void take_away(content::ChunkIndex chunk);
  void remove_ready_piece(uint32_t piece);
  void decline_read_ahead();
  [[nodiscard]] bool has_room_for_read_ahead(Instant now, uint32_t length_bytes);
  [[nodiscard]] bool fits_in_pack(uint32_t length_bytes) const;
  [[nodiscard]] uint32_t room_coming() const;

  // store.cc
  void send(uint32_t worker, const content::ToWorker& message);
  void note_change(Instant now);

  Config config_;
  stats::Counters& counters_;

  ObjectTable objects_;
  OpeningTable openings_;
  FileTable files_;
  PieceTable pieces_;
  ChunkTable chunks_;

  PieceTable::Queue chunk_queue_;       // pieces that wait for a chunk
  uint32_t demanded_in_queue_ = 0;      // of those, the ones wanted now
  PieceTable::Queue read_queue_;        // pieces that wait for a turn at the disk
  OpeningTable::Queue open_queue_;      // paths that wait for a file number and a turn
  OpeningTable::Queue settling_;        // in order of `due`
  OpeningTable::Queue stat_queue_;      // settled long enough: to be looked at again
  BoundedQueue<uint32_t> close_queue_;  // file numbers
  uint32_t reads_in_flight_ = 0;
  uint32_t opens_in_flight_ = 0;

  content::ChunkIndex open_pack_;  // where short pieces go
  uint32_t reserve_chunks_ = 0;    // kept free, so that a fill can start at once
  Instant spare_search_after_;     // the last search for a victim found none: not again before
  Instant demand_search_after_;
  Instant starving_since_ = Instant::never();  // demands wait and every chunk is in use
  Instant room_retry_at_ = Instant::never();

  std::vector<BoundedQueue<content::ToWorker>> outbox_;  // of each worker
  FixedArray<uint32_t> lookups_open_;                    // of each worker
  FixedArray<uint32_t> needs_open_;                      // of each worker
  uint64_t epoch_ = 0;           // what was validated in an earlier one is not valid any more
  bool changed_ = false;         // since workers were told last
  uint64_t revalidate_due_ = 0;  // workers to be told
  Instant revalidate_after_;
  std::array<char, path_bytes_max + 1> path_scratch_{};
};

}  // namespace sluice::store
