// Records: what the nodes of a cluster know together. With etcd each is a key; without, peers send
// them to each other (Session::send_record). Either way the Directory sees the same.
//
//   Manifest    immutable: what a generation's bytes are
//   Assignment  who is to hold it; a higher revision replaces a lower one
//   Mark        this node, in this epoch, holds every byte of it and has verified each
//   Current     which generation a path leads to
//
// emit and parse: docs/formats/replication.md. Bad bytes are refused with a reason, never an
// ASSERT.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/fixed_vector.h"
#include "replica/digests.h"
#include "replica/ids.h"

namespace sluice::replica {

struct Manifest {
  GenerationId generation;
  std::string path;  // relative to the root, as in content::Lookup; at most published_path_max
  uint64_t size_bytes = 0;
  int64_t modified_unix_s = 0;
  uint32_t piece_bytes = 0;          // the chunk size; all nodes of a cluster have the same
  std::vector<uint32_t> piece_crcs;  // CRC-32C of each piece
  Sha256 digest{};                   // of the above: digest_of()

  [[nodiscard]] uint32_t pieces() const { return static_cast<uint32_t>(piece_crcs.size()); }
  /// The strong validator on every node: the digest's first eight bytes.
  [[nodiscard]] uint64_t etag() const;
};

struct Assignment {
  GenerationId generation;
  uint32_t revision = 0;
  uint8_t copies = 1;                        // asked for, the publisher's included
  FixedVector<NodeId, holders_max> holders;  // in order of the chain; the publisher first
};

struct Mark {
  GenerationId generation;
  NodeId node;
  NodeEpoch epoch = 0;
  bool held = true;  // false: it held it, and does no more
};

struct Current {
  std::string path;
  GenerationId generation;  // none: unpublished
  uint64_t supersedes = 0;  // number of the generation that was current before; 0: none
};

using Record = std::variant<Manifest, Assignment, Mark, Current>;

/// SHA-256 over size, piece size and the pieces' checksums (all little-endian).
[[nodiscard]] Sha256 digest_of(const Manifest& manifest, const Digests& digests);

/// Pieces of an object of that size. UINT64_MAX where piece_bytes is 0.
[[nodiscard]] uint64_t pieces_of(uint64_t size_bytes, uint32_t piece_bytes);

/// Whether a path may be published: as in content::Lookup, not empty, not an internal name
/// (overlay.h), at most published_path_max.
[[nodiscard]] bool is_published_path(std::string_view path);

enum class RecordError : uint8_t {
  none,
  truncated,
  unknown_kind,
  bad_length,
  bad_path,
  bad_digest,
  bad_value
};

/// Appends the record to `out`. Requires: path and pieces within their limits, and what parse()
/// demands of a record.
void emit(const Record& record, std::vector<std::byte>& out);
/// Parses exactly one record. A Manifest's digest is checked.
[[nodiscard]] RecordError parse(Bytes bytes, const Digests& digests, Record& out);

/// Longest emitted record.
inline constexpr uint32_t record_bytes_max = 512 * 1024;

}  // namespace sluice::replica
