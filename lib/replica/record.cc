#include "replica/record.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"

namespace sluice::replica {
namespace {

// docs/formats/replication.md, "Records". All integers little-endian.
//
//             0        1        2               4                               8
//  Manifest   | kind 1 | ver. 1 | path bytes    | piece bytes                   |
//           8 | number            16 publisher    24 size    32 modified, s     |
//          40 | pieces             44 zero        48 digest (32)                |
//          80 | CRC-32C of each piece, then the path                            |
//
//  Assignment | kind 2 | ver. 1 | copies | holders | revision                    |
//           8 | number            16 publisher    24 node id of each holder     |
//
//  Mark       | kind 3 | ver. 1 | held   | zero    | zero                        |
//           8 | number            16 publisher    24 node    32 epoch           |
//
//  Current    | kind 4 | ver. 1 | path bytes      | zero                        |
//           8 | number            16 publisher    24 supersedes    32 path      |
constexpr uint8_t kind_manifest = 1;
constexpr uint8_t kind_assignment = 2;
constexpr uint8_t kind_mark = 3;
constexpr uint8_t kind_current = 4;
constexpr uint8_t version = 1;

constexpr size_t generation_at = 8;
constexpr size_t manifest_head = 80;
constexpr size_t assignment_head = 24;
constexpr size_t mark_length = 40;
constexpr size_t current_head = 32;

static_assert(manifest_head + pieces_max * sizeof(uint32_t) + published_path_max <=
              record_bytes_max);

template <typename T>
T load(Bytes bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <typename T>
void append(std::vector<std::byte>& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}

void append(std::vector<std::byte>& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& out, GenerationId generation) {
  append(out, generation.number);
  append(out, generation.publisher.value);
}

GenerationId load_generation(Bytes bytes) {
  return {load<uint64_t>(bytes, generation_at), {load<uint64_t>(bytes, generation_at + 8)}};
}

bool is_whole(GenerationId generation) {
  return generation.number != 0 && !generation.publisher.is_none();
}

void emit_one(const Manifest& manifest, std::vector<std::byte>& out) {
  ASSERT(manifest.path.size() <= published_path_max && manifest.pieces() <= pieces_max);
  append(out, kind_manifest);
  append(out, version);
  append(out, static_cast<uint16_t>(manifest.path.size()));
  append(out, manifest.piece_bytes);
  append(out, manifest.generation);
  append(out, manifest.size_bytes);
  append(out, manifest.modified_unix_s);
  append(out, manifest.pieces());
  append(out, uint32_t{0});
  append(out, Bytes(manifest.digest));
  append(out, std::as_bytes(std::span(manifest.piece_crcs)));
  append(out, as_byte_span(manifest.path));
}

void emit_one(const Assignment& assignment, std::vector<std::byte>& out) {
  append(out, kind_assignment);
  append(out, version);
  append(out, assignment.copies);
  append(out, static_cast<uint8_t>(assignment.holders.size()));
  append(out, assignment.revision);
  append(out, assignment.generation);
  for (const NodeId holder : assignment.holders) append(out, holder.value);
}

void emit_one(const Mark& mark, std::vector<std::byte>& out) {
  append(out, kind_mark);
  append(out, version);
  append(out, static_cast<uint8_t>(mark.held ? 1 : 0));
  append(out, uint8_t{0});
  append(out, uint32_t{0});
  append(out, mark.generation);
  append(out, mark.node.value);
  append(out, mark.epoch);
}

void emit_one(const Current& current, std::vector<std::byte>& out) {
  ASSERT(current.path.size() <= published_path_max);
  append(out, kind_current);
  append(out, version);
  append(out, static_cast<uint16_t>(current.path.size()));
  append(out, uint32_t{0});
  append(out, current.generation);
  append(out, current.supersedes);
  append(out, as_byte_span(current.path));
}

RecordError parse_manifest(Bytes bytes, const Digests& digests, Record& out) {
  if (bytes.size() < manifest_head) return RecordError::truncated;
  const size_t path_bytes = load<uint16_t>(bytes, 2);
  const uint32_t pieces = load<uint32_t>(bytes, 40);
  if (pieces > pieces_max) return RecordError::bad_value;
  if (path_bytes > published_path_max) return RecordError::bad_path;
  const size_t crcs_bytes = size_t{pieces} * sizeof(uint32_t);
  const size_t length = manifest_head + crcs_bytes + path_bytes;
  if (bytes.size() < length) return RecordError::truncated;
  if (bytes.size() > length) return RecordError::bad_length;

  Manifest manifest;
  manifest.generation = load_generation(bytes);
  manifest.piece_bytes = load<uint32_t>(bytes, 4);
  manifest.size_bytes = load<uint64_t>(bytes, 24);
  manifest.modified_unix_s = load<int64_t>(bytes, 32);
  if (!is_whole(manifest.generation) || load<uint32_t>(bytes, 44) != 0) {
    return RecordError::bad_value;
  }
  if (pieces_of(manifest.size_bytes, manifest.piece_bytes) != pieces) {
    return RecordError::bad_value;
  }
  const std::string_view path = as_text(bytes.subspan(manifest_head + crcs_bytes));
  if (!is_published_path(path)) return RecordError::bad_path;
  manifest.path = path;
  manifest.piece_crcs.resize(pieces);
  if (pieces > 0) {
    std::memcpy(manifest.piece_crcs.data(), bytes.data() + manifest_head, crcs_bytes);
  }
  std::memcpy(manifest.digest.data(), bytes.data() + 48, manifest.digest.size());
  if (digest_of(manifest, digests) != manifest.digest) return RecordError::bad_digest;
  out = std::move(manifest);
  return RecordError::none;
}

RecordError parse_assignment(Bytes bytes, Record& out) {
  if (bytes.size() < assignment_head) return RecordError::truncated;
  Assignment assignment;
  assignment.copies = load<uint8_t>(bytes, 2);
  const size_t holders = load<uint8_t>(bytes, 3);
  if (holders == 0 || holders > holders_max) return RecordError::bad_value;
  const size_t length = assignment_head + holders * sizeof(uint64_t);
  if (bytes.size() < length) return RecordError::truncated;
  if (bytes.size() > length) return RecordError::bad_length;

  assignment.revision = load<uint32_t>(bytes, 4);
  assignment.generation = load_generation(bytes);
  if (!is_whole(assignment.generation) || assignment.copies == 0 ||
      assignment.copies > holders_max) {
    return RecordError::bad_value;
  }
  for (size_t i = 0; i < holders; ++i) {
    const NodeId holder{load<uint64_t>(bytes, assignment_head + i * sizeof(uint64_t))};
    const auto known = assignment.holders.span();
    if (holder.is_none() || std::find(known.begin(), known.end(), holder) != known.end()) {
      return RecordError::bad_value;
    }
    ASSERT(assignment.holders.push_back(holder));
  }
  out = assignment;
  return RecordError::none;
}

RecordError parse_mark(Bytes bytes, Record& out) {
  if (bytes.size() < mark_length) return RecordError::truncated;
  if (bytes.size() > mark_length) return RecordError::bad_length;
  const auto held = load<uint8_t>(bytes, 2);
  Mark mark;
  mark.generation = load_generation(bytes);
  mark.node = {load<uint64_t>(bytes, 24)};
  mark.epoch = load<uint64_t>(bytes, 32);
  mark.held = held == 1;
  if (!is_whole(mark.generation) || mark.node.is_none() || held > 1 ||
      load<uint8_t>(bytes, 3) != 0 || load<uint32_t>(bytes, 4) != 0) {
    return RecordError::bad_value;
  }
  out = mark;
  return RecordError::none;
}

RecordError parse_current(Bytes bytes, Record& out) {
  if (bytes.size() < current_head) return RecordError::truncated;
  const size_t length = current_head + load<uint16_t>(bytes, 2);
  if (bytes.size() < length) return RecordError::truncated;
  if (bytes.size() > length) return RecordError::bad_length;
  Current current;
  current.generation = load_generation(bytes);
  current.supersedes = load<uint64_t>(bytes, 24);
  const bool is_unpublished =
      current.generation.number == 0 && current.generation.publisher.is_none();
  if ((!is_unpublished && !is_whole(current.generation)) || load<uint32_t>(bytes, 4) != 0) {
    return RecordError::bad_value;
  }
  const std::string_view path = as_text(bytes.subspan(current_head));
  if (!is_published_path(path)) return RecordError::bad_path;
  current.path = path;
  out = std::move(current);
  return RecordError::none;
}

}  // namespace

uint64_t Manifest::etag() const {
  return load<uint64_t>(digest, 0);
}

Sha256 digest_of(const Manifest& manifest, const Digests& digests) {
  std::vector<std::byte> input;
  input.reserve(12 + manifest.piece_crcs.size() * sizeof(uint32_t));
  append(input, manifest.size_bytes);
  append(input, manifest.piece_bytes);
  append(input, std::as_bytes(std::span(manifest.piece_crcs)));
  return digests.sha256(input);
}

uint64_t pieces_of(uint64_t size_bytes, uint32_t piece_bytes) {
  if (piece_bytes == 0) return UINT64_MAX;
  return size_bytes / piece_bytes + (size_bytes % piece_bytes != 0 ? 1 : 0);
}

bool is_published_path(std::string_view path) {
  if (path.empty() || path.size() > published_path_max || path[0] == '\x01') return false;
  if (path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == std::string_view::npos) return true;
    path.remove_prefix(end + 1);
  }
}

void emit(const Record& record, std::vector<std::byte>& out) {
  std::visit([&](const auto& one) { emit_one(one, out); }, record);
}

RecordError parse(Bytes bytes, const Digests& digests, Record& out) {
  if (bytes.size() < 8) return RecordError::truncated;
  if (bytes.size() > record_bytes_max) return RecordError::bad_length;
  if (load<uint8_t>(bytes, 1) != version) return RecordError::unknown_kind;
  switch (load<uint8_t>(bytes, 0)) {
    case kind_manifest:
      return parse_manifest(bytes, digests, out);
    case kind_assignment:
      return parse_assignment(bytes, out);
    case kind_mark:
      return parse_mark(bytes, out);
    case kind_current:
      return parse_current(bytes, out);
    default:
      return RecordError::unknown_kind;
  }
}

}  // namespace sluice::replica
