// Store: from bytes that are not needed most to room for others.
#include <algorithm>
#include <bit>

#include "store/store.h"

namespace sluice::store {

using content::ChunkIndex;
using stats::Counter;

namespace {

// A search that found no chunk to take back is not repeated sooner. When somebody waits, this is
// how long a chunk whose last lease was dropped may go unnoticed.
constexpr Duration search_every = 500_us;
// A demand that has waited so long takes chunks that are in use: one in each such interval.
constexpr Duration starving_after = 2_s;
constexpr Duration starving_every = 10_ms;

}  // namespace

uint32_t Store::room_coming() const {
  return chunks_.count(ChunkState::free) + chunks_.count(ChunkState::retiring);
}

bool Store::fits_in_pack(uint32_t length_bytes) const {
  return !open_pack_.is_none() &&
         chunks_[open_pack_].used_bytes + length_bytes <= config_.chunk_bytes;
}

// Read-ahead waits for a chunk only if one is on its way that nobody else waits for; and it takes
// back only what is spare.
bool Store::has_room_for_read_ahead(Instant now, uint32_t length_bytes) {
  if (fits_in_pack(length_bytes)) return true;
  if (demanded_in_queue_ > 0) return false;
  if (room_coming() > chunk_queue_.size()) return true;
  if (now < spare_search_after_) return false;
  const ChunkIndex victim = chunks_.choose_victim(now, Appetite::spare);
  if (victim.is_none()) {
    spare_search_after_ = now + search_every;
    return false;
  }
  evict(victim);
  return true;
}

void Store::make_room(Instant now) {
  do {
    assign_chunks(now);
    take_back(now);
  } while (!chunk_queue_.empty() && chunks_.count(ChunkState::free) > 0);
  // Retired and completions come here by themselves: only a search that found nothing is repeated.
  const bool search_due = !chunk_queue_.empty() && demand_search_after_ > now;
  room_retry_at_ = search_due ? demand_search_after_ : Instant::never();
}

// In the order in which they came.
void Store::assign_chunks(Instant now) {
  while (!chunk_queue_.empty()) {
    const uint32_t entry = chunk_queue_.first();
    Piece& piece = pieces_[entry];
    const bool stale = objects_[piece.object].stale;
    if (!stale && !place(now, piece)) return;
    chunk_queue_.remove(pieces_.entries(), entry);
    if (piece.demanded) --demanded_in_queue_;
    if (stale) {
      fail_piece(entry, content::PieceFailure::stale);
    } else {
      start_fill(entry);
    }
  }
}

void Store::take_back(Instant now) {
  while (now >= spare_search_after_ && room_coming() < reserve_chunks_ + chunk_queue_.size()) {
    const ChunkIndex victim = chunks_.choose_victim(now, Appetite::spare);
    if (victim.is_none()) spare_search_after_ = now + search_every;
    if (!victim.is_none()) evict(victim);
  }
  while (now >= demand_search_after_ && room_coming() < demanded_in_queue_) {
    ChunkIndex victim = chunks_.choose_victim(now, Appetite::demand);
    if (victim.is_none()) {
      decline_read_ahead();
      victim = chunks_.choose_victim(now, Appetite::force);
    }
    if (!victim.is_none()) {
      starving_since_ = Instant::never();
      evict(victim);
      continue;
    }
    // Every chunk is leased and in use. For a while that is as it should be; then chunks are taken
    // one by one, slowly enough that those in the middle of one get on with it.
    demand_search_after_ = now + search_every;
    starving_since_ = std::min(starving_since_, now);
    if (now - starving_since_ < starving_after) break;
    demand_search_after_ = now + starving_every;
    victim = chunks_.choose_victim(now, Appetite::must);
    if (!victim.is_none()) evict(victim);
  }
  if (demanded_in_queue_ == 0) starving_since_ = Instant::never();
  if (room_coming() == 0 && demanded_in_queue_ == 0) decline_read_ahead();
}

// Requires: no fills in it.
void Store::evict(ChunkIndex index) {
  counters_.add(Counter::store_evictions);
  if (chunks_.is_leased(index)) counters_.add(Counter::store_revocations);
  take_away(index);
}

// Requires: no fills in it.
void Store::take_away(ChunkIndex index) {
  ChunkTable::Chunk& chunk = chunks_[index];
  while (chunk.first_piece != none) remove_ready_piece(chunk.first_piece);
  if (index == open_pack_) open_pack_ = ChunkIndex::none();
  for (uint64_t told = chunks_.retire(index); told != 0; told &= told - 1) {
    send(static_cast<uint32_t>(std::countr_zero(told)), content::Retire{index});
  }
}

// A worker serves from a chunk that it knows until it is told to forget it: so the chunk goes as a
// whole, at once, or when the last fill of another piece in it has ended.
void Store::handle_discard(const content::Discard& discard) {
  const uint32_t slot = objects_.find(discard.object);
  const uint32_t entry = slot == none ? none : pieces_.find(slot, discard.piece);
  if (entry == none || pieces_[entry].state != PieceState::ready) return;
  counters_.add(Counter::store_discards);
  const ChunkIndex index = pieces_[entry].extent.chunk;
  ChunkTable::Chunk& chunk = chunks_[index];
  if (chunk.fills == 0) {
    take_away(index);
    return;
  }
  chunk.condemned = true;
  if (index == open_pack_) open_pack_ = ChunkIndex::none();
  while (chunk.first_piece != none) remove_ready_piece(chunk.first_piece);
}

// It is found no more; its bytes stay until the chunk is taken back.
void Store::remove_ready_piece(uint32_t entry) {
  Piece& piece = pieces_[entry];
  ASSERT(piece.state == PieceState::ready);
  Object& object = objects_[piece.object];
  pieces_.unlink(chunks_[piece.extent.chunk].first_piece, entry, &Piece::in_chunk);
  pieces_.unlink(object.first_piece, entry, &Piece::in_object);
  --object.pieces;
  pieces_.remove(entry);
}

// Those in the queue that nobody waits for make way.
void Store::decline_read_ahead() {
  uint32_t entry = chunk_queue_.first();
  while (entry != none) {
    const uint32_t next = pieces_[entry].turn.next;
    if (!pieces_[entry].demanded) {
      chunk_queue_.remove(pieces_.entries(), entry);
      fail_piece(entry, content::PieceFailure::declined);
    }
    entry = next;
  }
}

}  // namespace sluice::store
