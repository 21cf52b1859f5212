#include "replica/keeper.h"

#include <algorithm>

#include "base/assert.h"
#include "replica/overlay.h"

namespace sluice::replica {
namespace {

using content::Catalog;
using stats::Counter;

// The first lookup may overtake the Describe: it is repeated at once.
constexpr Duration retry_min = 1_ms;
constexpr Duration retry_max = 1_s;
constexpr Duration progress_every = 100_ms;
// A rotten piece whose chunk the Store has not asked back by then is looked for again.
constexpr Duration discard_patience = 1_s;
constexpr size_t discards_max = 256;

}  // namespace

Keeper::Keeper(const Parts& parts)
    : parts_(parts),
      slots_(parts.config.fetch_window),
      ticket_pool_(keeper_lookups_max),
      outbox_(keeper_lookups_max + discards_max),
      held_in_chunk_(parts.config.chunk_count),
      suspects_(64) {}

// Tasks ------------------------------------------------------------------------------------------

void Keeper::hold(Instant now, GenerationId id) {
  const KnownGeneration* generation = parts_.generations.find(id);
  ASSERT(generation != nullptr);
  if (const auto known = holds_.find(id); known != holds_.end()) {
    ++known->second.unanswered;
    known->second.progress_at = now;
    if (known->second.lingers) take_up(now, known->second);
    complete_if_whole(known->second);
    return;
  }
  const uint64_t size_bytes = generation->size_bytes;
  if (promised_bytes_ - lingering_bytes_ + size_bytes > parts_.config.hold_bytes_max) {
    parts_.counters.add(Counter::replica_holds_failed);
    events_.push_back(Held{id, HoldResult::no_room});
    return;
  }
  while (promised_bytes_ + size_bytes > parts_.config.hold_bytes_max) {
    parts_.counters.add(Counter::replica_superseded_cut);
    release(GenerationId(lingering_.front()));
  }
  promised_bytes_ += generation->size_bytes;
  Hold& hold = holds_[id];
  hold.id = id;
  hold.unanswered = 1;
  hold.size_bytes = generation->size_bytes;
  hold.pieces.resize(generation->pieces());
  hold.retry_at = hold.progress_at = hold.progress_told_at = now;
  incomplete_.push_back(id);
  pump_due_ = true;
}

void Keeper::release(GenerationId id) {
  const auto at = holds_.find(id);
  if (at == holds_.end()) return;
  Hold& hold = at->second;
  free_slots(id);
  for (uint32_t piece = 0; piece < hold.pieces.size(); ++piece) let_go(hold, piece);
  if (!hold.object.is_none()) parts_.catalog.release(hold.object);
  promised_bytes_ -= hold.size_bytes;
  if (hold.lingers) {
    lingering_bytes_ -= hold.size_bytes;
    std::erase(lingering_, id);
  }
  answer(hold, HoldResult::cancelled);
  std::erase(incomplete_, id);
  holds_.erase(at);
  pump_due_ = true;
}

void Keeper::linger(GenerationId id) {
  const auto at = holds_.find(id);
  if (at == holds_.end() || at->second.lingers) return;
  Hold& hold = at->second;
  if (hold.object.is_none()) return release(id);  // nothing of it is here
  free_slots(id);
  answer(hold, HoldResult::cancelled);
  std::erase(incomplete_, id);
  hold.lingers = true;
  lingering_.push_back(id);
  lingering_bytes_ += hold.size_bytes;
  pump_due_ = true;
}

// It lingered, and is to be held again.
void Keeper::take_up(Instant now, Hold& hold) {
  hold.lingers = false;
  std::erase(lingering_, hold.id);
  lingering_bytes_ -= hold.size_bytes;
  hold.phase = Phase::filling;
  hold.cursor = 0;
  hold.retry_at = hold.progress_told_at = now;
  incomplete_.push_back(hold.id);
  pump_due_ = true;
}

content::ObjectHandle Keeper::object_of(GenerationId id) const {
  const auto at = holds_.find(id);
  return at != holds_.end() ? at->second.object : content::ObjectHandle::none();
}

std::vector<Keeper::Filling> Keeper::filling() const {
  std::vector<Filling> out;
  for (const GenerationId id : incomplete_) out.push_back({id, holds_.find(id)->second.bytes_held});
  return out;
}

// Lookups ----------------------------------------------------------------------------------------

SipDigest Keeper::key_of(std::string_view path) const {
  return siphash24_128(parts_.config.nonce_key, as_byte_span(path));
}

uint32_t Keeper::take_ticket(std::string_view path, GenerationId generation) {
  const uint32_t ticket = ticket_pool_.take();
  if (ticket == none) return none;
  tickets_[ticket].path = path;
  tickets_[ticket].generation = generation;
  const bool pushed = outbox_.push(content::Lookup{ticket, tickets_[ticket].path});
  ASSERT(pushed);
  return ticket;
}

void Keeper::ask_lookup(Hold& hold) {
  if (take_ticket(internal_name(hold.id).view(), hold.id) == none) return;  // others are first
  hold.phase = Phase::looking;
}

void Keeper::handle(Instant now, const content::LookupAnswer& answer) {
  ASSERT(answer.ticket < keeper_lookups_max && ticket_pool_.is_taken(answer.ticket));
  const Ticket& ticket = tickets_[answer.ticket];
  const GenerationId id = ticket.generation;
  const SipDigest key = key_of(ticket.path);
  ticket_pool_.give_back(answer.ticket);
  pump_due_ = true;
  if (id.is_none()) return handle_ingest_answer(now, answer);
  const auto at = holds_.find(id);
  if (at == holds_.end() || at->second.phase != Phase::looking) return;  // released meanwhile
  Hold& hold = at->second;
  const bool is_it =
      answer.status == content::LookupStatus::found && answer.info.size_bytes == hold.size_bytes;
  if (is_it) hold.object = parts_.catalog.insert(now, key, answer.info, {});
  if (!is_it || hold.object.is_none()) {
    // The Overlay may not know of it yet, or a table is full.
    hold.phase = Phase::lookup_due;
    back_off(now, hold);
    return;
  }
  parts_.catalog.acquire(hold.object);
  hold.phase = Phase::filling;
  complete_if_whole(hold);  // an empty file
}

// Filling ----------------------------------------------------------------------------------------

uint32_t Keeper::length_of(const Hold& hold, content::PieceNumber piece) const {
  const uint64_t start = uint64_t{piece} * parts_.config.chunk_bytes;
  return static_cast<uint32_t>(
      std::min<uint64_t>(parts_.config.chunk_bytes, hold.size_bytes - start));
}

void Keeper::pump(Instant now) {
  pump_due_ = false;
  for (size_t i = 0; i < incomplete_.size();) {
    const GenerationId id = incomplete_[i];
    Hold& hold = holds_.find(id)->second;
    if (hold.retry_at <= now) {
      if (hold.phase == Phase::lookup_due) ask_lookup(hold);
      if (hold.phase == Phase::filling) fill(now, hold);
    }
    // Complete, it took itself off the list.
    if (i < incomplete_.size() && incomplete_[i] == id) ++i;
  }
  pump_ingest(now);
}

void Keeper::fill(Instant now, Hold& hold) {
  while (hold.phase == Phase::filling && hold.retry_at <= now && slots_used_ < slots_.size()) {
    while (hold.cursor < hold.pieces.size() &&
           hold.pieces[hold.cursor].state != PieceState::missing) {
      ++hold.cursor;
    }
    if (hold.cursor == hold.pieces.size()) return;
    uint32_t slot = 0;
    while (slots_[slot].used) ++slot;
    slots_[slot] = {true, hold.id, hold.cursor};
    ++slots_used_;
    ++hold.under_way;
    hold.pieces[hold.cursor].state = PieceState::asked;
    look(now, hold, slot);
  }
}

void Keeper::look(Instant now, Hold& hold, uint32_t slot_number) {
  Slot& slot = slots_[slot_number];
  const uint64_t offset = uint64_t{slot.piece} * parts_.config.chunk_bytes;
  const uint32_t length = length_of(hold, slot.piece);
  const Catalog::Range range{
      .offset_bytes = offset, .max_bytes = length, .end_bytes = offset + length};
  content::Lease lease;
  content::Extent extent;
  switch (parts_.catalog.find(now, hold.object, range, lease, extent)) {
    case Catalog::Find::here: {
      parts_.pins.pin(extent.chunk);
      parts_.catalog.drop(lease);
      const content::PieceNumber piece = slot.piece;
      slot.used = false;
      --slots_used_;
      --hold.under_way;
      take(now, hold, piece, extent);
      return;
    }
    case Catalog::Find::missing:
      parts_.catalog.wait(hold.object, offset, parts_.first_waiter + slot_number);
      return;
    case Catalog::Find::gone:
      restart(now, hold);
      return;
  }
}

void Keeper::handle_woken(Instant now, const Catalog::Woken& woken) {
  pump_due_ = true;
  const uint32_t number = woken.waiter - parts_.first_waiter;
  if (number >= slots_.size())
    return look_ingest(now, number - static_cast<uint32_t>(slots_.size()));
  Slot& slot = slots_[number];
  if (!slot.used) return;  // released meanwhile
  Hold& hold = holds_.find(slot.generation)->second;
  if (!woken.failed) return look(now, hold, number);
  hold.pieces[slot.piece].state = PieceState::missing;
  hold.cursor = std::min(hold.cursor, slot.piece);
  slot.used = false;
  --slots_used_;
  --hold.under_way;
  // Stale: its object is another one by now.
  const Catalog::Range range{.offset_bytes = uint64_t{slot.piece} * parts_.config.chunk_bytes,
                             .max_bytes = 1,
                             .end_bytes = uint64_t{slot.piece} * parts_.config.chunk_bytes + 1};
  content::Lease lease;
  content::Extent extent;
  const Catalog::Find found = parts_.catalog.find(now, hold.object, range, lease, extent);
  parts_.catalog.drop(lease);
  if (found == Catalog::Find::gone) return restart(now, hold);
  back_off(now, hold);
}

void Keeper::take(Instant now, Hold& hold, content::PieceNumber number,
                  const content::Extent& extent) {
  Piece& piece = hold.pieces[number];
  piece = {extent.chunk, extent.offset_bytes, PieceState::held};
  ++held_in_chunk_[extent.chunk.value()];
  ++hold.pieces_held;
  ++held_pieces_;
  hold.bytes_held += extent.length_bytes;
  held_bytes_ += extent.length_bytes;
  hold.failures = 0;
  hold.progress_at = now;
  if (now - hold.progress_told_at >= progress_every) {
    hold.progress_told_at = now;
    events_.push_back(Progress{hold.id});
  }
  complete_if_whole(hold);
}

void Keeper::complete_if_whole(Hold& hold) {
  const bool is_whole = (hold.phase == Phase::filling || hold.phase == Phase::complete) &&
                        hold.pieces_held == hold.pieces.size();
  if (!is_whole) return;
  if (hold.phase != Phase::complete) std::erase(incomplete_, hold.id);
  hold.phase = Phase::complete;
  hold.was_lost = false;
  answer(hold, HoldResult::verified);
}

// A piece of it is gone.
void Keeper::reopen(Instant now, Hold& hold) {
  if (hold.phase != Phase::complete || hold.lingers) return;
  hold.phase = Phase::filling;
  hold.progress_at = now;
  incomplete_.push_back(hold.id);
}

// Each HoldTask gets its own answer.
void Keeper::answer(Hold& hold, HoldResult result) {
  for (; hold.unanswered > 0; --hold.unanswered) events_.push_back(Held{hold.id, result});
}

void Keeper::let_go(Hold& hold, content::PieceNumber number) {
  Piece& piece = hold.pieces[number];
  if (piece.state != PieceState::held && piece.state != PieceState::rotten) return;
  const uint32_t length = length_of(hold, number);
  --held_in_chunk_[piece.chunk.value()];
  if (piece.state == PieceState::held) {
    --hold.pieces_held;
    --held_pieces_;
    hold.bytes_held -= length;
    held_bytes_ -= length;
  }
  if (piece.state == PieceState::rotten) --hold.rotten;
  parts_.pins.unpin(piece.chunk);
  piece = Piece{};
  hold.cursor = std::min(hold.cursor, number);
}

// Its object can be read no more: it is looked up, and asked for, anew.
void Keeper::restart(Instant now, Hold& hold) {
  free_slots(hold.id);
  for (uint32_t piece = 0; piece < hold.pieces.size(); ++piece) {
    let_go(hold, piece);
    hold.pieces[piece].state = PieceState::missing;
  }
  hold.cursor = 0;
  parts_.catalog.release(hold.object);
  hold.object = content::ObjectHandle::none();
  hold.phase = Phase::lookup_due;
  back_off(now, hold);
}

void Keeper::back_off(Instant now, Hold& hold) {
  const uint32_t doublings = std::min<uint32_t>(hold.failures++, 10);
  hold.retry_at = now + std::min(retry_min * (int64_t{1} << doublings), retry_max);
}

void Keeper::free_slots(GenerationId id) {
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (!slot.used || slot.generation != id) continue;
    parts_.catalog.cancel_wait(parts_.first_waiter + i);
    Hold& hold = holds_.find(id)->second;
    hold.pieces[slot.piece].state = PieceState::missing;
    hold.cursor = std::min(hold.cursor, slot.piece);
    --hold.under_way;
    slot.used = false;
    --slots_used_;
  }
}

