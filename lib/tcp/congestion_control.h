// CongestionControl: how much may be in flight, and how fast it may leave. One narrow seam, and the
// algorithms behind it.
//
// Read first: RFC 5681 (the events), RFC 9438 (CUBIC), RFC 9406 (HyStart++), RFC 6582 (NewReno),
// RFC 8257 (DCTCP), RFC 7661 (windows that were not used); then the file of each algorithm. A plain
// value inside a Sender; what a connection keeps of it while it has nothing to send is a
// CongestionMemory of 20 bytes. What to retransmit and when to leave recovery is the caller's.
//
// Two things are not in it, as most connections can do without: the window as it was before a loss,
// which the caller keeps for as long as the loss may turn out to have been none (SavedWindow), and
// the state of BBR, for which the caller has a place (Start::bbr).
//
// A new algorithm: one more enumerator, one file with its functions, one more line in each switch
// of congestion_control.cc; its state goes into the union.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/time.h"
#include "tcp/bbr_state.h"
#include "tcp/rate_sample.h"
#include "tcp/seq_number.h"
#include "tcp/state.h"

namespace sluice::tcp {

enum class CongestionAlgorithm : uint8_t { cubic, new_reno, bbr, dctcp };

/// As in the configuration.
[[nodiscard]] constexpr const char* to_string(CongestionAlgorithm algorithm) {
  switch (algorithm) {
    case CongestionAlgorithm::cubic:
      return "cubic";
    case CongestionAlgorithm::new_reno:
      return "new_reno";
    case CongestionAlgorithm::bbr:
      return "bbr";
    case CongestionAlgorithm::dctcp:
      return "dctcp";
  }
  return "";
}

// RFC 6928 section 2: IW = min (10*MSS, max (2*MSS, 14600)).
[[nodiscard]] constexpr uint32_t initial_window_bytes(uint32_t mss) {
  const uint32_t low = 2 * mss > 14'600 ? 2 * mss : 14'600;
  return 10 * mss < low ? 10 * mss : low;
}

/// Where the connection stands after an ACK.
struct AckContext {
  StreamOffset snd_una;
  StreamOffset snd_nxt;
  Duration srtt;  // 0: not known yet
  Duration min_rtt;
  RecoveryMode mode = RecoveryMode::open;  // once recovery has judged the ACK
  bool ece = false;                        // it echoes a congestion mark (RFC 3168)
  // RFC 3042 section 2: a duplicate ACK does not change cwnd, unless the path is known to reorder.
  bool may_grow = true;
};

/// What a connection remembers while it has no Sender.
struct CongestionMemory {
  static constexpr uint32_t ssthresh_unset = UINT32_MAX;

  // Beside what the names say, of bbr: inflight_longterm, the bits of bw, min_rtt in microseconds,
  // and when it probed for bandwidth last.
  uint32_t cwnd = 0;
  uint32_t ssthresh = ssthresh_unset;
  uint32_t plateau = 0;              // cubic: W_max; dctcp: the bits of alpha
  uint32_t pipe_ack = 0;             // RFC 7661; 0: not known
  uint16_t stamp_s = 0;              // when the window was last found valid, modulo 2^16
  bool slow_start_over : 1 = false;  // the first slow start has ended
  bool cwr_due : 1 = false;          // RFC 3168 section 6.1.2
  // Each connection has its own, so that a route may choose it one day.
  CongestionAlgorithm algorithm = CongestionAlgorithm::cubic;

  [[nodiscard]] static CongestionMemory fresh(CongestionAlgorithm algorithm, uint16_t mss) {
    return {.cwnd = initial_window_bytes(mss), .algorithm = algorithm};
  }
};
static_assert(sizeof(CongestionMemory) <= 20);

class CongestionControl {
 public:
  CongestionControl() : loss_() {}
  /// What the connection knows when it gets a Sender. Units: `mss` in bytes of payload per segment.
  struct Start {
    uint16_t mss = 536;
    Duration srtt{};  // 0: not known yet
    Instant now{};
    bool paced = false;  // wanted for the algorithms that do without
    // With bbr: where its state is, for as long as this object is used.
    BbrState* bbr = nullptr;
  };
  CongestionControl(const CongestionMemory& memory, const Start& start);
  CongestionControl(CongestionAlgorithm algorithm, uint16_t mss)
      : CongestionControl(CongestionMemory::fresh(algorithm, mss), Start{.mss = mss}) {}
  [[nodiscard]] CongestionMemory memory(Instant now) const;
  struct SavedWindow;

