// CongestionControl: how much may be in flight. One narrow seam, and the algorithms behind it.
//
// Read first: RFC 5681 (the events), RFC 9438 (CUBIC), RFC 9406 (HyStart++), RFC 6582 (NewReno).
// A plain value of 48 bytes inside a connection: copying it before a loss event is the way to undo
// one that proved spurious. What to retransmit and when to leave recovery is the caller's.
//
// A new algorithm: one more enumerator, one file with its two or three functions, one more line in
// each switch of congestion_control.cc; its state goes into the union.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/time.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

enum class CongestionAlgorithm : uint8_t { cubic, new_reno };

// RFC 6928 section 2: IW = min (10*MSS, max (2*MSS, 14600)).
[[nodiscard]] constexpr uint32_t initial_window_bytes(uint32_t mss) {
  const uint32_t low = 2 * mss > 14'600 ? 2 * mss : 14'600;
  return 10 * mss < low ? 10 * mss : low;
}

/// One ACK that acknowledged something new, outside of loss recovery.
struct AckEvent {
  // Bytes newly delivered, by cumulative or selective ACK, each counted once.
  uint32_t acked_bytes = 0;
  Duration rtt;           // the sample that this ACK gave; 0: none
  Duration smoothed_rtt;  // 0: not known yet
  StreamOffset snd_una;   // after this ACK
  StreamOffset snd_nxt;
  // The sender did not use the whole window that it had: nothing was learnt about the path.
  bool app_limited = false;
};

class CongestionControl {
 public:
  CongestionControl() = default;
  /// Units: `mss` in bytes of payload per segment.
  CongestionControl(CongestionAlgorithm algorithm, uint16_t mss);

  void on_ack(Instant now, const AckEvent& ack);
  /// A loss was found and recovery begins: at most once per window of data. cwnd() becomes
  /// ssthresh(); the caller meters what it sends during recovery (RFC 6937).
  void on_loss_event(Instant now);
  /// The peer echoed a congestion mark (RFC 3168): like a loss, nothing to retransmit.
  void on_congestion_mark(Instant now) { on_loss_event(now); }
  /// The retransmission timer expired. `first`: the segment had not timed out before (RFC 5681
  /// section 3.1: ssthresh is held constant on the next ones).
  struct RtoEvent {
    bool first = true;
  };
  void on_rto(Instant now, RtoEvent event);
  /// Nothing was sent for longer than one RTO. Source: RFC 5681 section 4.1; RFC 9438 section 5.8.
  void on_idle_restart(Instant now);
  /// The path's MTU changed. Windows are bytes and stay.
  void set_mss(uint16_t mss);

  /// Units: bytes. Never below one MSS.
  [[nodiscard]] uint32_t cwnd() const { return cwnd_; }
  [[nodiscard]] uint32_t ssthresh() const { return ssthresh_; }
  [[nodiscard]] bool in_slow_start() const { return cwnd_ < ssthresh_; }
  [[nodiscard]] uint16_t mss() const { return mss_; }
  [[nodiscard]] CongestionAlgorithm algorithm() const { return algorithm_; }

  static constexpr uint32_t ssthresh_unset = UINT32_MAX;
  // Windows beyond this are of no use: 1 GiB is the largest that window scaling can advertise.
  static constexpr uint32_t cwnd_max = 1u << 30;

 private:
  friend struct Cubic;
  friend struct NewReno;
  friend struct HyStart;

  // HyStart++ while in the first slow start. Units: microseconds.
  struct HyStartState {
    uint32_t round_end = 0;  // low half of a StreamOffset
    uint32_t last_round_min_us = 0;
    uint32_t round_min_us = 0;
    uint32_t css_baseline_us = 0;  // 0: not in conservative slow start
    uint16_t samples = 0;
    uint16_t css_rounds = 0;
  };
  // CUBIC in congestion avoidance.
  struct CubicState {
    int64_t epoch_start_ns = 0;  // 0: the epoch begins with the next ACK
    uint32_t k_us = 0;
    uint32_t cwnd_prior = 0;  // the window at the last congestion event
    uint32_t w_est = 0;
    float cwnd_fraction = 0;  // growth of less than a byte, kept for the next ACK
  };
  enum class Phase : uint8_t { first_slow_start, later };

  void grow_slow_start(uint32_t acked_bytes, uint32_t divisor);
  void leave_first_slow_start();

  uint32_t cwnd_ = 0;
  uint32_t ssthresh_ = ssthresh_unset;
  uint32_t w_max_ = 0;         // cubic: where the last loss happened
  uint32_t acked_credit_ = 0;  // bytes acknowledged, not yet turned into growth
  uint16_t mss_ = 536;
  CongestionAlgorithm algorithm_ = CongestionAlgorithm::cubic;
  Phase phase_ = Phase::first_slow_start;
  union State {
    HyStartState hystart;
    CubicState cubic;
    constexpr State() : hystart{} {}
  } state_;
};
static_assert(sizeof(CongestionControl) <= 48);
static_assert(std::is_trivially_copyable_v<CongestionControl>);

}  // namespace sluice::tcp
