// Throttle: how fast content may be written to peers: below a rate, and, while clients are served,
// below a share of all that leaves.
//
// A token bucket in debt: a write may begin when the bucket is not empty, and takes its length from
// it, so that pieces of any size pass. The bucket holds what burst seconds bring.
//
// The share: client traffic is measured over intervals of load_every. Where it is less than a
// hundredth of the largest total seen lately, nobody is served to speak of, and there is no share.
// Else replication may send share / (100 - share) times what clients got, and at least a tenth (or
// the share, where that is less) of that largest total, so that a slow trickle of clients does not
// stop it. The total is an average over about a second, of what left: not of writes that began, of
// which many wait behind each other on a slow link.
//
// Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace sluice::replica {

struct ThrottleConfig {
  uint64_t rate_bytes_per_s = 0;  // 0: no limit
  uint32_t share_percent = 50;    // 100: no limit
};

class Throttle {
 public:
  static constexpr Duration burst = 20_ms;
  static constexpr Duration load_every = 100_ms;

  explicit Throttle(const ThrottleConfig& config) : config_(config) {}

  /// Whether a write may begin now.
  [[nodiscard]] bool may_write(Instant now) {
    refill(now);
    return limit() == 0 || tokens_ > 0;
  }
  void note_written(uint64_t bytes) {
    if (limit() != 0) tokens_ -= static_cast<int64_t>(bytes);
  }
  /// A write ended.
  void note_done(uint64_t bytes) { done_ += bytes; }
  /// `client_tx_bytes`: sent to clients so far.
  void handle_load(Instant now, uint64_t client_tx_bytes);
  /// When may_write() will be true; now or earlier: it is.
  [[nodiscard]] Instant ready_at() const;
  /// Bytes a second; 0: none now.
  [[nodiscard]] uint64_t limit() const {
    if (share_limit_ == 0) return config_.rate_bytes_per_s;
    if (config_.rate_bytes_per_s == 0) return share_limit_;
    return std::min(share_limit_, config_.rate_bytes_per_s);
  }

 private:
  void refill(Instant now);

  ThrottleConfig config_;
  int64_t tokens_ = 0;
  Instant refilled_at_;
  uint64_t share_limit_ = 0;  // bytes a second; 0: none
  bool has_load_ = false;
  Instant load_at_;
  uint64_t load_bytes_ = 0;   // of clients, at load_at_
  uint64_t done_ = 0;         // to peers
  uint64_t load_done_ = 0;    // likewise, at load_at_
  uint64_t total_per_s_ = 0;  // clients and peers, smoothed
  uint64_t peak_per_s_ = 0;   // of that; halves in 7 s
};

}  // namespace sluice::replica
