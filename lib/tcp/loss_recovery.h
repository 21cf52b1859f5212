// LossRecovery: what is lost, how much is in flight, and what to retransmit next.
//
// Read first: RFC 6675 (SACK), RFC 6582 (NewReno, for peers without SACK), RFC 6937 (what may be
// sent in recovery), RFC 8985 section 7 (tail loss probe), RFC 3522 (undoing what was spurious).
//
// Two thresholds and the scoreboard tell all about the bytes of a flight that were not SACKed:
//
//   SND.UNA ........... retransmitted_to ............ lost edge ............ SND.NXT
//   | lost, sent again  | lost, not sent again yet    | in flight           |
//
// so the number of bytes in the network (RFC 6675's pipe) needs no note per segment. Pure; a value
// inside a Sender. A peer without SACK has an empty scoreboard; its duplicate ACKs are counted.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/scoreboard.h"
#include "tcp/seq_number.h"
#include "tcp/state.h"

namespace sluice::tcp {

/// A connection's unacknowledged bytes.
struct Flight {
  StreamOffset una;
  StreamOffset nxt;
  uint16_t mss = 0;
};

class LossRecovery {
 public:
  void reset(StreamOffset snd_una);

  /// An ACK that is not old; the scoreboard and Flight are as they are after it.
  struct Ack {
    StreamOffset una_before;
    uint32_t delivered_bytes = 0;  // newly acknowledged or SACKed
    bool duplicate = false;        // RFC 5681 section 2; counts without SACK only
    bool dsack = false;            // something arrived twice (RFC 2883)
    bool has_echo = false;
    uint32_t echo = 0;  // TSecr
  };
  /// What an ACK led to; more than one may be true.
  struct Verdict {
    bool entered_recovery = false;
    bool spurious = false;             // the retransmission was not needed; cwnd is as before
    bool retransmission_lost = false;  // sent again and lost again
    bool probe_repaired = false;       // a tail loss probe repaired a loss
  };
  /// Requires: the caller has told, or will tell, growth to `congestion` itself (on_ack), unless
  /// mode() is fast.
  Verdict on_ack(Instant now, const Flight& flight, const Ack& ack, const Scoreboard& board,
                 CongestionControl& congestion);

  /// The retransmission timer expired: all that was not SACKed is lost.
  struct Timeout {
    bool first = true;  // the segment had not timed out before
  };
  void on_rto(Instant now, const Flight& flight, Timeout timeout, CongestionControl& congestion);
  /// Time enough has passed for what is above some SACKed bytes to have arrived: what is below them
  /// is lost. Requires: mode() is open, the board is not empty.
  void on_reordering_timeout(Instant now, const Flight& flight, const Scoreboard& board,
                             CongestionControl& congestion);
  /// The path's MTU became smaller: what is in flight was dropped for that and not for congestion.
  void on_mtu_reduced(const Flight& flight);

  [[nodiscard]] RecoveryMode mode() const { return mode_; }
  /// Bytes in the network. Source: RFC 6675 section 4, SetPipe ().
  [[nodiscard]] uint32_t pipe(const Flight& flight, const Scoreboard& board) const;
  /// Bytes that may be sent now for all that congestion control says.
  [[nodiscard]] uint32_t room(const Flight& flight, const Scoreboard& board,
                              const CongestionControl& congestion) const;
  /// What to retransmit next; empty: nothing. `rule_3`: nothing new can be sent, so that bytes
  /// below some SACKed ones are worth a try though not known to be lost.
  /// Source: RFC 6675 section 4, NextSeg () rules 1 and 3.
  struct Choice {
    bool rule_3 = false;
  };
  [[nodiscard]] StreamRange next_retransmission(const Flight& flight, const Scoreboard& board,
                                                Choice choice) const;
  /// `clock`: the timestamp that the segment carries.
  void on_retransmitted(const Flight& flight, const StreamRange& range, uint32_t clock);
  /// New data or retransmissions, in bytes.
  void on_sent(uint32_t bytes);

  // Tail loss probe: one at a time.
  [[nodiscard]] bool probe_outstanding() const { return probe_outstanding_; }
  /// `range` ends at SND.NXT.
  struct Probe {
    StreamRange range;
    bool retransmitted = false;
  };
  void on_probe_sent(const Probe& probe);

 private:
  [[nodiscard]] StreamOffset lost_edge(const Flight& flight, const Scoreboard& board) const;
  void enter_fast(Instant now, const Flight& flight, CongestionControl& congestion);
  void leave(Instant now, const Flight& flight, CongestionControl& congestion);
  [[nodiscard]] bool undo_if_spurious(const Ack& ack, CongestionControl& congestion);
  void meter(const Flight& flight, const Scoreboard& board, uint32_t delivered,
             const CongestionControl& congestion);
  void judge_probe(Instant now, const Flight& flight, const Ack& ack, const Scoreboard& board,
                   CongestionControl& congestion, Verdict& verdict);
  void count_duplicate(const Flight& flight, const Ack& ack);

  RecoveryMode mode_ = RecoveryMode::open;
  uint8_t duplicates_ = 0;  // without SACK: segments that have left the network
  bool undo_valid_ = false;
  bool clock_valid_ = false;  // undo_clock_ is set
  bool probe_outstanding_ = false;
  bool probe_retransmitted_ = false;
  uint32_t undo_clock_ = 0;  // timestamp of the first retransmission

  StreamOffset recovery_point_;    // RFC 6675 section 5: RecoveryPoint
  StreamOffset retransmitted_to_;  // RFC 6675 section 2: HighRxt, as the offset behind it
  StreamOffset lost_floor_;        // lost below this, whatever the scoreboard says
  StreamOffset mark_;              // SND.NXT when something was last retransmitted
  StreamRange probe_;

  // RFC 6937 section 3.
  uint32_t recover_fs_ = 0;
  uint32_t prr_delivered_ = 0;
  uint32_t prr_out_ = 0;
  uint32_t allowance_ = 0;
};

}  // namespace sluice::tcp
