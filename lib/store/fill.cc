// Store: from a version of a file to its bytes in the arena.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "store/store.h"

namespace sluice::store {

using content::NeedPiece;
using content::PieceFailed;
using content::PieceFailure;
using stats::Counter;

namespace {

// Reads of one piece in a row that may bring nothing new before it counts as an I/O error.
constexpr uint8_t idle_reads_max = 4;

uint32_t align_up(uint32_t bytes) {
  return (bytes + io_align_bytes - 1) / io_align_bytes * io_align_bytes;
}

uint32_t align_down(uint32_t bytes) {
  return bytes / io_align_bytes * io_align_bytes;
}

}  // namespace

uint32_t Store::piece_length(const Object& object, content::PieceNumber number) const {
  const uint64_t start = uint64_t{number} * config_.chunk_bytes;
  if (start >= object.version.size_bytes) return 0;
  return static_cast<uint32_t>(
      std::min<uint64_t>(object.version.size_bytes - start, config_.chunk_bytes));
}

void Store::handle_need(Instant now, uint32_t worker, const NeedPiece& need) {
  counters_.add(Counter::store_pieces_asked);
  const uint64_t bit = uint64_t{1} << worker;
  const uint32_t slot = objects_.find(need.object);
  if (slot == none) {
    answer_failed(worker, {need.object, need.piece, PieceFailure::stale});
    return;
  }
  Object& object = objects_[slot];
  objects_.touch(slot);
  uint32_t entry = pieces_.find(slot, need.piece);
  if (entry != none && pieces_[entry].state == PieceState::ready) {
    counters_.add(Counter::store_piece_hits);
    ChunkTable::Chunk& chunk = chunks_[pieces_[entry].extent.chunk];
    chunk.told |= bit;
    chunk.demanded |= !need.prefetch;
    send(worker, content::PieceReady{need.object, need.piece, pieces_[entry].extent});
    return;
  }
  const uint32_t length_bytes = piece_length(object, need.piece);
  if (object.stale || length_bytes == 0) {
    answer_failed(worker, {need.object, need.piece, PieceFailure::stale});
    return;
  }
  if (needs_open_[worker] >= config_.needs_max) {
    counters_.add(Counter::store_needs_refused);
    const auto reason = need.prefetch ? PieceFailure::declined : PieceFailure::io_error;
    answer_failed(worker, {need.object, need.piece, reason});
    return;
  }
  bool is_new = false;
  if (entry != none) {
    counters_.add(Counter::store_piece_joins);
  } else {
    if (need.prefetch && !has_room_for_read_ahead(now, length_bytes)) {
      answer_failed(worker, {need.object, need.piece, PieceFailure::declined});
      return;
    }
    entry = add_piece(slot, need.piece);
    is_new = true;
  }
  Piece& piece = pieces_[entry];
  ASSERT((piece.waiting & bit) == 0);  // one question a worker for a piece
  piece.waiting |= bit;
  ++needs_open_[worker];
  const bool became_demanded = !need.prefetch && !piece.demanded;
  piece.demanded |= became_demanded;
  if (is_new) {
    begin_piece(now, entry);
  } else if (became_demanded && piece.state == PieceState::queued) {
    ++demanded_in_queue_;
  }
}

uint32_t Store::add_piece(uint32_t slot, content::PieceNumber number) {
  Object& object = objects_[slot];
  const uint32_t entry = pieces_.add(slot, number);
  pieces_[entry].extent.length_bytes = piece_length(object, number);
  pieces_.link(object.first_piece, entry, &Piece::in_object);
  ++object.pieces;
  ++object.holds;
  return entry;
}

// Short pieces that fit in the open pack do not queue behind those that need a chunk.
void Store::begin_piece(Instant now, uint32_t entry) {
  Piece& piece = pieces_[entry];
  const uint32_t room_bytes = align_up(piece.extent.length_bytes);
  if (room_bytes < config_.chunk_bytes && fits_in_pack(room_bytes)) {
    const bool placed = place(now, piece);
    ASSERT(placed);
    start_fill(entry);
    return;
  }
  if (!chunk_queue_.empty() || chunks_.count(ChunkState::free) == 0) {
    counters_.add(Counter::store_waits);
  }
  chunk_queue_.push_back(pieces_.entries(), entry);
  if (piece.demanded) ++demanded_in_queue_;
}

// Finds room for the piece. Returns false when there is none now.
bool Store::place(Instant now, Piece& piece) {
  const uint32_t length_bytes = align_up(piece.extent.length_bytes);
  const bool is_short = length_bytes < config_.chunk_bytes;
  content::ChunkIndex where = open_pack_;
  if (!is_short || !fits_in_pack(length_bytes)) {
    where = chunks_.take(now, is_short);
    if (where.is_none()) return false;
  }
  ChunkTable::Chunk& chunk = chunks_[where];
  piece.extent.chunk = where;
  piece.extent.offset_bytes = chunk.used_bytes;
  chunk.used_bytes += length_bytes;
  chunk.unwanted = false;
  ++chunk.fills;
  // Of two packs, the one with more room stays open.
  if (is_short && (open_pack_.is_none() || chunk.used_bytes < chunks_[open_pack_].used_bytes)) {
    open_pack_ = where;
  }
  return true;
}

void Store::start_fill(uint32_t entry) {
  counters_.add(Counter::store_fills);
  Object& object = objects_[pieces_[entry].object];
  if (object.file == none) {
    want_file(entry);
    return;
  }
  files_.use(object.file);
  queue_read(entry);
}

void Store::want_file(uint32_t entry) {
  Piece& piece = pieces_[entry];
  Object& object = objects_[piece.object];
  piece.state = PieceState::opening;
  piece.turn = {};
  (object.waiting_last != none ? pieces_[object.waiting_last].turn.next : object.waiting_first) =
      entry;
  object.waiting_last = entry;
  if (object.wants_file) return;
  object.wants_file = true;
  uint32_t opening = openings_.find(object.path_key);
  if (opening == none) opening = open_path(object.path_key, {});
  object.next_wanting = openings_[opening].first_wanting;
  openings_[opening].first_wanting = piece.object;
}

void Store::queue_read(uint32_t entry) {
  pieces_[entry].state = PieceState::reading;
  read_queue_.push_back(pieces_.entries(), entry);
}

bool Store::poll_read(IoRequest& out) {
  if (reads_in_flight_ >= config_.reads_in_flight) return false;
  const uint32_t entry = read_queue_.pop_front(pieces_.entries());
  if (entry == none) return false;
  const Piece& piece = pieces_[entry];
  ++reads_in_flight_;
  counters_.add(Counter::store_reads);
  out = {.kind = IoKind::read, .token = entry, .file = objects_[piece.object].file};
  out.offset_bytes = uint64_t{piece.number} * config_.chunk_bytes + piece.done_bytes;
  out.extent = {piece.extent.chunk, piece.extent.offset_bytes + piece.done_bytes,
                piece.extent.length_bytes - piece.done_bytes};
  return true;
}

void Store::handle_read(Instant now, const IoCompletion& completion) {
  const uint32_t entry = completion.token;
  ASSERT(entry < pieces_.size() && pieces_[entry].state == PieceState::reading);
  const uint32_t slot = pieces_[entry].object;
  Object& object = objects_[slot];
  --reads_in_flight_;
  counters_.add(Counter::store_read_bytes, completion.bytes);

  if (completion.error == ESTALE) make_stale(slot);
  if (completion.has_facts && !is_still(slot, completion.facts)) make_stale(slot);
  const bool failed = completion.error != 0 || !completion.has_facts;
  if (!object.stale && !failed) {
    continue_read(now, entry, completion.bytes);
    return;
  }
  if (failed && !object.stale) counters_.add(Counter::store_read_errors);
  files_.unuse(now, object.file);
  fail_piece(entry, object.stale ? PieceFailure::stale : PieceFailure::io_error);
}

// Whether the file behind the object has the bytes of its version still. A file that was unlinked,
// or replaced by a rename, keeps its bytes but not its ctime: that one change is forgiven.
bool Store::is_still(uint32_t slot, const FileFacts& facts) {
  Object& object = objects_[slot];
  if (facts.version == object.version) return true;
  if (facts.links != 0 || object.orphaned) return false;
  Version version = facts.version;
  version.changed_ns = object.version.changed_ns;
  if (version != object.version) return false;
  object.version = facts.version;
  object.orphaned = true;
  object.validated = false;
  return true;
}

void Store::continue_read(Instant now, uint32_t entry, uint32_t arrived_bytes) {
  Piece& piece = pieces_[entry];
  const uint32_t before = piece.done_bytes;
  const uint32_t wanted = piece.extent.length_bytes - before;
  ASSERT(arrived_bytes <= wanted);
  if (arrived_bytes == wanted) {
    files_.unuse(now, objects_[piece.object].file);
    finish_piece(now, entry);
    return;
  }
  counters_.add(Counter::store_reads_short);
  // Direct reads begin at multiples of a block: an unaligned rest is read again.
  piece.done_bytes = align_down(before + arrived_bytes);
  piece.attempts =
      piece.done_bytes > before ? uint8_t{0} : static_cast<uint8_t>(piece.attempts + 1);
  if (piece.attempts >= idle_reads_max) {
    counters_.add(Counter::store_read_errors);
    files_.unuse(now, objects_[piece.object].file);
    fail_piece(entry, PieceFailure::io_error);
    return;
  }
  read_queue_.push_back(pieces_.entries(), entry);
}

void Store::finish_piece(Instant now, uint32_t entry) {
  counters_.add(Counter::store_fills_done);
  Piece& piece = pieces_[entry];
  piece.state = PieceState::ready;
  --objects_[piece.object].holds;
  ChunkTable::Chunk& chunk = chunks_[piece.extent.chunk];
  ASSERT(chunk.fills > 0);
  --chunk.fills;
  chunk.demanded |= piece.demanded;
  chunk.told |= piece.waiting;
  pieces_.link(chunk.first_piece, entry, &Piece::in_chunk);
  chunks_.make_ready(now, piece.extent.chunk);
  const content::ObjectId id = objects_.id(piece.object);
  for (uint64_t waiting = piece.waiting; waiting != 0; waiting &= waiting - 1) {
    const auto worker = static_cast<uint32_t>(std::countr_zero(waiting));
    --needs_open_[worker];
    send(worker, content::PieceReady{id, piece.number, piece.extent});
  }
  piece.waiting = 0;
  if (chunk.condemned && chunk.fills == 0) take_away(piece.extent.chunk);
}

// Requires: the piece is in no queue.
void Store::fail_piece(uint32_t entry, PieceFailure reason) {
  Piece& piece = pieces_[entry];
  Object& object = objects_[piece.object];
  ASSERT(piece.state != PieceState::ready);
  for (uint64_t waiting = piece.waiting; waiting != 0; waiting &= waiting - 1) {
    const auto worker = static_cast<uint32_t>(std::countr_zero(waiting));
    --needs_open_[worker];
    answer_failed(worker, {objects_.id(piece.object), piece.number, reason});
  }
  release_space(piece);
  pieces_.unlink(object.first_piece, entry, &Piece::in_object);
  --object.pieces;
  --object.holds;
  pieces_.remove(entry);
}

void Store::answer_failed(uint32_t worker, const PieceFailed& answer) {
  switch (answer.reason) {
    case PieceFailure::stale:
      counters_.add(Counter::store_failed_stale);
      break;
    case PieceFailure::io_error:
      counters_.add(Counter::store_failed_io_error);
      break;
    case PieceFailure::declined:
      counters_.add(Counter::store_declined);
      break;
  }
  send(worker, answer);
}

// The room of a piece that was not filled. In a pack it stays lost until the pack goes, unless
// nothing else is in it.
void Store::release_space(Piece& piece) {
  if (piece.extent.chunk.is_none()) return;
  ChunkTable::Chunk& chunk = chunks_[piece.extent.chunk];
  ASSERT(chunk.fills > 0);
  --chunk.fills;
  if (chunk.condemned && chunk.fills == 0) {
    take_away(piece.extent.chunk);
    return;
  }
  if (chunk.fills > 0 || chunk.first_piece != none) return;
  if (chunk.told != 0) {
    chunks_.make_unwanted(piece.extent.chunk);
    return;
  }
  if (piece.extent.chunk == open_pack_) open_pack_ = content::ChunkIndex::none();
  const uint64_t told = chunks_.retire(piece.extent.chunk);
  ASSERT(told == 0);
}

void Store::make_stale(uint32_t slot) {
  Object& object = objects_[slot];
  if (object.stale) return;
  counters_.add(Counter::store_stale);
  object.stale = true;
  objects_.supersede(slot);
  make_unwanted(object);
}

// What is in the arena of it goes first when room is needed.
void Store::make_unwanted(const Object& object) {
  for (uint32_t entry = object.first_piece; entry != none; entry = pieces_[entry].in_object.next) {
    const Piece& piece = pieces_[entry];
    if (piece.state == PieceState::ready && !chunks_[piece.extent.chunk].packed) {
      chunks_.make_unwanted(piece.extent.chunk);
    }
  }
}

}  // namespace sluice::store
