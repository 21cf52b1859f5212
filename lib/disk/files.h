// Files: the descriptors that are open beneath the root, and how one is opened, read and looked at.
// What both kinds of Disk have in common.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <string>

#include "base/fixed_array.h"
#include "base/result.h"
#include "store/io.h"

namespace sluice::disk {

class Files {
 public:
  /// Errors: the root is no directory, or may not be read.
  [[nodiscard]] static Result<Files> open_root(const std::string& root, uint32_t max_open_files);

  Files(Files&& other) noexcept;
  Files& operator=(Files&&) = delete;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files();

  [[nodiscard]] int root() const { return root_; }
  /// Whether the root is on a local file system: looking at an open file there never blocks.
  [[nodiscard]] bool is_local() const { return is_local_; }

  /// How files are opened: beneath the root, and never blocking.
  [[nodiscard]] static open_how how();
  /// How a directory on the way is opened, only to be watched.
  [[nodiscard]] static open_how how_directory();

  /// Keeps an open regular file under the number, with blocking reads, O_DIRECT if asked for and
  /// to be had.
  void keep(uint32_t file, int descriptor, bool direct);
  /// The number is free; the caller closes the descriptor that it returns.
  [[nodiscard]] int release(uint32_t file);
  [[nodiscard]] int descriptor(uint32_t file) const { return open_[file].descriptor; }
  [[nodiscard]] bool is_direct(uint32_t file) const { return open_[file].direct; }
  /// The file system refused a direct read after all.
  void make_buffered(uint32_t file);

  /// Returns an errno, or 0 and the facts.
  [[nodiscard]] static int look(int descriptor, store::FileFacts& facts);
  [[nodiscard]] static store::FileFacts facts_of(const struct statx& from);

 private:
  Files() = default;

  struct Open {
    int descriptor = -1;
    bool direct = false;
  };
  int root_ = -1;
  bool is_local_ = true;
  FixedArray<Open> open_;
};

/// Units: bytes. How much a direct read asks for: up to the next block.
[[nodiscard]] constexpr uint32_t direct_length(uint32_t length_bytes) {
  return (length_bytes + store::io_align_bytes - 1) / store::io_align_bytes * store::io_align_bytes;
}

}  // namespace sluice::disk
