// ChunkTable: what each chunk of the arena is used for, and which one goes next when room is
// needed.
//
//   free -> filling -> ready -> retiring -> free
//
// A whole chunk holds one piece; a packed chunk holds many short ones, at 4096-aligned offsets, and
// goes as a whole. Invariant: a chunk that some worker was told of becomes free only when each of
// those workers answered.
//
// Choice of a victim: chunks stand in a list by the last use that was known when they were put
// there; a chunk found to be used since goes to the end again (as CLOCK, but with the true times,
// which the workers write into ChunkPins). Leased chunks are taken only by force,
// or when somebody waits too long: slow readers must not keep everybody else from the disk.
// A chunk that the holder has pinned stands aside, in a list of its own, and comes back when a
// search finds it let go.
#pragma once

#include <cstdint>
#include <span>

#include "base/time.h"
#include "content/chunk_pins.h"
#include "store/links.h"

namespace sluice::store {

enum class ChunkState : uint8_t { free, filling, ready, retiring };
inline constexpr uint32_t chunk_state_count = 4;

/// How badly room is needed. Each takes what the ones before it take.
enum class Appetite : uint8_t {
  spare,   // for read-ahead and for the reserve: chunks used and done with, or long unused
  demand,  // somebody waits: also chunks that were read ahead and not used yet
  force,   // nothing else is left: also leased chunks that were not used for leased_idle_ms
  must,    // somebody waits too long: any leased chunk that was used for first_use_ms
};

class ChunkTable {
 public:
  struct Chunk {
    ChunkState state = ChunkState::free;
    bool packed = false;
    bool demanded = false;   // somebody waited for a piece in it
    bool unwanted = false;   // nothing in it can be found any more, or only an old version
    bool condemned = false;  // goes when its last fill ends
    bool aside = false;      // in the list of held chunks
    uint32_t fills = 0;      // reads that are to write, or write, into it
    uint32_t first_piece = none;
    uint64_t told = 0;        // workers that may know of it; retiring: those yet to answer
    uint32_t used_bytes = 0;  // packed: where the next short piece goes
    uint32_t stamp_ms = 0;    // last use as known when it was put where it is in the list
    uint32_t ready_ms = 0;    // when its latest piece became ready
    Link recency;             // or, aside, in the list of held chunks
  };

  // A leased chunk that its readers have not touched for so long is held by stalled ones.
  static constexpr int32_t leased_idle_ms = 500;
  // A chunk that somebody waited for gets this long to be used for the first time.
  static constexpr int32_t first_use_ms = 20;
  // After so long a chunk that was read ahead and never used is spare.
  static constexpr int32_t unused_ms = 2000;
  // Chunks looked at in one search.
  static constexpr uint32_t search_max = 512;
  // Of the held chunks, as many are looked at even when the others take all of a search.
  static constexpr uint32_t held_search_min = 8;

  /// `uses`: one for each worker; `last_holds`: the last of them is the holder's.
  /// Requires: each covers `count` chunks and outlives this.
  ChunkTable(uint32_t count, std::span<const content::ChunkPins* const> uses, bool last_holds);

  /// Returns none() when no chunk is free. The chunk is `filling` afterwards.
  [[nodiscard]] content::ChunkIndex take(Instant now, bool packed);
  /// Returns none() when none qualifies among those looked at.
  [[nodiscard]] content::ChunkIndex choose_victim(Instant now, Appetite appetite);
  /// The chunk holds something ready now.
  void make_ready(Instant now, content::ChunkIndex chunk);
  /// Makes it the first to go once it is not leased.
  void make_unwanted(content::ChunkIndex chunk);
  /// Returns the workers that must answer; 0: the chunk is free at once.
  /// Requires: no fills; no pieces.
  [[nodiscard]] uint64_t retire(content::ChunkIndex chunk);
  /// A worker answered. Returns true when the chunk became free.
  [[nodiscard]] bool handle_retired(content::ChunkIndex chunk, uint32_t worker);

  /// Some worker holds a lease on it.
  [[nodiscard]] bool is_leased(content::ChunkIndex chunk) const {
    return usage(chunk.value()).leases > 0;
  }

  /// The holder has it pinned.
  [[nodiscard]] bool is_held(content::ChunkIndex chunk) const {
    return holder_ != nullptr && holder_->pins(chunk) > 0;
  }

  [[nodiscard]] Chunk& operator[](content::ChunkIndex chunk) { return chunks_[chunk.value()]; }
  [[nodiscard]] const Chunk& operator[](content::ChunkIndex chunk) const {
    return chunks_[chunk.value()];
  }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(chunks_.size()); }
  [[nodiscard]] uint32_t count(ChunkState state) const {
    return counts_[static_cast<size_t>(state)];
  }

 private:
  struct Usage {
    uint32_t last_ms = 0;
    uint32_t leases = 0;
    bool used = false;  // since it became ready
  };
  [[nodiscard]] Usage usage(uint32_t chunk) const;
  [[nodiscard]] static bool qualifies(const Chunk& chunk, const Usage& usage, int32_t age_ms,
                                      Appetite appetite);
  void set_state(Chunk& chunk, ChunkState state);
  void move_to_back(uint32_t chunk, uint32_t stamp_ms);
  void set_aside(uint32_t chunk);
  void take_back_released(uint32_t steps);
  void unlink(uint32_t chunk);

  FixedArray<const content::ChunkPins*> uses_;
  FixedArray<Chunk> chunks_;
  IndexPool free_;
  IndexList<Chunk, &Chunk::recency> recency_;
  const content::ChunkPins* holder_ = nullptr;
  IndexList<Chunk, &Chunk::recency> held_;
  uint32_t counts_[chunk_state_count] = {};
};

}  // namespace sluice::store