void Keeper::handle(Instant now, const content::Retire& retire) {
  if (held_in_chunk_[retire.chunk.value()] == 0) return;
  for (auto& [id, hold] : holds_) {
    for (uint32_t number = 0; number < hold.pieces.size(); ++number) {
      const Piece& piece = hold.pieces[number];
      const bool is_pinned = piece.state == PieceState::held || piece.state == PieceState::rotten;
      if (!is_pinned || piece.chunk != retire.chunk) continue;
      parts_.counters.add(Counter::replica_holds_lost);
      let_go(hold, number);
      reopen(now, hold);
    }
  }
  pump_due_ = true;
}

// Time -------------------------------------------------------------------------------------------

// The Store had nothing to take back: it did so before.
void Keeper::check_rotten(Instant now, Hold& hold) {
  if (hold.rotten == 0 || now - hold.rotten_at < discard_patience) return;
  for (uint32_t number = 0; number < hold.pieces.size(); ++number) {
    if (hold.pieces[number].state == PieceState::rotten) let_go(hold, number);
  }
  pump_due_ = true;
}

void Keeper::check_patience(Instant now, Hold& hold) {
  const bool has_turn =
      hold.phase != Phase::filling || hold.under_way > 0 || slots_used_ < slots_.size();
  if (!has_turn) hold.progress_at = now;
  if (now - hold.progress_at < parts_.config.fetch_patience * hold_patience_factor) return;
  hold.progress_at = now;
  // It goes on trying: the Directory asks again some time.
  if (hold.unanswered > 0) {
    parts_.counters.add(Counter::replica_holds_failed);
    hold.was_lost = true;
    answer(hold, HoldResult::no_source);
  } else if (!hold.was_lost) {
    hold.was_lost = true;
    events_.push_back(Lost{hold.id});
  }
}

