#include "replica/overlay.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "store/links.h"

namespace sluice::replica {

using store::FileFacts;
using store::FileKind;
using store::IoCompletion;
using store::IoKind;
using store::IoRequest;
using store::Version;

namespace {

constexpr uint32_t none = IndexPool::none;
constexpr char internal_mark = '\x01';
// What a client's own '\x01...' becomes. It is no internal name, so nothing is behind it.
constexpr std::string_view nowhere = "\x01";
// The text of a name may be in use by a lookup that began before its generation was forgotten. Its
// slot rests for so long before it is used for another; no disk is waited for that long.
constexpr Duration rest = 300_s;
// Reads from the disk on the Node's order are told from the Store's by this bit of their token.
constexpr uint32_t own_token = 0x8000'0000;
// Such reads in a row that may bring nothing new before it counts as an I/O error.
constexpr uint8_t idle_reads_max = 4;
// To the Store a generation has not changed for as long as it wants to know.
constexpr int64_t age_ns = 3'600'000'000'000;

constexpr char hex_digits[] = "0123456789abcdef";

void put_hex(uint64_t value, char* to) {
  for (int i = 15; i >= 0; --i, value >>= 4) to[i] = hex_digits[value & 15];
}

bool take_hex(std::string_view text, uint64_t& out) {
  out = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) return false;
    out = out << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return true;
}

bool parse_internal_name(std::string_view path, GenerationId& out) {
  return path.size() == internal_name_bytes && path.front() == internal_mark &&
         take_hex(path.substr(1, 16), out.number) &&
         take_hex(path.substr(17, 16), out.publisher.value);
}

uint64_t hash_of(GenerationId generation) {
  const uint64_t mixed = (generation.number ^ generation.publisher.value * 0x9e3779b97f4a7c15ULL) *
                         0xbf58476d1ce4e5b9ULL;
  return mixed ^ (mixed >> 32);
}

}  // namespace

InternalName internal_name(GenerationId generation) {
  InternalName name;
  name.text[0] = internal_mark;
  put_hex(generation.number, &name.text[1]);
  put_hex(generation.publisher.value, &name.text[17]);
  return name;
}

struct Overlay::Parts {
  // A generation that can be opened; or, while it rests, one that could be.
  struct Generation {
    GenerationId id;
    InternalName name;
    Version version;
    PathText path;
    Instant forgotten_at;
    uint32_t hash_next = none;
  };
  struct Path {
    SipDigest key;
    GenerationId generation;
    uint32_t hash_next = none;
  };
  // One of the Store's file numbers, while it stands for a generation.
  struct File {
    bool taken = false;
    bool on_disk = false;  // this node's own file is open there
    GenerationId generation;
    Version version;
  };
  // An open of this node's own file.
  struct Opening {
    uint32_t token = 0;
    uint32_t file = 0;
  };
  struct Wanted {
    uint32_t token = 0;  // of the Store's read
    uint32_t file = 0;
    uint64_t offset_bytes = 0;
    content::Extent extent;
    uint32_t done_bytes = 0;  // from this node's own file
    uint8_t attempts = 0;
    bool reading = false;
  };
  explicit Parts(const OverlayConfig& given)
      : config(given),
        generations(2 * given.generations_max),
        resting(2 * given.generations_max),
        by_id(2 * given.generations_max),
        paths(given.generations_max),
        path_pool(given.generations_max),
        by_path(given.generations_max),
        files(given.max_open_files),
        wanted(given.reads_in_flight),
        wanted_pool(given.reads_in_flight),
        messages(2 * given.reads_in_flight + readers_asked_max),
        completions(given.reads_in_flight + given.max_open_files),
        for_disk(given.reads_in_flight + given.max_open_files) {
    openings.reserve(given.max_open_files);
  }

  [[nodiscard]] uint32_t find(GenerationId id) const {
    uint32_t slot = by_id.first(hash_of(id));
    while (slot != none && generations[slot].id != id) slot = generations[slot].hash_next;
    return slot;
  }
  [[nodiscard]] uint32_t find_path(const SipDigest& key) const {
    uint32_t entry = by_path.first(key.low);
    while (entry != none && paths[entry].key != key) entry = paths[entry].hash_next;
    return entry;
  }
  // The name under which the path is looked up now.
  [[nodiscard]] std::string_view name_of(std::string_view path) const {
    const uint32_t entry = find_path(siphash24_128(config.path_key, as_byte_span(path)));
    const uint32_t slot = entry == none ? none : find(paths[entry].generation);
    return slot == none ? path : generations[slot].name.view();
  }

