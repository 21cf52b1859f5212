// SimulatedDisk: the other side of store/io.h in virtual time. Files whose every byte is a pattern,
// with latency, errors, short reads, and files that are replaced while they are read.
//
// A file that is replaced is another inode, as after a rename over it: who has the old one open
// still reads its bytes, and is told that it has no name any more.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "content/arena_view.h"
#include "store/io.h"

namespace sluice::sim {

struct DiskOptions {
  int64_t latency_ns_min = 20'000;
  int64_t latency_ns_max = 200'000;
  uint32_t open_error_per_10000 = 0;
  uint32_t read_error_per_10000 = 0;
  uint32_t short_read_per_10000 = 0;
};

class SimulatedDisk {
 public:
  SimulatedDisk(const DiskOptions& options, uint64_t seed, uint32_t max_open_files,
                const content::ArenaView& arena)
      : options_(options), prng_(seed), open_(max_open_files), arena_(arena) {}

  /// Creates the file, or puts another in its place: `size` bytes of pattern(seed).
  void put(int64_t now_ns, const std::string& path, uint64_t size, uint64_t seed);

  /// The process that used it is gone: nothing is open, nothing under way. Files stay.
  void restart(const content::ArenaView& arena);
  void set_options(const DiskOptions& options) { options_ = options; }

  void submit(int64_t now_ns, const store::IoRequest& request);
  /// Returns false when nothing is complete.
  [[nodiscard]] bool poll(int64_t now_ns, store::IoCompletion& out);
  [[nodiscard]] int64_t next_ns() const {
    return pending_.empty() ? INT64_MAX : pending_.begin()->first;
  }
  [[nodiscard]] size_t in_flight() const { return pending_.size(); }
  [[nodiscard]] uint64_t errors() const { return errors_; }
  [[nodiscard]] uint64_t reads() const { return reads_; }

 private:
  struct Inode {
    uint64_t number = 0;
    uint64_t size = 0;
    uint64_t seed = 0;
    int64_t changed_ns = 0;
    uint32_t links = 1;
  };
  struct Pending {
    store::IoRequest request;
    std::string path;
  };

  [[nodiscard]] store::FileFacts facts(int64_t now_ns, const Inode& inode) const;
  void read(const Inode& inode, const store::IoRequest& request, store::IoCompletion& out);

  DiskOptions options_;
  Prng prng_;
  std::map<std::string, std::shared_ptr<Inode>> names_;
  std::vector<std::shared_ptr<Inode>> open_;
  std::multimap<int64_t, Pending> pending_;
  content::ArenaView arena_;
  // Reads in a row that were short at a place (inode, offset).
  std::map<std::pair<uint64_t, uint64_t>, uint32_t> short_in_a_row_;
  uint64_t inodes_ = 0;
  uint64_t errors_ = 0;
  uint64_t reads_ = 0;
};

}  // namespace sluice::sim
