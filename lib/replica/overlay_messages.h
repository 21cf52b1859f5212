// The messages between the replica's thread (Node) and the store's (Overlay), over one SPSC ring
// each way. The Node also is a client of the Store like any worker: it asks Lookup and NeedPiece of
// internal names and pins what it holds (content/message.h).
//
//   Node                                       Overlay
//     Describe{generation, ...}     ->         the generation's internal name can be opened
//     Redirect{path, generation}    ->         lookups of the path lead to the generation
//     Redirect{path, none}          ->         lookups of the path lead to the disk again
//     Forget{generation}            ->         it can be opened no more
//     AskReaders{generation}        ->         is it being read here?
//                                   <-         Readers{generation, are_there}
//                                   <-         Fetch{fetch, generation, piece, extent}  bytes
//                                   wanted there
//     ReadDisk{fetch}               ->         take them from this node's own file
//                                   <-         DiskRead{fetch, error}          (to be verified)
//     Fetched{fetch, error}         ->         the bytes are there, verified; or cannot be had
//
// Every Fetch is ended by exactly one Fetched. Until then the extent is the fetch's; afterwards
// nobody may write there: a peer that was granted it must have been fenced. A ReadDisk is answered
// before its Fetch is ended. A Fetch may be of a generation that was forgotten (a file of it is
// open still): the Node that knows it no more answers ESTALE.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include "base/assert.h"
#include "content/ids.h"
#include "replica/ids.h"

namespace sluice::replica {

/// Paths travel by value: no thread reads another's memory.
struct PathText {
  std::array<char, published_path_max + 1> text{};
  uint16_t length_bytes = 0;

  PathText() = default;
  explicit PathText(std::string_view path) : length_bytes(static_cast<uint16_t>(path.size())) {
    ASSERT(path.size() <= published_path_max);
    path.copy(text.data(), path.size());
  }
  [[nodiscard]] std::string_view view() const { return {text.data(), length_bytes}; }
};

struct Describe {
  GenerationId generation;
  uint64_t size_bytes = 0;
  int64_t modified_unix_s = 0;
  uint64_t etag = 0;
  PathText path;  // of this node's own file with, perhaps, the same bytes
};
struct Redirect {
  PathText path;
  GenerationId generation;
};
struct Forget {
  GenerationId generation;
};
/// AskReaders that may be without an answer.
inline constexpr uint32_t readers_asked_max = 1;
struct AskReaders {
  GenerationId generation;
};
struct ReadDisk {
  uint32_t fetch = 0;
};
struct Fetched {
  uint32_t fetch = 0;
  int error = 0;  // 0 or a positive errno
};
using ToOverlay = std::variant<Describe, Redirect, Forget, AskReaders, ReadDisk, Fetched>;

struct Fetch {
  uint32_t fetch = 0;  // below the Store's reads_in_flight
  GenerationId generation;
  content::PieceNumber piece = 0;
  content::Extent extent;
};
struct DiskRead {
  uint32_t fetch = 0;
  int error = 0;
};
/// One for each AskReaders.
struct Readers {
  GenerationId generation;
  bool are_there = false;
};
using FromOverlay = std::variant<Fetch, DiskRead, Readers>;

}  // namespace sluice::replica