  [[nodiscard]] bool open(IoRequest& request);
  [[nodiscard]] bool handle_opened(IoCompletion& completion);
  void read(const IoRequest& request);
  void read_on(uint32_t fetch);
  void handle_disk_read(const IoCompletion& completion);
  void tell_disk_read(uint32_t fetch, int error);
  void describe(Instant now, const Describe& message);
  [[nodiscard]] std::string_view redirect(const Redirect& message);
  [[nodiscard]] std::string_view forget(Instant now, GenerationId id);
  void finish(uint32_t fetch, int error);

  void complete(const IoCompletion& completion) {
    const bool pushed = completions.push(completion);
    ASSERT(pushed);  // one for each request under way
  }
  void ask_disk(const IoRequest& request) {
    const bool pushed = for_disk.push(request);
    ASSERT(pushed);  // one for each file and each fetch
  }
  void tell(const FromOverlay& message) {
    const bool pushed = messages.push(message);
    ASSERT(pushed);  // one for each fetch, the answer to its ReadDisk, the answer to an AskReaders
  }
  [[nodiscard]] static FileFacts facts(const File& file) {
    return {.kind = FileKind::regular, .version = file.version, .links = 1, .age_ns = age_ns};
  }

  OverlayConfig config;
  FixedArray<Generation> generations;
  uint32_t generations_used = 0;   // slots that were ever used
  uint32_t described = 0;          // that can be opened
  BoundedQueue<uint32_t> resting;  // forgotten, longest ago first
  store::HashChains<Generation, &Generation::hash_next> by_id;
  FixedArray<Path> paths;
  IndexPool path_pool;
  store::HashChains<Path, &Path::hash_next> by_path;
  FixedArray<File> files;
  std::vector<Opening> openings;
  FixedArray<Wanted> wanted;
  IndexPool wanted_pool;
  bool node_is_gone = false;
  BoundedQueue<FromOverlay> messages;
  BoundedQueue<IoCompletion> completions;
  BoundedQueue<IoRequest> for_disk;
};

Overlay::Overlay(const OverlayConfig& config) : parts_(std::make_unique<Parts>(config)) {
  ASSERT(config.generations_max > 0 && config.max_open_files > 0 && config.reads_in_flight > 0);
  ASSERT(config.chunk_bytes > 0 && config.reads_in_flight < own_token);
}

Overlay::~Overlay() = default;

uint64_t Overlay::memory_bytes(const OverlayConfig& config) {
  return uint64_t{config.generations_max} *
             (2 * (sizeof(Parts::Generation) + 12) + sizeof(Parts::Path) + 12) +
         uint64_t{config.max_open_files} * (sizeof(Parts::File) + sizeof(Parts::Opening) +
                                            sizeof(IoCompletion) + sizeof(IoRequest)) +
         uint64_t{config.reads_in_flight} * (sizeof(Parts::Wanted) + 2 * sizeof(FromOverlay) +
                                             sizeof(IoCompletion) + sizeof(IoRequest));
}

// From workers to the Store -----------------------------------------------------------------------

std::string_view Overlay::redirect(std::string_view path) const {
  if (!path.empty() && path.front() == internal_mark) return nowhere;
  if (parts_->path_pool.in_use() == 0) return path;
  return parts_->name_of(path);
}

// Between Store and Disk --------------------------------------------------------------------------

bool Overlay::handle_request(Instant, IoRequest& request) {
  Parts& parts = *parts_;
  if (request.kind == IoKind::open) {
    if (request.path.empty() || request.path.front() != internal_mark) return true;
    return parts.open(request);
  }
  Parts::File& file = parts.files[request.file];
  if (!file.taken) return true;
  switch (request.kind) {
    case IoKind::open:
      break;
    case IoKind::stat:
      parts.complete({.kind = IoKind::stat,
                      .token = request.token,
                      .has_facts = true,
                      .facts = Parts::facts(file)});
      return false;
    case IoKind::read:
      parts.read(request);
      return false;
    case IoKind::close: {
      const bool on_disk = file.on_disk;
      file = {};
      return on_disk;
    }
  }
  return false;
}

