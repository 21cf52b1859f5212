// TailProbe: a loss at the end of a flight has nothing behind it that would report it.
//
// Read first: RFC 8985 section 7. After two round trips of silence a probe is sent, new data or the
// last segment once more; its SACK shows what is missing (tcp/rack.h), and if it repaired the only
// loss itself, the window must come down nevertheless. Pure; a value inside a Sender.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

class TailProbe {
 public:
  // RFC 8985 section 7.2: TLP.max_ack_delay, as long as the peer may hold back an ACK. Linux: 200
  // ms.
  static constexpr Duration ack_delay_max = Duration::from_ms(200);
  // Below this a peer's scheduling looks like a loss. As Linux, two ticks of its clock.
  static constexpr Duration timeout_min = Duration::from_ms(10);

  /// TLP_calc_PTO (). `srtt`: 0 when there is no sample. `one_segment`: no more is in flight.
  [[nodiscard]] static Duration timeout(Duration srtt, bool one_segment) {
    if (srtt <= Duration()) return Duration::from_s(1);
    const Duration base = std::max(2 * srtt, timeout_min);
    return one_segment ? base + ack_delay_max : base;
  }

  /// The probe left; it ends at `end`, which is SND.NXT.
  void on_sent(SeqNumber end, bool retransmitted) {
    outstanding_ = true;
    retransmitted_ = retransmitted;
    end_ = end;
  }
  void end() { outstanding_ = false; }
  [[nodiscard]] bool outstanding() const { return outstanding_; }
  /// Does a report of [.., end) tell that the probe was received twice?
  [[nodiscard]] bool is_of_probe(SeqNumber end) const {
    return outstanding_ && retransmitted_ && end >= end_;
  }

  struct Ack {
    SeqNumber una;
    bool dsack = false;
    bool duplicate = false;  // RFC 5681 section 2, without SACK blocks
  };
  /// TLP_process_ack (). Returns: the probe repaired a loss.
  [[nodiscard]] bool on_ack(const Ack& ack) {
    if (!outstanding_ || ack.una < end_) return false;
    if (!retransmitted_ || ack.dsack) {
      outstanding_ = false;
      return false;
    }
    if (ack.una > end_) {  // and no word of its having come twice
      outstanding_ = false;
      return true;
    }
    if (ack.duplicate) outstanding_ = false;
    return false;
  }

 private:
  SeqNumber end_;  // TLP.end_seq
  bool outstanding_ = false;
  bool retransmitted_ = false;  // TLP.is_retrans
};

}  // namespace sluice::tcp