  /// Every ACK that delivers something, or finds something lost, in every mode. Loss events that it
  /// led to come first.
  void on_ack(Instant now, const RateSample& sample, const AckContext& ack);
  /// A loss was found and fast recovery begins: at most once per window of data. Units: `in_flight`
  /// in bytes, before the loss. The window becomes ssthresh(); the caller meters what it sends
  /// during recovery (RFC 9937), unless uses_prr() says no. `keep`: takes the window as it was, if
  /// this is the first event of a recovery; null: no on_undo() will come.
  void on_loss_event(Instant now, uint32_t in_flight_bytes, SavedWindow* keep = nullptr);
  /// Fast recovery, or that after a timeout, is over. on_undo() may still follow: the peer reports
  /// duplicates a round trip later.
  void on_recovery_end(Instant now);
  /// The retransmission timer expired. `first`: the segment had not timed out before (RFC 5681
  /// section 3.1: ssthresh is held constant on the next ones).
  struct RtoEvent {
    bool first = true;
    uint32_t in_flight_bytes = 0;
  };
  void on_rto(Instant now, RtoEvent event, SavedWindow* keep = nullptr);
  /// The loss event, or timeout, of this recovery was none: all is as it was before, if that was
  /// kept. Source: RFC 4015; RFC 9438 section 4.9.
  void on_undo(Instant now, const SavedWindow* kept);
  /// Nothing was in flight for `idle`, which is longer than one RTO, and now there will be.
  void on_idle_restart(Instant now, Duration idle);
  /// The path's MTU changed. Windows are bytes and stay.
  void set_mss(uint16_t mss);
  /// Has the window been reduced, and the peer not been told? Source: RFC 3168 section 6.1.2, CWR.
  [[nodiscard]] bool cwr_due() const { return cwr_due_; }
  void on_cwr_sent() { cwr_due_ = false; }

  /// Units: bytes. Never below one MSS.
  [[nodiscard]] uint32_t cwnd() const { return cwnd_; }
  [[nodiscard]] uint32_t ssthresh() const { return ssthresh_; }
  [[nodiscard]] bool in_slow_start() const { return cwnd_ < ssthresh_; }
  /// Should RFC 9937 meter what is sent during fast recovery?
  [[nodiscard]] bool uses_prr() const { return algorithm_ != CongestionAlgorithm::bbr; }
  /// Units: bytes per second; 0: nothing is paced.
  [[nodiscard]] uint64_t pacing_rate() const;
  /// The most that should leave as one train: about a millisecond at that rate. Units: bytes.
  [[nodiscard]] uint32_t send_quantum() const;
  [[nodiscard]] uint16_t mss() const { return mss_; }
  [[nodiscard]] CongestionAlgorithm algorithm() const { return algorithm_; }
  /// The largest amount delivered in one of the latest round trips; 0: not known.
  /// Source: RFC 7661 section 4.2, pipeACK.
  [[nodiscard]] uint32_t pipe_ack() const;
  /// Of bbr: null for the others.
  [[nodiscard]] const BbrState* bbr() const {
    return algorithm_ == CongestionAlgorithm::bbr ? bbr_ : nullptr;
  }
  /// Of dctcp: the share of bytes that were marked, RFC 8257 section 3.3. Others: 0.
  [[nodiscard]] float marked_share() const {
    return algorithm_ == CongestionAlgorithm::dctcp ? loss_.growth.dctcp.alpha : 0.0f;
  }

  static constexpr uint32_t ssthresh_unset = CongestionMemory::ssthresh_unset;
  // Windows beyond this are of no use: 1 GiB is the largest that window scaling can advertise.
  static constexpr uint32_t cwnd_max = 1u << 30;

 private:
  friend struct Cubic;
  friend struct NewReno;
  friend struct HyStart;
  friend struct Validation;
  friend struct Dctcp;
  friend class Bbr;

