// LossRecovery: what was sent, what is lost, and what to send again.
//
// Read first: RFC 8985 (RACK-TLP). One algorithm a file; here they meet, in the order in which an
// ACK passes through them:
//
//   scoreboard.h  what was sent, and its fate          RFC 2018
//   delivery.h    what this ACK delivered
//   undo.h        was the recovery needless?           RFC 3522, 3708
//   frto.h        was the timeout needless?            RFC 5682
//   tail_probe.h  did the probe repair something?      RFC 8985 section 7
//   rack.h        what is lost                         RFC 8985 section 6
//   prr.h         how much may leave in recovery       RFC 9937
//   rate_sample.h how fast things were delivered       draft-ietf-ccwg-bbr section 4.1
//
// Peers without SACK: duplicate ACKs are counted and the first segment is taken for lost (RFC 5681,
// RFC 6582). Pure; a value inside a Sender. Runs, and what is needed in recovery only
// (recovery_episode.h), come from the pools that are passed in.
#pragma once

#include <cstdint>
#include <span>

#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/frto.h"
#include "tcp/rack.h"
#include "tcp/rate_sample.h"
#include "tcp/recovery_episode.h"
#include "tcp/scoreboard.h"
#include "tcp/sent_runs.h"
#include "tcp/seq_number.h"
#include "tcp/state.h"
#include "tcp/tail_probe.h"

namespace sluice::tcp {

/// A connection's unacknowledged bytes, and what is known of its path.
struct Flight {
  StreamOffset una;
  StreamOffset nxt;
  uint16_t mss = 0;
  bool sack = false;  // the peer reports what it has
  Duration srtt{};    // 0: not known
  Duration min_rtt{};

  [[nodiscard]] uint32_t bytes() const { return static_cast<uint32_t>(nxt - una); }
};

class LossRecovery {
 public:
  /// `path_memory`: of the sender before this one of the same connection; 0: there was none.
  void reset(StreamOffset snd_nxt, uint8_t path_memory);
  /// Gives everything back. reset() before the next use.
  void release(RecoveryPools& pools);
  [[nodiscard]] uint8_t path_memory() const { return rack_.memory(); }

  // Output.

  /// Bytes left; `flight` is as it is afterwards. `clock_ms`: the timestamp in the segment, the
  /// flow's offset taken off. Returns: false when the record of it is less exact than it could be.
  struct Sent {
    StreamRange range;
    bool again = false;
    bool probe = false;  // a tail loss probe
    uint32_t clock_ms = 0;
  };
  bool on_sent(RecoveryPools& pools, Instant now, const Flight& flight, const Sent& sent);
  /// There is room in the congestion window and nothing to fill it with, or the peer's window
  /// forbids it.
  void on_limited(const Flight& flight, bool by_peer) {
    by_peer ? rate_.on_window_limited(pipe(flight)) : rate_.on_app_limited(pipe(flight));
  }
  /// What to retransmit next; empty: nothing.
  [[nodiscard]] StreamRange next_retransmission(const SentRunPool& pool, const Flight& flight);
  /// Bytes that may be sent now for all that congestion control says.
  [[nodiscard]] uint32_t room(const RecoveryPools& pools, const Flight& flight,
                              const CongestionControl& congestion) const;

  // Input.

  /// An ACK that is not old. `flight` is as it is after it.
  struct Ack {
    static constexpr size_t blocks_max = 4;
    StreamOffset una_before;
    std::span<const StreamRange> sacked{};  // above flight.una, up to flight.nxt
    StreamRange twice{};                    // RFC 2883; empty: nothing
    bool duplicate = false;                 // RFC 5681 section 2; counts without SACK only
    bool may_send_new = false;              // there is data never sent, and a window for it
    bool ece = false;                       // it echoes a congestion mark
    bool has_echo = false;
    uint32_t echo_ms = 0;  // TSecr, the flow's offset taken off
  };
  /// What an ACK led to; more than one may be true.
  struct Verdict {
    bool entered_recovery = false;
    bool spurious = false;             // the retransmission was not needed; cwnd is as before
    bool spurious_timeout = false;     // so said F-RTO
    bool retransmission_lost = false;  // sent again and lost again
    bool probe_repaired = false;       // a tail loss probe repaired a loss
    bool reordering = false;           // seen for the first time
    uint32_t found_lost_bytes = 0;     // by this ACK
    uint32_t refused = 0;              // reports used in part only, for want of runs
    uint32_t steps = 0;                // runs looked at
    RateSample sample;
  };
  Verdict on_ack(RecoveryPools& pools, Instant now, const Flight& flight, const Ack& ack,
                 CongestionControl& congestion);

