#include "store/store.h"

#include <algorithm>
#include <variant>

namespace sluice::store {

using stats::Counter;

namespace {

// Answers that one worker may leave unread before its next question is taken.
constexpr size_t unread_answers_max = 256;
// Workers are told of changes at most so often.
constexpr Duration revalidate_every = 20_ms;

uint32_t reopenings_max(const Config& config) {
  return std::min(config.workers * config.needs_max, config.max_objects);
}

uint32_t pieces_max(const Config& config) {
  // Ready: one short piece an object at most, and one whole piece a chunk. Else: asked for.
  return config.max_objects + config.chunk_count + config.workers * config.needs_max;
}

size_t outbox_size(const Config& config) {
  return unread_answers_max + 1 + config.lookups_max + config.needs_max + config.chunk_count;
}

}  // namespace

Store::Store(const Config& config, std::span<const content::ChunkPins* const> uses,
             stats::Counters& counters)
    : config_(config),
      counters_(counters),
      objects_(config.max_objects),
      openings_({.openings = config.workers * config.lookups_max + reopenings_max(config),
                 .waiters = config.workers * config.lookups_max}),
      files_(config.max_open_files),
      pieces_(pieces_max(config)),
      chunks_(config.chunk_count, uses, config.last_holds),
      close_queue_(config.max_open_files),
      reserve_chunks_(std::min<uint32_t>(config.chunk_count / 64, 32)),
      lookups_open_(config.workers),
      needs_open_(config.workers) {
  ASSERT(config.workers > 0 && config.workers <= workers_max && uses.size() == config.workers);
  ASSERT(config.chunk_count > 0 && config.chunk_bytes > 0);
  ASSERT(config.chunk_bytes % io_align_bytes == 0);
  ASSERT(config.max_objects > 0 && config.max_open_files > 0);
  ASSERT(config.reads_in_flight > 0 && config.opens_in_flight > 0);
  outbox_.reserve(config.workers);
  for (uint32_t i = 0; i < config.workers; ++i) outbox_.emplace_back(outbox_size(config));
}

uint64_t Store::memory_bytes(const Config& config) {
  const uint64_t openings = config.workers * config.lookups_max + reopenings_max(config);
  return uint64_t{config.max_objects} * (sizeof(ObjectTable::Object) + 8) +
         uint64_t{ObjectTable::path_blocks(config.max_objects)} * 68 +
         openings * (sizeof(OpeningTable::Opening) + 8) +
         uint64_t{config.workers} * config.lookups_max * (sizeof(OpeningTable::Waiter) + 4) +
         uint64_t{config.max_open_files} * (sizeof(FileTable::File) + 8) +
         uint64_t{pieces_max(config)} * (sizeof(PieceTable::Piece) + 12) +
         uint64_t{config.chunk_count} * (sizeof(ChunkTable::Chunk) + 4) +
         uint64_t{config.workers} * std::bit_ceil(outbox_size(config)) * sizeof(content::ToWorker);
}

// Messages
// -------------------------------------------------------------------------------------------

bool Store::can_take(uint32_t worker) const {
  return outbox_[worker].size() < unread_answers_max;
}

void Store::handle_message(Instant now, uint32_t worker, const content::ToStore& message) {
  ASSERT(worker < config_.workers);
  if (const auto* lookup = std::get_if<content::Lookup>(&message)) {
    handle_lookup(now, worker, *lookup);
  } else if (const auto* need = std::get_if<content::NeedPiece>(&message)) {
    handle_need(now, worker, *need);
    make_room(now);
  } else if (const auto* retired = std::get_if<content::Retired>(&message)) {
    if (chunks_.handle_retired(retired->chunk, worker)) make_room(now);
  } else if (const auto* discard = std::get_if<content::Discard>(&message)) {
    handle_discard(*discard);
    make_room(now);
  }
}

void Store::send(uint32_t worker, const content::ToWorker& message) {
  // Sized for all that can be unanswered at one time.
  const bool pushed = outbox_[worker].push(message);
  ASSERT(pushed);
}

bool Store::poll_message(uint32_t worker, content::ToWorker& out) {
  const uint64_t bit = uint64_t{1} << worker;
  if ((revalidate_due_ & bit) != 0) {
    revalidate_due_ &= ~bit;
    out = content::Revalidate{};
    return true;
  }
  return outbox_[worker].pop(out);
}

// Disk
// ------------------------------------------------------------------------------------------------

void Store::handle_completion(Instant now, const IoCompletion& completion) {
  switch (completion.kind) {
    case IoKind::open:
      handle_opened(now, completion);
      break;
    case IoKind::stat:
      handle_opening_stat(now, completion);
      break;
    case IoKind::read:
      handle_read(now, completion);
      break;
    case IoKind::close:
      break;
  }
  make_room(now);
}

bool Store::poll_io(Instant, IoRequest& out) {
  uint32_t file;
  if (close_queue_.pop(file)) {
    files_.give_back(file);
    out = {.kind = IoKind::close, .file = file};
    return true;
  }
  return poll_read(out) || poll_stat(out) || poll_open(out);
}

void Store::handle_change(Instant now, std::string_view path) {
  counters_.add(Counter::store_changes);
  const SipDigest key = siphash24_128(config_.path_key, as_byte_span(path));
  const uint32_t object = objects_.find(key);
  const uint32_t opening = openings_.find(key);
  if (opening != none) openings_[opening].again = true;
  if (object == none && opening == none) return;  // a file that nobody asked for
  if (object != none) objects_[object].validated = false;
  note_change(now);
}

void Store::handle_change_anywhere(Instant now) {
  counters_.add(Counter::store_changes_lost);
  ++epoch_;
  note_change(now);
}

void Store::note_change(Instant now) {
  changed_ = true;
  if (now < revalidate_after_) return;
  changed_ = false;
  revalidate_after_ = now + revalidate_every;
  revalidate_due_ =
      config_.workers == workers_max ? ~uint64_t{0} : (uint64_t{1} << config_.workers) - 1;
  counters_.add(Counter::store_revalidations);
}

// Time
// ------------------------------------------------------------------------------------------------

void Store::handle_timeout(Instant now) {
  while (!settling_.empty() && openings_[settling_.first()].due <= now) {
    stat_queue_.push_back(openings_.entries(), settling_.pop_front(openings_.entries()));
  }
  for (uint32_t file = files_.oldest_idle();
       file != none && files_.idle_since(file) + config_.file_idle_max <= now;
       file = files_.oldest_idle()) {
    close_file(file);
  }
  if (changed_) note_change(now);
  make_room(now);
}

Instant Store::next_timeout() const {
  Instant next = room_retry_at_;
  if (!settling_.empty()) next = std::min(next, openings_[settling_.first()].due);
  if (files_.oldest_idle() != none) {
    next = std::min(next, files_.idle_since(files_.oldest_idle()) + config_.file_idle_max);
  }
  if (changed_) next = std::min(next, revalidate_after_);
  return next;
}

void Store::publish_gauges() {
  counters_.set(Counter::store_objects, objects_.in_use());
  counters_.set(Counter::store_files_open, files_.in_use());
  counters_.set(Counter::store_chunks_free, chunks_.count(ChunkState::free));
  counters_.set(Counter::store_chunks_filling, chunks_.count(ChunkState::filling));
  counters_.set(Counter::store_chunks_ready, chunks_.count(ChunkState::ready));
  counters_.set(Counter::store_chunks_retiring, chunks_.count(ChunkState::retiring));
}

}  // namespace sluice::store
