#include "content/catalog.h"

#include <algorithm>
#include <bit>

namespace sluice::content {
namespace {

using stats::Counter;

// Doubly linked lists over table entries, through a Link member.
template <typename Table, typename List, typename Member>
void push_front(Table& table, List& list, uint32_t entry, Member link) {
  (table[entry].*link) = {list.first, IndexPool::none};
  if (list.first != IndexPool::none) (table[list.first].*link).previous = entry;
  list.first = entry;
  if (list.last == IndexPool::none) list.last = entry;
}

template <typename Table, typename List, typename Member>
void unlink(Table& table, List& list, uint32_t entry, Member link) {
  const auto [next, previous] = table[entry].*link;
  if (previous != IndexPool::none) {
    (table[previous].*link).next = next;
  } else {
    list.first = next;
  }
  if (next != IndexPool::none) {
    (table[next].*link).previous = previous;
  } else {
    list.last = previous;
  }
  (table[entry].*link) = {};
}

uint32_t bucket_count(uint32_t entries) {
  return std::bit_ceil(std::max<uint32_t>(entries, 2));
}

uint32_t tick_ms(Instant now) {
  return static_cast<uint32_t>(now.ns() / 1'000'000);
}

}  // namespace

Catalog::Catalog(const CatalogLimits& limits, ChunkPins& pins, stats::Counters& counters)
    : limits_(limits),
      pins_(pins),
      counters_(counters),
      objects_(limits.objects_max),
      object_pool_(limits.objects_max),
      object_buckets_(bucket_count(limits.objects_max)),
      object_bucket_mask_(static_cast<uint32_t>(object_buckets_.size()) - 1),
      pieces_(limits.pieces_max),
      piece_pool_(limits.pieces_max),
      piece_buckets_(bucket_count(limits.pieces_max)),
      piece_bucket_mask_(static_cast<uint32_t>(piece_buckets_.size()) - 1),
      chunk_pieces_(limits.chunk_count),
      waiters_(limits.waiters_max),
      woken_(limits.waiters_max),
      // One NeedPiece per piece entry and one Retired per chunk can be open at a time; an entry
      // that was declined may be asked for once more before the first message left.
      outbox_(2 * size_t{limits.pieces_max} + limits.chunk_count) {
  ASSERT(limits.pieces_max > limits.waiters_max);
  ASSERT(limits.pieces_max < retired_bit && limits.chunk_count < retired_bit);
  std::fill(object_buckets_.begin(), object_buckets_.end(), none);
  std::fill(piece_buckets_.begin(), piece_buckets_.end(), none);
  std::fill(chunk_pieces_.begin(), chunk_pieces_.end(), none);
}

uint64_t Catalog::memory_bytes(const CatalogLimits& limits) {
  const uint64_t outbox = std::bit_ceil(2 * uint64_t{limits.pieces_max} + limits.chunk_count);
  return uint64_t{limits.objects_max} * (sizeof(Object) + sizeof(uint32_t)) +
         uint64_t{bucket_count(limits.objects_max)} * sizeof(uint32_t) +
         uint64_t{limits.pieces_max} * (sizeof(Piece) + sizeof(uint32_t)) +
         uint64_t{bucket_count(limits.pieces_max)} * sizeof(uint32_t) +
         uint64_t{limits.chunk_count} * sizeof(uint32_t) +
         uint64_t{limits.waiters_max} * (sizeof(Waiter) + 2 * sizeof(uint32_t)) +
         outbox * sizeof(uint32_t);
}

// Objects
// -------------------------------------------------------------------------------------------

uint32_t Catalog::current_entry(const SipDigest& key) const {
  uint32_t entry = object_buckets_[object_bucket(key)];
  while (entry != none && objects_[entry].path_key != key) entry = objects_[entry].hash_next;
  return entry;
}

ObjectHandle Catalog::find_path(Instant now, const SipDigest& path_key) const {
  const uint32_t entry = current_entry(path_key);
  if (entry == none) return ObjectHandle::none();
  const Object& object = objects_[entry];
  if (object.gone || object.epoch != epoch_ || now - object.validated_at > limits_.fresh_for) {
    return ObjectHandle::none();
  }
  return ObjectHandle(entry);
}

void Catalog::unlink_path(uint32_t entry) {
  Object& object = objects_[entry];
  if (!object.current) return;
  uint32_t* at = &object_buckets_[object_bucket(object.path_key)];
  while (*at != entry) at = &objects_[*at].hash_next;
  *at = object.hash_next;
  object.hash_next = none;
  object.current = false;
  if (object.uses == 0) {
    unlink(objects_, unused_objects_, entry, &Object::recency);
    object_pool_.give_back(entry);
  }
}

uint32_t Catalog::take_object_entry() {
  const uint32_t entry = object_pool_.take();
  if (entry != none || unused_objects_.last == none) return entry;
  unlink_path(unused_objects_.last);  // unused and found by path: freed with that
  return object_pool_.take();
}

ObjectHandle Catalog::insert(Instant now, const SipDigest& path_key, const ObjectInfo& info,
                             std::string_view label) {
  uint32_t entry = current_entry(path_key);
  if (entry != none) {
    Object& object = objects_[entry];
    if (object.info.id == info.id && !object.gone) {
      object.validated_at = now;
      object.epoch = epoch_;
      return ObjectHandle(entry);
    }
    unlink_path(entry);
  }
  entry = take_object_entry();
  if (entry == none) return ObjectHandle::none();
  Object& object = objects_[entry];
  object = Object{};
  object.path_key = path_key;
  object.info = info;
  object.validated_at = now;
  object.epoch = epoch_;
  object.label = label;
  object.current = true;
  uint32_t& bucket = object_buckets_[object_bucket(path_key)];
  object.hash_next = bucket;
  bucket = entry;
  push_front(objects_, unused_objects_, entry, &Object::recency);
  return ObjectHandle(entry);
}

void Catalog::forget_path(const SipDigest& path_key) {
  const uint32_t entry = current_entry(path_key);
  if (entry != none) unlink_path(entry);
}

void Catalog::acquire(ObjectHandle handle) {
  Object& object = objects_[handle.value()];
  if (object.uses++ == 0) {
    unlink(objects_, unused_objects_, handle.value(), &Object::recency);
    ++objects_referenced_;
  }
}

void Catalog::release(ObjectHandle handle) {
  Object& object = objects_[handle.value()];
  ASSERT(object.uses > 0);
  if (--object.uses > 0) return;
  --objects_referenced_;
  if (object.current) {
    push_front(objects_, unused_objects_, handle.value(), &Object::recency);
  } else {
    object_pool_.give_back(handle.value());
  }
}

const ObjectInfo& Catalog::info(ObjectHandle object) const {
  return objects_[object.value()].info;
}

std::string_view Catalog::label(ObjectHandle object) const {
  return objects_[object.value()].label;
}

// Pieces
// --------------------------------------------------------------------------------------------

uint32_t Catalog::piece_bucket(ObjectId object, PieceNumber number) const {
  // Not indexed by a peer's bytes, so a plain multiplicative hash does.
  uint64_t mixed = (uint64_t{object.slot} << 32 | object.generation) * 0x9e3779b97f4a7c15ULL;
  mixed = (mixed ^ (mixed >> 29) ^ number) * 0xbf58476d1ce4e5b9ULL;
  return static_cast<uint32_t>(mixed >> 32) & piece_bucket_mask_;
}

uint32_t Catalog::find_piece(ObjectId object, PieceNumber number) const {
  uint32_t entry = piece_buckets_[piece_bucket(object, number)];
  while (entry != none && (pieces_[entry].object != object || pieces_[entry].number != number)) {
    entry = pieces_[entry].hash_next;
  }
  return entry;
}

uint32_t Catalog::add_piece(ObjectId object, PieceNumber number) {
  uint32_t entry = piece_pool_.take();
  if (entry == none) {
    // Forget the ready piece that was used longest ago; the Store still has it.
    if (ready_pieces_.last == none) return none;
    remove_piece(ready_pieces_.last);
    entry = piece_pool_.take();
  }
  Piece& piece = pieces_[entry];
  const uint32_t generation = piece.generation;
  piece = Piece{};
  piece.generation = generation;
  piece.object = object;
  piece.number = number;
  piece.state = PieceState::requested;
  ++requested_;
  uint32_t& bucket = piece_buckets_[piece_bucket(object, number)];
  piece.hash_next = bucket;
  bucket = entry;
  return entry;
}

void Catalog::remove_piece(uint32_t entry) {
  Piece& piece = pieces_[entry];
  ASSERT(piece.first_waiter == none);
  uint32_t* at = &piece_buckets_[piece_bucket(piece.object, piece.number)];
  while (*at != entry) at = &pieces_[*at].hash_next;
  *at = piece.hash_next;
  if (piece.state == PieceState::ready) {
    unlink(pieces_, ready_pieces_, entry, &Piece::recency);
    List in_chunk{chunk_pieces_[piece.extent.chunk.value()], none};
    unlink(pieces_, in_chunk, entry, &Piece::in_chunk);
    chunk_pieces_[piece.extent.chunk.value()] = in_chunk.first;
    counters_.add(Counter::catalog_leases_revoked, piece.leases);
    for (; piece.leases > 0; --piece.leases) pins_.unlease(piece.extent.chunk);
  }
  if (piece.state == PieceState::requested) --requested_;
  piece.state = PieceState::free;
  ++piece.generation;  // revokes every lease
  piece_pool_.give_back(entry);
}

uint32_t Catalog::request(ObjectId object, PieceNumber number, bool prefetch) {
  const uint32_t entry = add_piece(object, number);
  if (entry == none) return none;
  pieces_[entry].prefetch = prefetch;
  counters_.add(prefetch ? Counter::catalog_pieces_prefetched : Counter::catalog_pieces_missed);
  send(entry);
  return entry;
}

void Catalog::read_ahead(const Object& object, PieceNumber from, uint64_t end_bytes) {
  // Entries are kept back for those who wait for a piece now.
  for (uint32_t ahead = 1; ahead <= limits_.readahead_pieces; ++ahead) {
    const PieceNumber number = from + ahead;
    if (uint64_t{number} * limits_.chunk_bytes >= end_bytes) return;
    if (requested_ + limits_.waiters_max + 1 >= limits_.pieces_max) return;
    if (find_piece(object.info.id, number) == none) (void)request(object.info.id, number, true);
  }
}

Catalog::Find Catalog::find(Instant now, ObjectHandle handle, const Range& range, Lease& lease,
                            Extent& out) {
  const Object& object = objects_[handle.value()];
  ASSERT(range.offset_bytes < object.info.size_bytes);
  const auto number = static_cast<PieceNumber>(range.offset_bytes / limits_.chunk_bytes);
  const auto within = static_cast<uint32_t>(range.offset_bytes % limits_.chunk_bytes);

  bool leased = false;
  uint32_t entry = lease.entry;
  if (entry != none) {
    const Piece& piece = pieces_[entry];
    leased = piece.generation == lease.generation && piece.number == number &&
             piece.object == object.info.id;
  }
  if (!leased) {
    drop(lease);
    entry = find_piece(object.info.id, number);
    if (entry == none || pieces_[entry].state != PieceState::ready) {
      return object.gone ? Find::gone : Find::missing;
    }
    Piece& piece = pieces_[entry];
    unlink(pieces_, ready_pieces_, entry, &Piece::recency);
    push_front(pieces_, ready_pieces_, entry, &Piece::recency);
    lease = {entry, piece.generation};
    ++piece.leases;
    pins_.lease(piece.extent.chunk);
    if (!object.gone) read_ahead(object, number, range.end_bytes);
  }

  const Extent& whole = pieces_[entry].extent;
  ASSERT(within < whole.length_bytes);
  out.chunk = whole.chunk;
  out.offset_bytes = whole.offset_bytes + within;
  out.length_bytes = std::min(range.max_bytes, whole.length_bytes - within);
  pins_.touch(whole.chunk, tick_ms(now));
  return Find::here;
}

void Catalog::drop(Lease& lease) {
  if (lease.entry == none) return;
  Piece& piece = pieces_[lease.entry];
  if (piece.generation == lease.generation) {
    ASSERT(piece.leases > 0);
    --piece.leases;
    pins_.unlease(piece.extent.chunk);
  }
  lease = {};
}

void Catalog::wait(ObjectHandle handle, uint64_t offset_bytes, uint32_t waiter_number) {
  const Object& object = objects_[handle.value()];
  const auto number = static_cast<PieceNumber>(offset_bytes / limits_.chunk_bytes);
  Waiter& waiter = waiters_[waiter_number];
  cancel_wait(waiter_number);

  uint32_t entry = find_piece(object.info.id, number);
  const auto tell_now = [&](bool failed) {
    if (!waiter.woken) {
      waiter.woken = true;
      ASSERT(woken_.push(waiter_number));
    }
    waiter.failed = failed;
  };
  if (object.gone) return tell_now(true);
  if (entry != none && pieces_[entry].state == PieceState::ready) return tell_now(false);
  if (entry == none) entry = request(object.info.id, number, false);
  // Every entry is asked for already, by those who went away meanwhile: this response is cut.
  if (entry == none) return tell_now(true);
  Piece& piece = pieces_[entry];
  waiter.piece = entry;
  waiter.link = {none, piece.last_waiter};
  if (piece.last_waiter != none) {
    waiters_[piece.last_waiter].link.next = waiter_number;
  } else {
    piece.first_waiter = waiter_number;
  }
  piece.last_waiter = waiter_number;
}

void Catalog::cancel_wait(uint32_t waiter_number) {
  Waiter& waiter = waiters_[waiter_number];
  waiter.failed = false;
  if (waiter.piece == none) return;
  Piece& piece = pieces_[waiter.piece];
  if (waiter.link.previous != none) {
    waiters_[waiter.link.previous].link.next = waiter.link.next;
  } else {
    piece.first_waiter = waiter.link.next;
  }
  if (waiter.link.next != none) {
    waiters_[waiter.link.next].link.previous = waiter.link.previous;
  } else {
    piece.last_waiter = waiter.link.previous;
  }
  waiter.link = {};
  waiter.piece = none;
}

void Catalog::wake_all(Piece& piece, bool failed) {
  for (uint32_t number = piece.first_waiter; number != none;) {
    Waiter& waiter = waiters_[number];
    const uint32_t next = waiter.link.next;
    waiter.piece = none;
    waiter.link = {};
    waiter.failed = failed;
    if (!waiter.woken) {
      waiter.woken = true;
      ASSERT(woken_.push(number));
    }
    number = next;
  }
  piece.first_waiter = piece.last_waiter = none;
}

bool Catalog::poll_woken(Woken& out) {
  uint32_t number;
  if (!woken_.pop(number)) return false;
  Waiter& waiter = waiters_[number];
  out = {number, waiter.failed};
  waiter.woken = false;
  waiter.failed = false;
  return true;
}

// Messages
// ------------------------------------------------------------------------------------------

void Catalog::send(uint32_t word) {
  const bool sent = outbox_.push(word);
  ASSERT(sent);
}

bool Catalog::poll_message(ToStore& out) {
  for (uint32_t word; outbox_.pop(word);) {
    if ((word & retired_bit) != 0) {
      out = Retired{ChunkIndex(word & ~retired_bit)};
      return true;
    }
    // A Store that answers before it was asked leaves nothing to ask for.
    const Piece& piece = pieces_[word];
    if (piece.state != PieceState::requested) continue;
    out = NeedPiece{piece.object, piece.number, piece.prefetch};
    return true;
  }
  return false;
}

void Catalog::handle(Instant, const PieceReady& message) {
  const uint32_t entry = find_piece(message.object, message.piece);
  if (entry == none || pieces_[entry].state != PieceState::requested) return;
  Piece& piece = pieces_[entry];
  piece.state = PieceState::ready;
  --requested_;
  piece.extent = message.extent;
  push_front(pieces_, ready_pieces_, entry, &Piece::recency);
  List in_chunk{chunk_pieces_[message.extent.chunk.value()], none};
  push_front(pieces_, in_chunk, entry, &Piece::in_chunk);
  chunk_pieces_[message.extent.chunk.value()] = in_chunk.first;
  // Not a use yet: the Store tells what was read ahead in vain by the chunk's last use.
  wake_all(piece, false);
}

void Catalog::handle(Instant, const PieceFailed& message) {
  const uint32_t entry = find_piece(message.object, message.piece);
  if (entry != none && pieces_[entry].state == PieceState::requested) {
    Piece& piece = pieces_[entry];
    if (message.reason == PieceFailure::declined && piece.first_waiter != none) {
      piece.prefetch = false;
      send(entry);
      return;
    }
    wake_all(piece, true);
    remove_piece(entry);
  }
  if (message.reason != PieceFailure::stale) return;
  // No index by ObjectId: a stale version is rare, and the table is small and walked once.
  for (uint32_t i = 0; i < limits_.objects_max; ++i) {
    if (!object_pool_.is_taken(i) || objects_[i].info.id != message.object) continue;
    objects_[i].gone = true;
    unlink_path(i);
  }
}

void Catalog::handle(Instant, const Retire& message) {
  while (chunk_pieces_[message.chunk.value()] != none) {
    remove_piece(chunk_pieces_[message.chunk.value()]);
  }
  pins_.watch(message.chunk);
}

void Catalog::handle(Instant, const Revalidate&) {
  ++epoch_;
}

void Catalog::handle_released(ChunkIndex chunk) {
  send(chunk.value() | retired_bit);
}

}  // namespace sluice::content
