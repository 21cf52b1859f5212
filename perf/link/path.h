// Path: one direction of an emulated link, as a function of its inputs.
//
// A frame meets, in this order:
//
//   offer() -> [queue: tail drop, ECN mark] -> [transmitter: rate] -> [loss] -> [delay, reordering]
//   -> take()
//
// Loss comes behind the bottleneck, as on a radio link: a lost frame has used its share of the
// rate. The queue holds what the transmitter has not finished: the frame that it works on is
// counted with the rest.
//
// No I/O, no clock: time is an argument that never goes backwards, and chance comes from a seed.
// One thread. Bytes are those of Ethernet frames without preamble and check sequence, as a tap
// hands them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <span>
#include <vector>

#include "base/prng.h"
#include "base/time.h"

namespace sluice::perf {

struct PathOptions {
  uint64_t rate_bits_per_s = 0;      // 0: no limit
  Duration delay;                    // one way
  uint64_t queue_bytes = 1'500'000;  // tail drop beyond it
  uint64_t ecn_bytes = 0;            // a longer queue marks capable frames (RFC 3168); 0: never
  double loss = 0;                   // of the frames, 0 to 1
  double burst_frames = 1;           // mean length of a run of losses; 1: independent losses
  double reorder = 0;                // of the frames, 0 to 1
  Duration reorder_by;  // how much later than in order; negative: earlier, as netem's reorder
  uint64_t seed = 1;
};

/// What became of the frames. At rest: offered = delivered + dropped_*.
struct PathCounters {
  uint64_t offered = 0;
  uint64_t offered_bytes = 0;
  uint64_t delivered = 0;
  uint64_t delivered_bytes = 0;
  uint64_t dropped_queue = 0;  // tail drop
  uint64_t dropped_loss = 0;   // lost on purpose
  uint64_t dropped_pool =
      0;                // no room in this program: the run says nothing of what it meant to measure
  uint64_t marked = 0;  // ECN
  uint64_t reordered = 0;
  uint64_t queue_bytes_peak = 0;
  Duration late_peak;     // handed out after it was due
  uint64_t late_1ms = 0;  // frames more than a millisecond late
};

class Path {
 public:
  /// frames_max: frames that may be under way at a time.
  Path(const PathOptions& options, size_t frames_max);

  /// A frame enters. Errors: dropped, and counted.
  void offer(Instant now, std::span<const std::byte> frame);
  /// The next frame that is due. Returns: none when none is. Ensures: valid until the next call of
  /// offer().
  [[nodiscard]] std::optional<std::span<const std::byte>> take(Instant now);
  /// When take() has something next.
  [[nodiscard]] Instant next_due() const;

  [[nodiscard]] const PathCounters& counters() const { return counters_; }
  [[nodiscard]] const PathOptions& options() const { return options_; }

 private:
  struct Waiting {
    Instant due;
    uint64_t order = 0;  // of arrival: equal times stay in order
    uint32_t slot = 0;
    uint32_t length = 0;
    [[nodiscard]] bool operator>(const Waiting& other) const {
      return due != other.due ? due > other.due : order > other.order;
    }
  };

  [[nodiscard]] bool happens(double probability);
  [[nodiscard]] bool is_lost(std::span<const std::byte> frame);

  PathOptions options_;
  PathCounters counters_;
  Prng prng_;
  bool in_burst_ = false;
  Instant transmitter_free_;
  uint64_t arrivals_ = 0;
  std::vector<std::byte> memory_;  // slots of slot_bytes
  std::vector<uint32_t> free_slots_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
};

/// Longest frame a Path takes: an Ethernet header and 1,500 bytes. Longer ones mean that somebody
/// left segmentation to a device.
constexpr size_t frame_bytes_max = 1514;

/// Marks a frame of IPv4 or IPv6 as having met congestion. Returns: false when it is not capable
/// (RFC 3168 section 5).
bool mark_congestion(std::span<std::byte> frame);

}  // namespace sluice::perf