// The Store's file number and token serve for this node's own file too.
bool Overlay::Parts::open(IoRequest& request) {
  GenerationId id;
  const uint32_t slot = parse_internal_name(request.path, id) ? find(id) : none;
  if (slot == none) {
    complete({.kind = IoKind::open, .token = request.token, .error = ENOENT});
    return false;
  }
  const Generation& generation = generations[slot];
  File& file = files[request.file];
  ASSERT(!file.taken);
  file = {.taken = true, .generation = id, .version = generation.version};
  if (generation.path.view().empty()) {
    complete(
        {.kind = IoKind::open, .token = request.token, .has_facts = true, .facts = facts(file)});
    return false;
  }
  request.path = generation.path.view();
  openings.push_back({request.token, request.file});
  return true;
}

bool Overlay::handle_disk(Instant, IoCompletion& completion) {
  if (completion.kind == IoKind::open) return parts_->handle_opened(completion);
  if (completion.kind == IoKind::read && (completion.token & own_token) != 0) {
    parts_->handle_disk_read(completion);
    return false;
  }
  return true;
}

bool Overlay::Parts::handle_opened(IoCompletion& completion) {
  const auto at = std::find_if(openings.begin(), openings.end(),
                               [&](const Opening& each) { return each.token == completion.token; });
  if (at == openings.end()) return true;
  const uint32_t number = at->file;
  *at = openings.back();
  openings.pop_back();
  File& file = files[number];
  const bool is_open = completion.error == 0 && completion.facts.kind == FileKind::regular;
  file.on_disk = is_open && completion.facts.version.size_bytes == file.version.size_bytes;
  if (is_open && !file.on_disk) ask_disk({.kind = IoKind::close, .file = number});
  completion.error = 0;
  completion.has_facts = true;
  completion.facts = facts(file);
  return true;
}

void Overlay::Parts::read(const IoRequest& request) {
  // Nothing here answers with fewer bytes than were asked for: a piece is read in one.
  ASSERT(request.offset_bytes % config.chunk_bytes == 0);
  const uint32_t fetch = wanted_pool.take();
  ASSERT(fetch != none);
  const File& file = files[request.file];
  wanted[fetch] = {.token = request.token,
                   .file = request.file,
                   .offset_bytes = request.offset_bytes,
                   .extent = request.extent};
  if (node_is_gone) {
    finish(fetch, EIO);
    return;
  }
  tell(Fetch{.fetch = fetch,
             .generation = file.generation,
             .piece = static_cast<content::PieceNumber>(request.offset_bytes / config.chunk_bytes),
             .extent = request.extent});
}

bool Overlay::poll_completion(IoCompletion& out) {
  return parts_->completions.pop(out);
}

bool Overlay::poll_disk(IoRequest& out) {
  return parts_->for_disk.pop(out);
}

// To and from the Node ----------------------------------------------------------------------------

std::string_view Overlay::handle(Instant now, const ToOverlay& message) {
  Parts& parts = *parts_;
  if (const auto* describe = std::get_if<Describe>(&message)) {
    parts.describe(now, *describe);
  } else if (const auto* redirect = std::get_if<Redirect>(&message)) {
    return parts.redirect(*redirect);
  } else if (const auto* forget = std::get_if<Forget>(&message)) {
    return parts.forget(now, forget->generation);
  } else if (const auto* read = std::get_if<ReadDisk>(&message)) {
    ASSERT(parts.wanted_pool.is_taken(read->fetch) && !parts.wanted[read->fetch].reading);
    Parts::Wanted& wanted = parts.wanted[read->fetch];
    wanted.done_bytes = 0;
    wanted.attempts = 0;
    if (parts.files[wanted.file].on_disk) {
      parts.read_on(read->fetch);
    } else {
      parts.tell_disk_read(read->fetch, ENOENT);
    }
  } else if (const auto* fetched = std::get_if<Fetched>(&message)) {
    ASSERT(parts.wanted_pool.is_taken(fetched->fetch) && !parts.wanted[fetched->fetch].reading);
    parts.finish(fetched->fetch, fetched->error);
  }
  return {};
}

void Overlay::tell_readers(const Readers& answer) {
  if (!parts_->node_is_gone) parts_->tell(answer);
}

bool Overlay::poll_message(FromOverlay& out) {
  return parts_->messages.pop(out);
}

void Overlay::handle_node_gone() {
  Parts& parts = *parts_;
  parts.node_is_gone = true;
  FromOverlay unread;
  while (parts.messages.pop(unread)) {
  }
  for (uint32_t fetch = 0; fetch < parts.wanted_pool.size(); ++fetch) {
    if (parts.wanted_pool.is_taken(fetch) && !parts.wanted[fetch].reading) parts.finish(fetch, EIO);
  }
}

