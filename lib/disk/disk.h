// Disk: files beneath one directory, read through io_uring into the arena. Carries out what the
// Store asks (store/io.h) and tells what changed (inotify).
//
//  - Paths are resolved by the kernel beneath the root (openat2 RESOLVE_BENEATH|NO_MAGICLINKS), so
//    neither ".." nor a symbolic link leaves it. Opened without blocking: a FIFO or a device cannot
//    hold the thread up; nothing but regular files stays open.
//  - Reads are O_DIRECT into registered memory; buffered where the file system refuses.
//  - After each read the same file is looked at again.
//  - The directories on the way to opened files are watched, as far as the limit goes.
//
// Where io_uring is not available the same is done with plain system calls, one at a time.
//
// One thread uses a Disk, the store's; it may be made by another. wake() alone may be called by any
// thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "stats/counters.h"
#include "store/io.h"

namespace sluice::disk {

struct Options {
  std::string root;      // directory
  MutableBytes content;  // all chunks
  uint32_t chunk_bytes = 0;
  uint32_t max_open_files = 0;   // as in store::Config
  uint32_t requests_max = 128;   // opens and reads in flight
  uint32_t watches_max = 4'096;  // directories watched; 0: none
  bool use_direct = true;        // O_DIRECT where the file system takes it
  bool use_io_uring = true;
  /// For what only the disk knows (store_reads_buffered, store_watches_refused). Outlives it.
  stats::Counters* counters = nullptr;
};

struct Change {
  bool anywhere = false;  // anything may have changed; otherwise the file at `path` may have
  std::string_view path;  // relative to the root; valid until the next call
};

class Disk {
 public:
  /// Errors: the root is no directory or may not be read; no memory or descriptors.
  [[nodiscard]] static Result<std::unique_ptr<Disk>> create(const Options& options);
  /// Waits for reads in flight: they write into the arena.
  virtual ~Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// Requires: fewer than requests_max opens, stats and reads are in flight.
  virtual void submit(const store::IoRequest& request) = 0;
  /// Returns false when no more is complete.
  [[nodiscard]] virtual bool poll_completion(store::IoCompletion& out) = 0;
  /// Returns false when no more is known to have changed.
  [[nodiscard]] virtual bool poll_change(Change& out) = 0;
  /// Starts what was submitted; then, unless something is complete already, sleeps until something
  /// is, or changed, or wake() was called, or `limit` is over.
  virtual void wait(Duration limit) = 0;
  /// Starts what was submitted, and does not sleep.
  virtual void flush() = 0;
  /// Something is complete already.
  [[nodiscard]] virtual bool has_completions() = 0;
  /// Ends a wait(), or the next one at once. Any thread.
  virtual void wake() = 0;

  /// One line for the start-up report.
  [[nodiscard]] virtual const std::string& description() const = 0;

 protected:
  Disk() = default;
};

}  // namespace sluice::disk