  /// The retransmission timer expired.
  struct Timeout {
    bool first = true;  // the segment had not timed out before
  };
  void on_rto(RecoveryPools& pools, Instant now, const Flight& flight, Timeout timeout,
              CongestionControl& congestion);
  /// The reordering timer expired. Returns: recovery began.
  bool on_reordering_timeout(RecoveryPools& pools, Instant now, const Flight& flight,
                             CongestionControl& congestion);
  /// The path's MTU became smaller: what is in flight was dropped for that and not for congestion.
  void on_mtu_reduced(RecoveryPools& pools, const Flight& flight);
  /// What began this recovery was no sign of congestion: the window is as it was before.
  void undo_window(RecoveryPools& pools, Instant now, CongestionControl& congestion);

  [[nodiscard]] RecoveryMode mode() const { return mode_; }
  /// In recovery, and without an episode.
  [[nodiscard]] bool plain() const {
    return mode_ != RecoveryMode::open && episode_ == IndexPool::none;
  }
  /// Bytes in the network.
  [[nodiscard]] uint32_t pipe(const Flight& flight) const;
  /// Until more is overdue, from the last ACK or timeout on; 0: nothing is waited for.
  [[nodiscard]] Duration reordering_timeout() const { return Duration::from_us(reordering_us_); }
  /// RFC 8985 section 7.2: nothing known to be missing, and no probe out.
  [[nodiscard]] bool may_probe() const {
    return mode_ == RecoveryMode::open && board_.sacked_bytes() == 0 && !probe_.outstanding();
  }

  // What ss shows.
  [[nodiscard]] const Scoreboard& board() const { return board_; }
  [[nodiscard]] const Rack& rack() const { return rack_; }
  [[nodiscard]] const DeliveryRate& rate() const { return rate_; }
  [[nodiscard]] Duration reordering_window(const Flight& flight) const {
    return Duration::from_us(rack_window_us(flight));
  }
  [[nodiscard]] uint32_t duplicates_reported() const { return dsacks_; }

 private:
  [[nodiscard]] uint32_t rack_window_us(const Flight& flight) const;
  [[nodiscard]] bool is_quiet(const Ack& ack) const;
  [[nodiscard]] RecoveryEpisode* episode(RecoveryPools& pools) const {
    return episode_ == IndexPool::none ? nullptr : &pools.episodes[episode_];
  }
  [[nodiscard]] RecoveryEpisode* begin_episode(RecoveryPools& pools, SeqNumber una);
  void end_episode(RecoveryPools& pools);
  void begin_prr(RecoveryPools& pools, const Prr::Begin& begin, uint16_t mss);
  void judge(RecoveryPools& pools, Instant now, const Flight& flight, const Ack& ack,
             const Delivery& delivery, CongestionControl& congestion, Verdict& verdict);
  void judge_need(RecoveryPools& pools, Instant now, const Flight& flight, const Ack& ack,
                  const Delivery& delivery, CongestionControl& congestion, Verdict& verdict);
  void find_losses(RecoveryPools& pools, Instant now, const Flight& flight, const Ack& ack,
                   CongestionControl& congestion, Verdict& verdict, const Prr::Begin& begin);
  void count_duplicate(SentRunPool& pool, const Flight& flight, const Ack& ack);
  void enter_fast(RecoveryPools& pools, Instant now, const Flight& flight, const Prr::Begin& begin,
                  CongestionControl& congestion);
  void leave(RecoveryPools& pools, Instant now, const Flight& flight,
             CongestionControl& congestion);

  // The order leaves no gaps.
  Scoreboard board_;
  DeliveryRate rate_;
  Rack rack_;
  TailProbe probe_;
  SeqNumber recovery_point_;  // RFC 6675 section 5: RecoveryPoint
  uint32_t reduced_us_ = 0;   // when the window was last reduced
  uint32_t reordering_us_ = 0;
  uint32_t episode_ = IndexPool::none;  // in recovery, or while an undo may still come
  uint16_t only_new_room_ = 0;
  uint16_t dsacks_ = 0;
  Frto frto_;
  RecoveryMode mode_ = RecoveryMode::open;
  uint8_t duplicates_ = 0;      // without SACK: segments that have left the network
  bool first_due_ : 1 = false;  // after a timeout one segment leaves, whatever the window says
  bool only_new_ : 1 = false;   // F-RTO waits for what the peer says of new data
};

}  // namespace sluice::tcp
