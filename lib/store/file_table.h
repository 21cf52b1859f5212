// FileTable: which of the disk's file numbers are in use, and which open file to close when another
// is needed: the one whose last read ended longest ago.
#pragma once

#include "base/time.h"
#include "store/links.h"

namespace sluice::store {

class FileTable {
 public:
  struct File {
    uint32_t object = none;  // slot of the object it was opened for
    uint32_t uses = 0;       // reads that are to use it: it may not be closed
    Instant idle_since;
    Link recency;  // open and unused files
  };

  explicit FileTable(uint32_t size) : files_(size), pool_(size) {}

  /// Returns none when every number is out.
  [[nodiscard]] uint32_t take() { return pool_.take(); }
  void give_back(uint32_t file) { pool_.give_back(file); }

  /// The file is open for the object, and not used by a read.
  void attach(Instant now, uint32_t file, uint32_t object) {
    files_[file].object = object;
    files_[file].uses = 0;
    files_[file].idle_since = now;
    idle_.push_back(files_, file);
  }
  /// Requires: attached, no uses. Returns the object it was attached to.
  uint32_t detach(uint32_t file) {
    ASSERT(files_[file].uses == 0);
    idle_.remove(files_, file);
    const uint32_t object = files_[file].object;
    files_[file].object = none;
    return object;
  }
  void use(uint32_t file) {
    if (files_[file].uses++ == 0) idle_.remove(files_, file);
  }
  void unuse(Instant now, uint32_t file) {
    ASSERT(files_[file].uses > 0);
    if (--files_[file].uses > 0) return;
    files_[file].idle_since = now;
    idle_.push_back(files_, file);
  }
  /// The file to close next; none when each is used.
  [[nodiscard]] uint32_t oldest_idle() const { return idle_.first(); }
  [[nodiscard]] Instant idle_since(uint32_t file) const { return files_[file].idle_since; }

  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t size() const { return pool_.size(); }

 private:
  FixedArray<File> files_;
  IndexPool pool_;
  IndexList<File, &File::recency> idle_;
};

}  // namespace sluice::store