void Overlay::Parts::describe(Instant now, const Describe& message) {
  uint32_t slot = find(message.generation);
  if (slot == none) {
    if (described == config.generations_max) return;  // it cannot be opened: the Node is told so
    if (generations_used < generations.size()) {
      slot = generations_used++;
    } else {
      if (now - generations[resting.front()].forgotten_at < rest) return;
      const bool popped = resting.pop(slot);
      ASSERT(popped);
    }
    ++described;
    generations[slot].id = message.generation;
    generations[slot].name = internal_name(message.generation);
    by_id.insert(generations, hash_of(message.generation), slot);
  }
  Generation& generation = generations[slot];
  generation.version = {.device = store::published_device,
                        .inode = message.etag,
                        .size_bytes = message.size_bytes,
                        .modified_ns = message.modified_unix_s * 1'000'000'000,
                        .changed_ns = static_cast<int64_t>(message.generation.number)};
  generation.path = message.path;
}

std::string_view Overlay::Parts::redirect(const Redirect& message) {
  const std::string_view path = message.path.view();
  const std::string_view before = name_of(path);
  const SipDigest key = siphash24_128(config.path_key, as_byte_span(path));
  uint32_t entry = find_path(key);
  if (message.generation.is_none()) {
    if (entry == none) return {};
    by_path.remove(paths, key.low, entry);
    path_pool.give_back(entry);
    return before;
  }
  if (entry == none) {
    entry = path_pool.take();
    if (entry == none) return {};  // as many paths as there can be generations: one of them is old
    paths[entry].key = key;
    by_path.insert(paths, key.low, entry);
  } else if (paths[entry].generation == message.generation) {
    return {};
  }
  paths[entry].generation = message.generation;
  return before;
}

// A path that still leads to it leads to the disk again.
std::string_view Overlay::Parts::forget(Instant now, GenerationId id) {
  const uint32_t slot = find(id);
  if (slot == none) return {};
  --described;
  by_id.remove(generations, hash_of(id), slot);
  generations[slot].forgotten_at = now;
  const bool pushed = resting.push(slot);
  ASSERT(pushed);
  return generations[slot].name.view();
}

void Overlay::Parts::read_on(uint32_t fetch) {
  Wanted& each = wanted[fetch];
  each.reading = true;
  IoRequest request{.kind = IoKind::read, .token = own_token | fetch, .file = each.file};
  request.offset_bytes = each.offset_bytes + each.done_bytes;
  request.extent = {each.extent.chunk, each.extent.offset_bytes + each.done_bytes,
                    each.extent.length_bytes - each.done_bytes};
  ask_disk(request);
}

// That the file is what it was is not looked at: the Node verifies the bytes.
void Overlay::Parts::handle_disk_read(const IoCompletion& completion) {
  const uint32_t fetch = completion.token & ~own_token;
  ASSERT(wanted_pool.is_taken(fetch) && wanted[fetch].reading);
  Wanted& each = wanted[fetch];
  each.reading = false;
  if (completion.error != 0 || node_is_gone) {
    tell_disk_read(fetch, completion.error);
    return;
  }
  if (each.done_bytes + completion.bytes >= each.extent.length_bytes) {
    tell_disk_read(fetch, 0);
    return;
  }
  // Direct reads begin at multiples of a block: an unaligned rest is read again.
  const uint32_t done =
      (each.done_bytes + completion.bytes) / store::io_align_bytes * store::io_align_bytes;
  each.attempts = done > each.done_bytes ? uint8_t{0} : static_cast<uint8_t>(each.attempts + 1);
  each.done_bytes = done;
  if (each.attempts >= idle_reads_max) {
    tell_disk_read(fetch, EIO);
  } else {
    read_on(fetch);
  }
}

void Overlay::Parts::tell_disk_read(uint32_t fetch, int error) {
  if (node_is_gone) {
    finish(fetch, EIO);
  } else {
    tell(DiskRead{.fetch = fetch, .error = error});
  }
}

void Overlay::Parts::finish(uint32_t fetch, int error) {
  const Wanted& each = wanted[fetch];
  complete({.kind = IoKind::read,
            .token = each.token,
            .error = error,
            .bytes = error == 0 ? each.extent.length_bytes : 0,
            .has_facts = true,
            .facts = facts(files[each.file])});
  wanted_pool.give_back(fetch);
}

}  // namespace sluice::replica
