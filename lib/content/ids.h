// The names of content: chunks, extents and object versions.
#pragma once

#include <compare>
#include <cstdint>

#include "base/strong_index.h"

namespace sluice::content {

/// A fixed-size run of immutable bytes in the arena. Indices below the arena's chunk count are
/// content chunks, shared by all workers; the indices that follow are the head slots of one worker
/// (content/arena_view.h).
using ChunkIndex = StrongIndex<struct ChunkTag>;

/// A run of bytes inside one chunk. Everything ever transmitted is a list of extents.
struct Extent {
  ChunkIndex chunk;
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;

  bool operator==(const Extent&) const = default;
};

/// One version of one file. Content of an ObjectId never changes: a file that changes on disk gets
/// another id. Given out by the Store; never used again for another version.
struct ObjectId {
  uint32_t slot = 0;
  uint32_t generation = 0;  // 0: no object

  auto operator<=>(const ObjectId&) const = default;
  [[nodiscard]] bool is_none() const { return generation == 0; }
};

/// What a worker knows of an object version.
struct ObjectInfo {
  ObjectId id;
  uint64_t size_bytes = 0;
  int64_t modified_unix_s = 0;  // Last-Modified
  uint64_t etag = 0;            // strong validator: changes whenever the bytes may have changed
};

/// Piece n of an object is its bytes [n * chunk_size, min((n + 1) * chunk_size, size)). A piece
/// lies in one chunk, whole; short pieces share chunks.
using PieceNumber = uint32_t;

}  // namespace sluice::content