  // HyStart++ while in the first slow start. Units: microseconds.
  struct HyStartState {
    uint32_t last_round_min_us = 0;
    uint32_t round_min_us = 0;
    uint32_t css_baseline_us = 0;  // 0: not in conservative slow start
    uint16_t samples = 0;
    uint16_t css_rounds = 0;
  };
  // CUBIC's epoch, in congestion avoidance. Units of the times: Cubic's ticks of the stack's clock.
  struct CubicEpoch {
    uint32_t start = 0;      // 0: the epoch begins with the next ACK
    uint32_t paused_at = 0;  // 0: not paused; the application is the limit since then
    uint32_t k_us = 0;
    uint32_t w_est = 0;
  };
  // CUBIC's plateau, and what is left of its growth.
  struct CubicPlateau {
    uint32_t w_max = 0;       // where the last loss happened
    uint32_t cwnd_prior = 0;  // the window at the last congestion event
    float cwnd_fraction = 0;  // growth of less than a byte, kept for the next ACK
  };
  // RFC 8257 section 3.3.
  struct DctcpState {
    uint32_t acked_bytes = 0;  // in this round trip
    uint32_t marked_bytes = 0;
    float alpha = 1.0f;  // DCTCP.Alpha: "SHOULD be initialized to 1"
  };
  enum class Phase : uint8_t { first_slow_start, later };
  // How a window that answers to losses grows.
  struct Growth {
    union {
      CubicPlateau plateau;  // but of dctcp
      DctcpState dctcp;
    };
    uint32_t acked_credit = 0;  // bytes acknowledged, not yet turned into growth
    union {
      HyStartState hystart;  // in the first slow start
      CubicEpoch cubic;      // later
    };
    Growth() : plateau(), hystart() {}
  };
  // RFC 7661.
  struct ValidationState {
    uint32_t round_bytes = 0;  // delivered in this round trip
    uint32_t peak_now = 0;     // the largest round of this period, and of the one before
    uint32_t peak_before = 0;
    uint32_t period_end_ms = 0;
  };
  // Of every algorithm whose window answers to losses.
  struct LossBased {
    Growth growth;
    ValidationState validation;
    SeqNumber round_end;  // low half of SND.NXT when this round trip began
  };

 public:
  /// A window as it was before the first loss event of a recovery. Of bbr: nothing is kept here.
  struct SavedWindow {
    uint32_t cwnd = 0;
    uint32_t ssthresh = 0;
    Growth growth;
    Phase phase = Phase::first_slow_start;
    bool saved = false;
  };

 private:
  [[nodiscard]] static SeqNumber low_half(StreamOffset offset) {
    return wrap(SeqNumber(0), offset);
  }
  void place(SeqNumber una);
  [[nodiscard]] bool is_new_mark(const AckContext& ack);
  void on_ack_loss_based(Instant now, const RateSample& sample, const AckContext& ack, bool marked);
  void save(SavedWindow* keep);
  void reduce(uint32_t in_flight_bytes);
  void reduce_marked(uint32_t in_flight_bytes);
  void grow_slow_start(uint32_t acked_bytes, uint32_t divisor);
  void leave_first_slow_start();

  SeqNumber reduced_until_;  // low half of SND.NXT when the window was reduced last
  uint32_t cwnd_ = 0;
  uint32_t ssthresh_ = ssthresh_unset;
  uint32_t srtt_us_ = 0;
  uint16_t mss_ = 536;
  uint16_t valid_at_s_ = 0;  // RFC 7661: when the window was last found valid, modulo 2^16
  CongestionAlgorithm algorithm_ = CongestionAlgorithm::cubic;
  Phase phase_ : 1 = Phase::first_slow_start;
  bool in_recovery_ : 1 = false;  // between the first loss event and on_recovery_end()
  bool undo_valid_ : 1 = false;
  bool cwr_due_ : 1 = false;
  bool paced_ : 1 = false;
  bool placed_ : 1 = false;  // the first ACK has said where the stream is
  union {
    LossBased loss_;
    BbrState* bbr_;
  };
};
static_assert(sizeof(CongestionControl) <= 80);
static_assert(std::is_trivially_copyable_v<CongestionControl>);

}  // namespace sluice::tcp
