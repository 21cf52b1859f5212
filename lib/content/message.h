// The messages between workers and the Store. They travel through one SpscRing each way per worker,
// in order. Nothing else is shared but the arena's bytes and relaxed, read-only counters.
//
//   worker                         Store
//     Lookup{ticket, path}   ->
//                            <-    LookupAnswer{ticket, status, info}
//     NeedPiece{object, n}   ->
//                            <-    PieceReady{object, n, extent}     the worker may now use the
//                            chunk
//                            <-    PieceFailed{object, n, reason}
//                            <-    Retire{chunk}                     forget the chunk, use it no
//                            more
//     Retired{chunk}         ->                                      no frame refers to it any
//     longer
//     Discard{object, n}     ->                                      its bytes are not to be used
//                            <-    Revalidate{}                      ask Lookup again before next
//                            use
//
// Every Lookup gets exactly one LookupAnswer. Every NeedPiece gets exactly one PieceReady or
// PieceFailed; a worker has at most one NeedPiece open for a piece. Every Retire gets exactly one
// Retired; after sending Retire the Store sends no PieceReady for that chunk until Retired came
// back.
//
// The Store's last worker may be its *holder* (store::Config): what it has pinned stays, but for a
// Discard. A Retire that meets a pinned chunk is to be obeyed all the same: the holder lets go of
// all that it holds there, answers Retired and may ask again.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "content/ids.h"

namespace sluice::content {

/// `path` is relative to the root, percent-decoded, without "." or ".." parts, empty parts or NUL,
/// and without a leading slash. Its memory belongs to the worker and stays as it is until the
/// answer.
struct Lookup {
  uint32_t ticket = 0;
  std::string_view path;
};

struct NeedPiece {
  ObjectId object;
  PieceNumber piece = 0;
  bool prefetch = false;  // read-ahead: the Store may answer PieceFailed{declined} under pressure
};

struct Retired {
  ChunkIndex chunk;
};

/// The bytes of a piece that is ready turned out to be wrong: nobody is to find them any more. The
/// whole chunk is taken back (Retire to every worker that was told of it), since workers serve from
/// a chunk until they are told otherwise; other short pieces in it go too. Who needs one of them
/// asks again and has it fetched anew. No answer; of a piece that is not ready, no effect.
struct Discard {
  ObjectId object;
  PieceNumber piece = 0;
};

using ToStore = std::variant<Lookup, NeedPiece, Retired, Discard>;

enum class LookupStatus : uint8_t {
  found,      // a regular file; `info` is valid
  directory,  // a directory
  not_found,  // nothing there, or not a regular file, or outside the root
  forbidden,  // the kernel refused (EACCES, EPERM, ELOOP)
  busy,       // a table is full; try again later
  io_error,   // the disk failed
};

struct LookupAnswer {
  uint32_t ticket = 0;
  LookupStatus status = LookupStatus::not_found;
  ObjectInfo info;
};

struct PieceReady {
  ObjectId object;
  PieceNumber piece = 0;
  Extent extent;
};

enum class PieceFailure : uint8_t {
  stale,     // the file changed: this version can be read no more
  io_error,  // the disk failed
  declined,  // a prefetch that was not done; ask again when it is needed
};

struct PieceFailed {
  ObjectId object;
  PieceNumber piece = 0;
  PieceFailure reason = PieceFailure::io_error;
};

struct Retire {
  ChunkIndex chunk;
};

struct Revalidate {};

using ToWorker = std::variant<LookupAnswer, PieceReady, PieceFailed, Retire, Revalidate>;

}  // namespace sluice::content
