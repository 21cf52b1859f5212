// Watches: the directories on the way to files that were opened, watched with inotify, so that a
// change is known at once. What is not watched (a limit was reached, a file system without
// inotify, what lies behind a symbolic link to elsewhere) is found by looking again in time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/bytes.h"
#include "disk/disk.h"
#include "stats/counters.h"

namespace sluice::disk {

class Watches {
 public:
  /// `root`: descriptor of the root; outlives this. `max`: 0 for none.
  Watches(int root, uint32_t max, stats::Counters& counters);
  ~Watches();
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;

  /// Readable when read_events() will find some; -1 where there is no inotify.
  [[nodiscard]] int descriptor() const { return inotify_; }
  /// Watches the directories on the way to the file. Returns true when one was not watched before:
  /// then the file may have changed unnoticed since it was opened.
  [[nodiscard]] bool add_way_to(std::string_view path);
  /// Reads what happened. Requires: is_drained().
  void read_events();
  /// Returns false when all that was read is told.
  [[nodiscard]] bool poll_change(Change& out);
  [[nodiscard]] bool is_drained() const { return events_.empty(); }

  [[nodiscard]] size_t count() const { return by_descriptor_.size(); }

 private:
  struct Watched {
    std::string path;
    bool many_names = false;  // reached by several paths: which one changed is not told
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
    size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>::operator()(text);
    }
  };
  [[nodiscard]] bool add(std::string_view directory);
  void forget(std::string_view directory);
  void forget_watch(int watch);

  int root_;
  uint32_t max_;
  stats::Counters& counters_;
  int inotify_ = -1;
  std::unordered_map<std::string, int, Hash, std::equal_to<>> by_path_;
  std::unordered_map<int, Watched> by_descriptor_;
  alignas(8) std::array<std::byte, 65'536> buffer_;
  Bytes events_;  // in the buffer, not told yet
  std::string changed_path_;
};

}  // namespace sluice::disk
