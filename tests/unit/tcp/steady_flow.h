// SteadyFlow: a congestion control fed with whole windows of ACKs, one for two segments, on a path
// that loses nothing and whose round-trip time the test says.
#pragma once

#include <algorithm>

#include "tcp/congestion_control.h"

namespace sluice::tcp {

class SteadyFlow {
 public:
  static constexpr uint16_t mss = 1448;

  explicit SteadyFlow(CongestionAlgorithm algorithm) : cc(algorithm, mss) {}

  struct Path {
    bool limited = true;        // the window is in use
    uint32_t window_bytes = 0;  // acknowledged in the round trip; 0: cwnd()
    uint32_t marked_of = 0;     // every n-th ACK echoes a mark; 0: none does
    RecoveryMode mode = RecoveryMode::open;
  };
  void round_trip(Duration rtt) { round_trip(rtt, {}); }
  void round_trip(Duration rtt, Path path) {
    const uint32_t window = path.window_bytes > 0 ? path.window_bytes : cc.cwnd();
    const uint32_t acks = (window + 2u * mss - 1) / (2u * mss);
    const StreamOffset nxt = una + window;
    uint32_t acked = 0;
    for (uint32_t i = 0; i < acks; ++i) {
      const uint32_t bytes = std::min<uint32_t>(2u * mss, window - acked);
      una += bytes;
      acked += bytes;
      cc.on_ack(now,
                {.newly_acked_bytes = bytes,
                 .rtt = rtt,
                 .prior_in_flight_bytes = window,
                 .in_flight_bytes = window - bytes,
                 .cwnd_limited = path.limited},
                {.snd_una = una,
                 .snd_nxt = nxt + acked,
                 .srtt = rtt,
                 .min_rtt = rtt,
                 .mode = path.mode,
                 .ece = path.marked_of > 0 && i % path.marked_of == 0});
    }
    now = now + rtt;
  }
  void lose() {
    cc.on_loss_event(now, cc.cwnd(), &before_loss);
    cc.on_recovery_end(now);
  }

  CongestionControl cc;
  CongestionControl::SavedWindow before_loss;
  StreamOffset una{(uint64_t{1} << 32) - 100'000};
  Instant now = Instant::from_ns(5'000'000'000);
};

}  // namespace sluice::tcp
