// Store: from a path to a version of a file.
#include <algorithm>
#include <cerrno>

#include "store/store.h"

namespace sluice::store {

using content::LookupAnswer;
using content::LookupStatus;
using stats::Counter;

namespace {

// A time stamp of the kernel is that of the last clock tick (at most 10 ms ago): a file that
// changed in the running tick may change again and keep its time stamps. It is looked at again
// after a pause that no tick outlasts, and only then is its version known.
constexpr Duration clock_tick = 20_ms;
// A file that changes faster than that, or a path that does, is not waited for longer than this.
constexpr uint8_t attempts_max = 8;
// Objects looked at in the search for one to forget.
constexpr uint32_t recycle_search_max = 64;
constexpr uint32_t lease_search_max = 8;
// Held objects passed over on the way.
constexpr uint32_t held_search_max = 1'024;

bool is_sound(std::string_view path) {
  return path.size() <= path_bytes_max && path.find('\0') == std::string_view::npos &&
         !path.starts_with('/');
}

// The validator that clients see must outlive this process, so its key is no secret.
uint64_t etag_of(const Version& version) {
  if (version.device == published_device) return version.inode;
  std::array<std::byte, 40> bytes;
  store_be64(&bytes[0], version.device);
  store_be64(&bytes[8], version.inode);
  store_be64(&bytes[16], version.size_bytes);
  store_be64(&bytes[24], static_cast<uint64_t>(version.modified_ns));
  store_be64(&bytes[32], static_cast<uint64_t>(version.changed_ns));
  return siphash24(SipKey{0x736c756963652d65ULL, 0x7461672d76310a00ULL}, bytes);
}

enum class Trouble : uint8_t { none, nothing_there, refused, passing, short_of_room, disk };

Trouble trouble_of(int error) {
  switch (error) {
    case 0:
      return Trouble::none;
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EXDEV:  // leaves the root
    case ENXIO:  // a socket, or a device without a driver
    case ENODEV:
    case EISDIR:
    case EINVAL:
      return Trouble::nothing_there;
    case EACCES:
    case EPERM:
    case ELOOP:
      return Trouble::refused;
    case EAGAIN:  // openat2: a rename on the way, try again
    case EINTR:
    case ESTALE:  // a network file system: look again
      return Trouble::passing;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Trouble::short_of_room;
    default:
      return Trouble::disk;
  }
}

}  // namespace

void Store::handle_lookup(Instant now, uint32_t worker, const content::Lookup& lookup) {
  counters_.add(Counter::store_lookups);
  if (!is_sound(lookup.path)) {
    send(worker, LookupAnswer{lookup.ticket, LookupStatus::not_found, {}});
    return;
  }
  const std::string_view path = lookup.path.empty() ? std::string_view(".") : lookup.path;
  const SipDigest key = siphash24_128(config_.path_key, as_byte_span(path));

  const uint32_t object = objects_.find(key);
  if (object != none && objects_[object].validated && objects_[object].epoch == epoch_ &&
      now - objects_[object].validated_at <= config_.fresh_for) {
    counters_.add(Counter::store_lookup_hits);
    objects_.touch(object);
    send(worker, LookupAnswer{lookup.ticket, LookupStatus::found, info(object)});
    return;
  }
  if (lookups_open_[worker] >= config_.lookups_max) {
    counters_.add(Counter::store_lookups_busy);
    send(worker, LookupAnswer{lookup.ticket, LookupStatus::busy, {}});
    return;
  }
  uint32_t opening = openings_.find(key);
  if (opening != none) {
    counters_.add(Counter::store_lookup_joins);
  } else {
    opening = open_path(key, path);
  }
  // The worker keeps the text until its answer, which outlasts the opening.
  if (openings_[opening].path.empty()) openings_[opening].path = path;
  openings_.add_waiter(opening, {worker, lookup.ticket, none});
  ++lookups_open_[worker];
}

uint32_t Store::open_path(const SipDigest& key, std::string_view path) {
  const uint32_t opening = openings_.add(key);
  openings_[opening].path = path;
  open_queue_.push_back(openings_.entries(), opening);
  return opening;
}

bool Store::poll_open(IoRequest& out) {
  if (open_queue_.empty() || opens_in_flight_ >= config_.opens_in_flight) return false;
  const uint32_t file = files_.take();
  if (file == none) {
    // Make room: the number is given out again only after the disk was told to close it.
    const uint32_t oldest = files_.oldest_idle();
    if (oldest == none) return false;  // every file is being read: one ends soon
    counters_.add(Counter::store_files_recycled);
    close_file(oldest);
    return poll_io(Instant(), out);
  }
  const uint32_t entry = open_queue_.pop_front(openings_.entries());
  Opening& opening = openings_[entry];
  opening.state = OpeningTable::State::asked;
  opening.again = false;
  opening.epoch = epoch_;
  opening.file = file;
  ++opens_in_flight_;
  counters_.add(Counter::store_opens);
  out = {.kind = IoKind::open, .token = entry, .file = file};
  out.path =
      opening.path.empty() ? objects_.path(opening.first_wanting, path_scratch_) : opening.path;
  return true;
}

bool Store::poll_stat(IoRequest& out) {
  if (stat_queue_.empty() || opens_in_flight_ >= config_.opens_in_flight) return false;
  const uint32_t entry = stat_queue_.pop_front(openings_.entries());
  openings_[entry].state = OpeningTable::State::asked;
  ++opens_in_flight_;
  out = {.kind = IoKind::stat, .token = entry, .file = openings_[entry].file};
  return true;
}

void Store::handle_opened(Instant now, const IoCompletion& completion) {
  Opening& opening = openings_[completion.token];
  ASSERT(openings_.is_taken(completion.token) && opening.state == OpeningTable::State::asked);
  --opens_in_flight_;
  const bool is_open = completion.error == 0 && completion.facts.kind == FileKind::regular;
  if (!is_open) {
    files_.give_back(opening.file);
    opening.file = none;
  }
  opening.facts = completion.facts;

  const bool outdated = opening.again || opening.epoch != epoch_;
  const bool passing = trouble_of(completion.error) == Trouble::passing;
  if ((outdated || passing) && ++opening.attempts < attempts_max) {
    ask_again(completion.token);
    return;
  }
  const bool is_settled = opening.facts.age_ns >= clock_tick.ns() || is_known_version(opening);
  if (is_open && !is_settled) {
    settle(now, completion.token);
  } else {
    finish_opening(now, completion.token, completion.error);
  }
}

// A version that is in the table was settled when it got there.
bool Store::is_known_version(const Opening& opening) const {
  for (uint32_t slot = opening.first_wanting; slot != none; slot = objects_[slot].next_wanting) {
    if (!objects_[slot].stale && objects_[slot].version == opening.facts.version) return true;
  }
  const uint32_t current = objects_.find(opening.key);
  return current != none && objects_[current].version == opening.facts.version;
}

void Store::settle(Instant now, uint32_t entry) {
  counters_.add(Counter::store_settles);
  openings_[entry].state = OpeningTable::State::settling;
  openings_[entry].due = now + clock_tick;
  settling_.push_back(openings_.entries(), entry);
}

void Store::handle_opening_stat(Instant now, const IoCompletion& completion) {
  Opening& opening = openings_[completion.token];
  ASSERT(openings_.is_taken(completion.token) && opening.state == OpeningTable::State::asked);
  --opens_in_flight_;
  if (completion.error != 0) {
    drop_opening_file(opening);
    finish_opening(now, completion.token, completion.error);
    return;
  }
  const bool same = completion.facts.version == opening.facts.version;
  opening.facts = completion.facts;
  const bool outdated = opening.again || opening.epoch != epoch_ || opening.facts.links == 0;
  if (outdated && ++opening.attempts < attempts_max) {
    ask_again(completion.token);
  } else if (same || opening.facts.age_ns >= clock_tick.ns()) {
    finish_opening(now, completion.token, 0);
  } else if (++opening.attempts < attempts_max) {
    settle(now, completion.token);
  } else {
    drop_opening_file(opening);
    finish_opening(now, completion.token, EAGAIN);
  }
}

void Store::ask_again(uint32_t entry) {
  drop_opening_file(openings_[entry]);
  openings_[entry].state = OpeningTable::State::queued;
  open_queue_.push_back(openings_.entries(), entry);
}

void Store::drop_opening_file(Opening& opening) {
  if (opening.file == none) return;
  const bool pushed = close_queue_.push(opening.file);
  ASSERT(pushed);
  opening.file = none;
}

void Store::close_file(uint32_t file) {
  objects_[files_.detach(file)].file = none;
  const bool pushed = close_queue_.push(file);
  ASSERT(pushed);
}

void Store::finish_opening(Instant now, uint32_t entry, int error) {
  Opening& opening = openings_[entry];
  if (error != 0 || opening.facts.kind != FileKind::regular) {
    counters_.add(Counter::store_open_errors);
  }
  serve_wanting(now, entry, error);
  if (opening.first_waiter != none) {
    LookupAnswer answer = answer_for(now, opening, error);
    OpeningTable::Waiter waiter;
    while (openings_.pop_waiter(entry, waiter)) {
      answer.ticket = waiter.ticket;
      --lookups_open_[waiter.worker];
      if (answer.status == LookupStatus::busy) counters_.add(Counter::store_lookups_busy);
      send(waiter.worker, answer);
    }
  }
  drop_opening_file(opening);
  openings_.remove(entry);
}

// Objects whose file was closed and that need it again: theirs only if it still is their version.
void Store::serve_wanting(Instant now, uint32_t entry, int error) {
  Opening& opening = openings_[entry];
  const Trouble trouble = trouble_of(error);
  const bool is_file = trouble == Trouble::none && opening.facts.kind == FileKind::regular;
  const bool is_elsewhere =
      trouble == Trouble::nothing_there || (trouble == Trouble::none && !is_file);
  uint32_t slot = opening.first_wanting;
  opening.first_wanting = none;
  while (slot != none) {
    Object& object = objects_[slot];
    const uint32_t next = object.next_wanting;
    object.next_wanting = none;
    object.wants_file = false;
    if (is_elsewhere || (is_file && opening.facts.version != object.version)) make_stale(slot);
    if (is_file && !object.stale && opening.file != none) {
      object.file = opening.file;
      opening.file = none;
      files_.attach(now, object.file, slot);
    }
    uint32_t piece = object.waiting_first;
    object.waiting_first = object.waiting_last = none;
    while (piece != none) {
      const uint32_t next_piece = pieces_[piece].turn.next;
      pieces_[piece].turn = {};
      if (object.stale) {
        fail_piece(piece, content::PieceFailure::stale);
      } else if (object.file == none) {
        fail_piece(piece, content::PieceFailure::io_error);
      } else {
        files_.use(object.file);
        queue_read(piece);
      }
      piece = next_piece;
    }
    slot = next;
  }
}

LookupAnswer Store::answer_for(Instant now, Opening& opening, int error) {
  LookupAnswer answer;
  switch (trouble_of(error)) {
    case Trouble::none:
      break;
    case Trouble::nothing_there:
      answer.status = LookupStatus::not_found;
      break;
    case Trouble::refused:
      answer.status = LookupStatus::forbidden;
      break;
    case Trouble::passing:
    case Trouble::short_of_room:
      answer.status = LookupStatus::busy;
      return answer;
    case Trouble::disk:
      answer.status = LookupStatus::io_error;
      return answer;
  }
  if (error == 0 && opening.facts.kind == FileKind::regular) {
    const uint32_t object = adopt_version(now, opening);
    answer.status = object == none ? LookupStatus::busy : LookupStatus::found;
    if (object != none) answer.info = info(object);
    return answer;
  }
  if (error == 0 && opening.facts.kind == FileKind::directory) {
    answer.status = LookupStatus::directory;
  }
  // The path leads to no file any more.
  const uint32_t former = objects_.find(opening.key);
  if (former != none) {
    make_unwanted(objects_[former]);
    objects_.supersede(former);
  }
  return answer;
}

// Returns the object for what was opened, known or new; none when there is no room for a new one.
uint32_t Store::adopt_version(Instant now, Opening& opening) {
  uint32_t slot = objects_.find(opening.key);
  if (slot != none && objects_[slot].version != opening.facts.version) {
    make_unwanted(objects_[slot]);
    objects_.supersede(slot);
    slot = none;
  }
  if (slot == none) {
    if (!make_object_room(opening.path.size())) return none;
    slot = objects_.add(opening.key, opening.path, opening.facts.version);
    objects_[slot].etag = etag_of(opening.facts.version);
    counters_.add(Counter::store_objects_new);
  }
  Object& object = objects_[slot];
  object.validated = !opening.again;
  object.epoch = opening.epoch;
  object.validated_at = now;
  if (object.file == none && opening.file != none && !object.wants_file) {
    object.file = opening.file;
    files_.attach(now, opening.file, slot);
    opening.file = none;
  }
  objects_.touch(slot);
  return slot;
}

content::ObjectInfo Store::info(uint32_t slot) const {
  const Object& object = objects_[slot];
  const WallTime modified{object.version.modified_ns};
  return {objects_.id(slot), object.version.size_bytes, modified.unix_seconds(), object.etag};
}

// Forgetting
// -----------------------------------------------------------------------------------------

bool Store::make_object_room(size_t path_length_bytes) {
  while (!objects_.has_room(path_length_bytes)) {
    const uint32_t slot = choose_object();
    if (slot == none) return false;
    recycle(slot);
  }
  return true;
}

// The one used longest ago, but rather none that a response is in the middle of, and none that is
// held: such a one goes to the end, out of the way of the search.
uint32_t Store::choose_object() {
  uint32_t leased = none;
  uint32_t slot = objects_.oldest();
  uint32_t held = 0;
  for (uint32_t i = 0; i < recycle_search_max && slot != none;) {
    const uint32_t next = objects_.next_oldest(slot);
    const Object& object = objects_[slot];
    if (is_held(object)) {
      objects_.touch(slot);
      if (++held == held_search_max) break;
    } else {
      if (object.holds == 0 && !object.wants_file) {
        if (!is_leased(object)) return slot;
        if (leased == none) leased = slot;
      }
      ++i;
    }
    slot = next;
  }
  return leased;
}

bool Store::is_read(std::string_view path) const {
  const uint32_t slot = objects_.find(siphash24_128(config_.path_key, as_byte_span(path)));
  if (slot == none) return false;
  const Object& object = objects_[slot];
  if (object.holds > 0 || object.wants_file) return true;
  for (uint32_t piece = object.first_piece; piece != none; piece = pieces_[piece].in_object.next) {
    if (pieces_[piece].state != PieceState::ready) return true;
    if (chunks_.is_leased(pieces_[piece].extent.chunk)) return true;
  }
  return false;
}

bool Store::is_leased(const Object& object) const {
  uint32_t piece = object.first_piece;
  for (uint32_t i = 0; i < lease_search_max && piece != none; ++i) {
    if (chunks_.is_leased(pieces_[piece].extent.chunk)) return true;
    piece = pieces_[piece].in_object.next;
  }
  return false;
}

// Pieces become pinned one after the other: what was asked for last may not be yet.
bool Store::is_held(const Object& object) const {
  if (!config_.last_holds) return false;
  uint32_t piece = object.first_piece;
  for (uint32_t i = 0; i < lease_search_max && piece != none; ++i) {
    if (pieces_[piece].state == PieceState::ready && chunks_.is_held(pieces_[piece].extent.chunk)) {
      return true;
    }
    piece = pieces_[piece].in_object.next;
  }
  return false;
}

void Store::recycle(uint32_t slot) {
  counters_.add(Counter::store_objects_recycled);
  Object& object = objects_[slot];
  while (object.first_piece != none) {
    const content::ChunkIndex chunk = pieces_[object.first_piece].extent.chunk;
    remove_ready_piece(object.first_piece);
    const ChunkTable::Chunk& rest = chunks_[chunk];
    if (rest.first_piece == none && rest.fills == 0) chunks_.make_unwanted(chunk);
  }
  if (object.file != none) close_file(object.file);
  objects_.remove(slot);
}

}  // namespace sluice::store
