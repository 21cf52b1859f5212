// RootScan: which files below a directory are new, changed or gone since the last look. For
// --copies: what is found is published. On the helper's thread of replica_thread.h.
//
// A file counts as changed when what stat tells of it is another than at the last look; one that
// changed a moment ago is left for the next, since its writer may not have finished. Directories
// that are symbolic links are not followed; files that are, and that lead to a file, are taken.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace sluice::app {

class RootScan {
 public:
  struct Change {
    std::string path;  // relative to the root
    bool gone = false;
  };

  RootScan(std::string root, uint32_t files_max) : root_(std::move(root)), files_max_(files_max) {}

  /// Units of `now_ns`: wall clock, as the time stamps of files.
  [[nodiscard]] std::vector<Change> look(int64_t now_ns);
  /// There are more files than may be: those met last are left out.
  [[nodiscard]] bool is_full() const { return is_full_; }

 private:
  struct Facts {
    uint64_t device = 0;
    uint64_t inode = 0;
    uint64_t size_bytes = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Facts&) const = default;
  };
  struct File {
    Facts told;
    uint64_t seen = 0;  // in which look
  };

  std::string root_;
  uint32_t files_max_;
  uint64_t looks_ = 0;
  bool is_full_ = false;
  std::unordered_map<std::string, File> files_;
};

}  // namespace sluice::app
