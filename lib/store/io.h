// What the Store asks of the disk edge, and what it is told. Plain values: a simulated disk in a
// test speaks them as well as io_uring does.
//
//   Store                             disk
//     open{token, file, path}    ->            open beneath the root, then stat
//                                <-   completion{open, token, error, facts}
//     stat{token, file}          ->
//                                <-   completion{stat, token, error, facts}
//     read{token, file, ...}     ->            read, then stat the same file
//                                <-   completion{read, token, error, bytes, facts}
//     close{file}                ->            (no answer)
//
// `file` is a number below Config::max_open_files that the Store gives out: the disk keeps its
// descriptor there. A file whose open failed, or was not a regular file, is not open afterwards;
// the Store never has two requests at a time for a file that is not open yet. After close{file}
// the number may be given out again at once.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"
#include "content/ids.h"

namespace sluice::store {

/// The device of what is no file of this machine but a published generation (lib/replica). Such a
/// version's inode is its strong validator, which is the same on every node.
inline constexpr uint64_t published_device = ~uint64_t{0};

/// Changes whenever the bytes of a file may have changed.
struct Version {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;  // mtime, wall clock
  int64_t changed_ns = 0;   // ctime, wall clock

  bool operator==(const Version&) const = default;
};

enum class FileKind : uint8_t { regular, directory, other };

/// What a stat told.
struct FileFacts {
  FileKind kind = FileKind::other;
  Version version;
  uint32_t links = 1;  // 0: unlinked, or replaced by a rename
  int64_t age_ns = 0;  // wall clock at the stat minus changed_ns; negative: from the future
};

enum class IoKind : uint8_t { open, stat, read, close };

struct IoRequest {
  IoKind kind = IoKind::close;
  uint32_t token = 0;
  uint32_t file = 0;
  /// open: relative to the root; "." is the root. Valid until the Store's next call.
  std::string_view path;
  /// read: these bytes of the file, into the arena. The extent starts at a multiple of
  /// io_align_bytes and has room up to the next one after its end.
  uint64_t offset_bytes = 0;
  content::Extent extent;
};

struct IoCompletion {
  IoKind kind = IoKind::read;
  uint32_t token = 0;
  int error = 0;       // 0 or a positive errno
  uint32_t bytes = 0;  // read: how many arrived; fewer than asked is no error
  bool has_facts = false;
  FileFacts facts;
};

/// Direct reads begin and end at multiples of this, in the file and in memory.
inline constexpr uint32_t io_align_bytes = 4096;
/// Longest path that is asked of the disk: PATH_MAX without its NUL.
inline constexpr uint32_t path_bytes_max = 4095;

}  // namespace sluice::store
