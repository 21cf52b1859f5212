// Link: one direction of a simulated wire, in virtual time. A queue with a limit in front of a line
// of some rate, then a delay; and everything that can go wrong with a frame.
//
//   send -> [partition, loss] -> [queue: tail drop, ECN mark] -> line (-> [loss]) -> delay (+
//   reordering) -> poll
//
// Read first: RFC 3168 section 5 (marks); Gilbert 1960, Elliott 1963 (bursts of loss).
// Invariant: offered + duplicated = delivered + dropped by cause + in flight, at any moment.
// A run is a function of the options, the seed and the calls.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/prng.h"
#include "reference_client.h"

namespace sluice::sim {

struct LinkOptions {
  int64_t delay_ns = 100'000;
  uint64_t bytes_per_second = 0;  // 0: no limit
  uint32_t queue_frames = 1000;   // of 1514 bytes; tail drop beyond, in front of the limit
  uint32_t mark_frames = 0;       // ECN: an ECT packet behind so many is marked CE; 0: never

  size_t carries_bytes = 0;  // longer IP packets vanish; 0: none does

  uint32_t loss_per_10000 = 0;
  bool loss_behind_line = false;  // what is lost has used its share of the rate, as on a radio link
  // Gilbert-Elliott: from the good state to the bad one and back, a frame at a time; a silence of
  // 50 ms ends the bad one too.
  uint32_t burst_begin_per_10000 = 0;
  uint32_t burst_end_per_10000 = 2'000;
  uint32_t burst_loss_per_10000 = 7'000;  // in the bad state

  uint32_t reorder_per_10000 = 0;
  int64_t reorder_ns = 0;  // how much later such a frame comes; 0: four delays
  uint32_t duplicate_per_10000 = 0;
  uint32_t corrupt_per_10000 = 0;  // one bit

  struct Partition {
    int64_t from_ns = 0;
    int64_t until_ns = 0;
  };
  std::vector<Partition> partitions;  // nothing that is sent meanwhile arrives

  [[nodiscard]] std::string describe() const;
};

/// Frames, by what became of them.
struct LinkCounts {
  uint64_t offered = 0;
  uint64_t duplicated = 0;
  uint64_t delivered = 0;
  uint64_t dropped_loss = 0;
  uint64_t dropped_burst = 0;
  uint64_t dropped_queue = 0;
  uint64_t dropped_partition = 0;
  uint64_t dropped_too_long = 0;
  uint64_t reordered = 0;
  uint64_t corrupted = 0;
  uint64_t marked = 0;

  [[nodiscard]] uint64_t dropped() const {
    return dropped_loss + dropped_burst + dropped_queue + dropped_partition + dropped_too_long;
  }
};

class Link {
 public:
  Link(const LinkOptions& options, uint64_t seed) : options_(options), prng_(seed) {}

  void send(int64_t now_ns, Frame frame);
  /// Returns false when nothing has arrived by `now_ns`.
  [[nodiscard]] bool poll(int64_t now_ns, Frame& out);
  /// INT64_MAX: nothing is under way.
  [[nodiscard]] int64_t next_ns() const {
    return flying_.empty() ? INT64_MAX : flying_.begin()->first;
  }

  [[nodiscard]] const LinkCounts& counts() const { return counts_; }
  [[nodiscard]] size_t in_flight() const { return flying_.size(); }
  [[nodiscard]] bool is_balanced() const {
    return counts_.offered + counts_.duplicated ==
           counts_.delivered + counts_.dropped() + in_flight();
  }
  [[nodiscard]] const LinkOptions& options() const { return options_; }

 private:
  [[nodiscard]] bool is_partitioned(int64_t now_ns) const;
  [[nodiscard]] bool is_lost(int64_t now_ns);

  LinkOptions options_;
  Prng prng_;
  bool bad_ = false;
  int64_t last_offered_ns_ = 0;
  int64_t line_free_at_ns_ = 0;
  std::multimap<int64_t, Frame> flying_;  // by arrival; at one time in the order sent
  LinkCounts counts_;
};

/// Marks an IPv4 or IPv6 packet that is ECN-capable with CE. Returns: whether it was. Source:
/// RFC 3168 section 5.
bool mark_congestion(Frame& frame);

}  // namespace sluice::sim
