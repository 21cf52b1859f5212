// Link: taps on two sides and the Path of each direction between them.
//
// Each side may have several taps; they share the path. A frame goes to the tap behind which its
// destination was last seen, or to all of the far side. Taps of one side do not hear each other:
// they meet only at the bottleneck.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "path.h"
#include "tap.h"

namespace sluice::perf {

/// Where a frame comes from. Also the direction: what the server's side sends goes down.
enum class Side : uint8_t { server, client };

struct LinkCounters {
  uint64_t oversize = 0;     // frames longer than frame_bytes_max: refused
  uint64_t not_written = 0;  // a tap's kernel side did not take a frame
};

class Link {
 public:
  void add(Side side, Tap tap);
  /// Empties one direction and gives it new properties and counters.
  void configure(Side from, const PathOptions& options);

  /// Moves what can be moved now. Returns: when something is due next.
  Instant turn(Instant now);

  [[nodiscard]] const Path& path(Side from) const { return paths_[index(from)]; }
  [[nodiscard]] const LinkCounters& counters() const { return counters_; }
  [[nodiscard]] std::vector<int> descriptors() const;

 private:
  static constexpr size_t frames_max = 16'384;  // 1 Gbit/s over 100 ms, and a queue
  static constexpr size_t reads_max = 64;       // of one tap in one turn
  struct End {
    Side side;
    Tap tap;
  };

  static size_t index(Side side) { return static_cast<size_t>(side); }
  void read_all(Instant now, size_t number);
  void forward(Side from, std::span<const std::byte> frame);

  std::vector<End> ends_;
  std::vector<Path> paths_{Path({}, frames_max), Path({}, frames_max)};
  std::map<uint64_t, size_t> learnt_;  // link address -> end
  LinkCounters counters_;
};

}  // namespace sluice::perf
