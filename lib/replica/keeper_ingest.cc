// Keeper: what is to be published is read and summed; what is held is looked at again.
#include <algorithm>

#include "base/assert.h"
#include "replica/keeper.h"

namespace sluice::replica {
namespace {

using content::Catalog;
using stats::Counter;

constexpr Duration ingest_retry = 50_ms;
// What one turn may spend on summing what is held.
constexpr uint64_t scrub_turn_bytes_max = 4u << 20;
// And how many pieces, held or not, it may look at.
constexpr uint32_t scrub_turn_steps_max = 4096;
constexpr Duration scrub_turn_min = 1_ms;

const char* text_of(content::LookupStatus status) {
  switch (status) {
    case content::LookupStatus::directory:
      return "it is a directory: publish its files";
    case content::LookupStatus::not_found:
      return "there is no such file below the root";
    case content::LookupStatus::forbidden:
      return "the file may not be read: see its permissions";
    case content::LookupStatus::io_error:
      return "the disk failed: see the kernel log";
    case content::LookupStatus::found:
    case content::LookupStatus::busy:
      return "too much is going on: try again later";
  }
  return "";
}

}  // namespace

// Ingest -----------------------------------------------------------------------------------------

void Keeper::ingest(uint32_t ticket, const std::string& path) {
  Ingest& ingest = ingests_.emplace_back();
  ingest.ticket = ticket;
  ingest.path = path;
  ingest.slots.fill(none);
  pump_due_ = true;
}

void Keeper::handle_ingest_answer(Instant now, const content::LookupAnswer& answer) {
  ASSERT(!ingests_.empty() && ingests_.front().phase == Phase::looking);
  Ingest& ingest = ingests_.front();
  if (answer.status == content::LookupStatus::busy) return restart_ingest(now);
  if (answer.status != content::LookupStatus::found) return fail_ingest(text_of(answer.status));
  const uint64_t chunk = parts_.config.chunk_bytes;
  const uint64_t pieces = (answer.info.size_bytes + chunk - 1) / chunk;
  if (pieces > pieces_max) return fail_ingest("the file is too large: use larger chunks");
  ingest.object = parts_.catalog.insert(now, key_of(ingest.path), answer.info, {});
  if (ingest.object.is_none()) return restart_ingest(now);
  parts_.catalog.acquire(ingest.object);
  ingest.phase = Phase::filling;
  ingest.crcs.assign(pieces, 0);
  ingest.cursor = ingest.done = 0;
}

void Keeper::pump_ingest(Instant now) {
  if (ingests_.empty()) return;
  Ingest& ingest = ingests_.front();
  if (ingest.phase == Phase::lookup_due) {
    if (ingest.retry_at > now || take_ticket(ingest.path, {}) == none) return;
    ingest.phase = Phase::looking;
    return;
  }
  if (ingest.phase != Phase::filling) return;
  if (ingest.crcs.empty()) return end_ingest();
  for (uint32_t slot = 0; slot < ingest_window; ++slot) {
    if (ingest.slots[slot] != none || ingest.cursor == ingest.crcs.size()) continue;
    ingest.slots[slot] = ingest.cursor++;
    look_ingest(now, slot);
    pump_due_ = true;  // more, next turn
    if (ingests_.empty() || ingests_.front().phase != Phase::filling) return;
  }
}

void Keeper::look_ingest(Instant now, uint32_t slot) {
  if (ingests_.empty() || ingests_.front().phase != Phase::filling) return;
  Ingest& ingest = ingests_.front();
  const uint32_t piece = ingest.slots[slot];
  if (piece == none) return;  // woken for what ended meanwhile
  const uint64_t offset = uint64_t{piece} * parts_.config.chunk_bytes;
  const uint64_t size = parts_.catalog.info(ingest.object).size_bytes;
  const uint64_t end = std::min(size, offset + parts_.config.chunk_bytes);
  const Catalog::Range range{
      .offset_bytes = offset, .max_bytes = static_cast<uint32_t>(end - offset), .end_bytes = end};
  content::Lease lease;
  content::Extent extent;
  switch (parts_.catalog.find(now, ingest.object, range, lease, extent)) {
    case Catalog::Find::here:
      // The chunk stays what it is until this thread answers a Retire.
      ingest.crcs[piece] = parts_.config.digests.crc32c(parts_.arena.bytes(extent));
      parts_.counters.add(Counter::replica_ingested_bytes, extent.length_bytes);
      parts_.catalog.drop(lease);
      ingest.slots[slot] = none;
      if (++ingest.done == ingest.crcs.size()) end_ingest();
      return;
    case Catalog::Find::missing:
      if (++ingest.attempts > ingest_attempts_max * (ingest.crcs.size() + 1)) {
        return fail_ingest("the file cannot be read to its end");
      }
      parts_.catalog.wait(ingest.object, offset,
                          parts_.first_waiter + static_cast<uint32_t>(slots_.size()) + slot);
      return;
    case Catalog::Find::gone:
      return restart_ingest(now);
  }
}

void Keeper::restart_ingest(Instant now) {
  Ingest& ingest = ingests_.front();
  if (!ingest.object.is_none()) {
    for (uint32_t slot = 0; slot < ingest_window; ++slot) {
      parts_.catalog.cancel_wait(parts_.first_waiter + static_cast<uint32_t>(slots_.size()) + slot);
    }
    parts_.catalog.forget_path(key_of(ingest.path));
    parts_.catalog.release(ingest.object);
    ingest.object = content::ObjectHandle::none();
    ingest.attempts = 0;
  }
  ingest.slots.fill(none);
  ingest.phase = Phase::lookup_due;
  ingest.retry_at = now + ingest_retry;
  if (++ingest.restarts > ingest_attempts_max) fail_ingest("the file keeps changing");
}

void Keeper::end_ingest() {
  Ingest& ingest = ingests_.front();
  const content::ObjectInfo info = parts_.catalog.info(ingest.object);
  Ingested done{ingest.ticket, {}};
  done.manifest.path = ingest.path;
  done.manifest.size_bytes = info.size_bytes;
  done.manifest.modified_unix_s = info.modified_unix_s;
  done.manifest.piece_bytes = parts_.config.chunk_bytes;
  done.manifest.piece_crcs = std::move(ingest.crcs);
  parts_.catalog.release(ingest.object);
  events_.push_back(std::move(done));
  ingests_.pop_front();
  pump_due_ = true;
}

void Keeper::fail_ingest(std::string_view why) {
  Ingest& ingest = ingests_.front();
  if (!ingest.object.is_none()) {
    for (uint32_t slot = 0; slot < ingest_window; ++slot) {
      parts_.catalog.cancel_wait(parts_.first_waiter + static_cast<uint32_t>(slots_.size()) + slot);
    }
    parts_.catalog.release(ingest.object);
  }
  events_.push_back(IngestFailed{ingest.ticket, std::string(why)});
  ingests_.pop_front();
  pump_due_ = true;
}

// Scrub ------------------------------------------------------------------------------------------

void Keeper::suspect(GenerationId generation, content::PieceNumber piece) {
  parts_.counters.add(Counter::replica_bad_pieces_told);
  (void)suspects_.push({generation, piece});  // else the next pass finds it
}

void Keeper::verify(Instant now, Hold& hold, content::PieceNumber number) {
  Piece& piece = hold.pieces[number];
  const KnownGeneration* generation = parts_.generations.find(hold.id);
  if (piece.state != PieceState::held || generation == nullptr) return;
  const content::Extent extent{piece.chunk, piece.offset_bytes, length_of(hold, number)};
  parts_.counters.add(Counter::replica_scrubbed_bytes, extent.length_bytes);
  if (parts_.config.digests.crc32c(parts_.arena.bytes(extent)) == generation->crcs[number]) return;
  parts_.counters.add(Counter::replica_scrub_rotten);
  const content::Discard discard{parts_.catalog.info(hold.object).id, number};
  if (!outbox_.push(discard)) return;  // found again in the next pass
  piece.state = PieceState::rotten;
  ++hold.rotten;
  hold.rotten_at = now;
  reopen(now, hold);
  --hold.pieces_held;
  --held_pieces_;
  hold.bytes_held -= extent.length_bytes;
  held_bytes_ -= extent.length_bytes;
}

Instant Keeper::scrub_timeout() const {
  if (held_pieces_ == 0 || parts_.config.scrub_bytes_per_s == 0) return Instant::never();
  return suspects_.empty() ? std::max(scrub_turn_at_, scrub_pass_at_) : scrub_turn_at_;
}

// Suspects first. Then the pass: from the first held piece to the last, in as many turns as it
// takes.
void Keeper::scrub(Instant now) {
  if (now < scrub_timeout()) return;
  const uint64_t rate = parts_.config.scrub_bytes_per_s;
  const uint64_t turn_bytes = std::min(scrub_turn_bytes_max, rate / 10 + 1);
  uint64_t summed = 0;
  const auto sum = [&](Hold& hold, content::PieceNumber piece) {
    summed += length_of(hold, piece);
    verify(now, hold, piece);
  };
  Suspect suspect;
  while (summed < turn_bytes && suspects_.pop(suspect)) {
    const auto at = holds_.find(suspect.generation);
    if (at != holds_.end() && suspect.piece < at->second.pieces.size()) {
      sum(at->second, suspect.piece);
    }
  }
  uint32_t steps = scrub_turn_steps_max;
  while (now >= scrub_pass_at_ && summed < turn_bytes && steps-- > 0) {
    if (scrub_generation_.is_none()) scrub_pass_began_ = now;
    auto at = holds_.lower_bound(scrub_generation_);
    const bool is_through = at != holds_.end() && at->first == scrub_generation_ &&
                            scrub_piece_ >= at->second.pieces.size();
    if (is_through) ++at;
    if (at == holds_.end()) {
      scrub_generation_ = {};
      scrub_pass_at_ = scrub_pass_began_ + parts_.config.scrub_pass_min;
    } else if (at->first != scrub_generation_) {
      scrub_generation_ = at->first;
      scrub_piece_ = 0;
    } else {
      Hold& hold = at->second;
      if (hold.pieces[scrub_piece_].state == PieceState::held) sum(hold, scrub_piece_);
      ++scrub_piece_;
    }
  }
  const auto wait_us = static_cast<int64_t>(summed * 1'000'000 / rate);
  scrub_turn_at_ = now + std::max(Duration::from_us(wait_us), scrub_turn_min);
}

}  // namespace sluice::replica