void Keeper::handle_timeout(Instant now) {
  for (const GenerationId id : incomplete_) {
    Hold& hold = holds_.find(id)->second;
    check_rotten(now, hold);
    check_patience(now, hold);
  }
  scrub(now);
  pump(now);
  parts_.counters.set(Counter::replica_held_pieces, held_pieces_);
  parts_.counters.set(Counter::replica_held_bytes, held_bytes_);
}

Instant Keeper::next_timeout() const {
  if (pump_due_) return Instant();
  Instant next = ingests_.empty() || ingests_.front().phase != Phase::lookup_due
                     ? Instant::never()
                     : ingests_.front().retry_at;
  next = std::min(next, scrub_timeout());
  for (const GenerationId id : incomplete_) {
    const Hold& hold = holds_.find(id)->second;
    next = std::min(next, hold.progress_at + parts_.config.fetch_patience * hold_patience_factor);
    if (hold.rotten > 0) next = std::min(next, hold.rotten_at + discard_patience);
    const bool has_more = hold.phase == Phase::lookup_due
                              ? ticket_pool_.available() > 0
                              : hold.phase == Phase::filling && hold.cursor < hold.pieces.size() &&
                                    slots_used_ < slots_.size();
    if (has_more) next = std::min(next, hold.retry_at);
  }
  return next;
}

bool Keeper::poll_message(content::ToStore& out) {
  return outbox_.pop(out);
}

bool Keeper::poll_event(Event& out) {
  if (events_.empty()) return false;
  out = std::move(events_.front());
  events_.pop_front();
  return true;
}

}  // namespace sluice::replica
