#include "tcp/loss_recovery.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

// Without SACK a peer tells by duplicate ACKs; more of them than this tell nothing new.
constexpr uint8_t duplicates_max = 255;

}  // namespace

void LossRecovery::reset(StreamOffset snd_una) {
  *this = LossRecovery();
  recovery_point_ = retransmitted_to_ = lost_floor_ = mark_ = snd_una;
}

StreamOffset LossRecovery::lost_edge(const Flight& flight, const Scoreboard& board) const {
  const StreamOffset edge = std::max(lost_floor_, board.lost_edge(flight.mss));
  return std::min(edge, flight.nxt);
}

uint32_t LossRecovery::pipe(const Flight& flight, const Scoreboard& board) const {
  if (mode_ == RecoveryMode::open && board.empty()) {
    const auto all = static_cast<uint32_t>(flight.nxt - flight.una);
    return all - std::min(all, uint32_t{duplicates_} * flight.mss);
  }
  const StreamOffset edge = std::max(lost_edge(flight, board), flight.una);
  const StreamOffset again = std::max(retransmitted_to_, flight.una);
  // Every byte that was not SACKed counts once if it is not lost, and once if it was sent again.
  uint32_t bytes = board.unsacked_bytes(edge, flight.nxt);
  if (mode_ != RecoveryMode::open) bytes += board.unsacked_bytes(flight.una, again);
  if (board.empty()) bytes -= std::min(bytes, uint32_t{duplicates_} * flight.mss);
  return bytes;
}

uint32_t LossRecovery::room(const Flight& flight, const Scoreboard& board,
                            const CongestionControl& congestion) const {
  if (mode_ == RecoveryMode::fast) return allowance_;
  const uint32_t used = pipe(flight, board);
  return congestion.cwnd() > used ? congestion.cwnd() - used : 0;
}

StreamRange LossRecovery::next_retransmission(const Flight& flight, const Scoreboard& board,
                                              Choice choice) const {
  if (mode_ == RecoveryMode::open) return {};
  const StreamOffset from = std::max(retransmitted_to_, flight.una);
  const StreamRange hole = board.next_hole(from, lost_edge(flight, board));
  if (!hole.empty() || !choice.rule_3 || board.empty()) return hole;
  return board.next_hole(from, board.highest());
}

void LossRecovery::on_retransmitted(const Flight& flight, const StreamRange& range,
                                    uint32_t clock) {
  retransmitted_to_ = std::max(retransmitted_to_, range.end);
  mark_ = flight.nxt;
  if (!clock_valid_) {
    clock_valid_ = true;
    undo_clock_ = clock;
  }
}

void LossRecovery::on_sent(uint32_t bytes) {
  if (mode_ != RecoveryMode::fast) return;
  prr_out_ += bytes;
  allowance_ -= std::min(allowance_, bytes);
}

void LossRecovery::on_probe_sent(const Probe& probe) {
  probe_outstanding_ = true;
  probe_retransmitted_ = probe.retransmitted;
  probe_ = probe.range;
}

// Entering and leaving.

void LossRecovery::enter_fast(Instant now, const Flight& flight, CongestionControl& congestion) {
  mode_ = RecoveryMode::fast;
  recovery_point_ = flight.nxt;
  retransmitted_to_ = flight.una;
  mark_ = flight.nxt;
  probe_outstanding_ = false;
  undo_valid_ = true;
  clock_valid_ = false;
  congestion.on_loss_event(now, static_cast<uint32_t>(flight.nxt - flight.una));
  recover_fs_ = std::max<uint32_t>(static_cast<uint32_t>(flight.nxt - flight.una), 1);
  prr_delivered_ = prr_out_ = 0;
  // RFC 6937 section 3: the first retransmission goes out at once.
  allowance_ = flight.mss;
}

void LossRecovery::leave(Instant now, const Flight& flight, CongestionControl& congestion) {
  congestion.on_recovery_end(now);
  mode_ = RecoveryMode::open;
  duplicates_ = 0;
  undo_valid_ = false;
  retransmitted_to_ = lost_floor_ = flight.una;
}

void LossRecovery::on_rto(Instant now, const Flight& flight, Timeout timeout,
                          CongestionControl& congestion) {
  if (mode_ == RecoveryMode::open) {
    undo_valid_ = true;
    clock_valid_ = false;
  }
  congestion.on_rto(now, {.first = timeout.first,
                          .in_flight_bytes = static_cast<uint32_t>(flight.nxt - flight.una)});
  mode_ = RecoveryMode::rto;
  duplicates_ = 0;
  probe_outstanding_ = false;
  recovery_point_ = lost_floor_ = mark_ = flight.nxt;
  retransmitted_to_ = flight.una;
}

void LossRecovery::on_reordering_timeout(Instant now, const Flight& flight, const Scoreboard& board,
                                         CongestionControl& congestion) {
  lost_floor_ = board.highest();
  enter_fast(now, flight, congestion);
}

void LossRecovery::on_mtu_reduced(const Flight& flight) {
  mode_ = RecoveryMode::rto;  // window growth goes on, from the window there is
  undo_valid_ = false;
  duplicates_ = 0;
  probe_outstanding_ = false;
  recovery_point_ = lost_floor_ = mark_ = flight.nxt;
  retransmitted_to_ = flight.una;
}

// Input.

// RFC 3522 section 3.2, with the timestamp echoed by the first ACK of something new: older than the
// first retransmission, it answers the original transmission.
bool LossRecovery::undo_if_spurious(const Ack& ack, CongestionControl& congestion) {
  if (!undo_valid_ || !clock_valid_) return false;
  undo_valid_ = false;  // only the first such ACK can tell
  if (!ack.has_echo || static_cast<int32_t>(ack.echo - undo_clock_) >= 0) return false;
  congestion.on_undo();
  return true;
}

// RFC 6582 for peers without SACK: each duplicate ACK is a segment that has left the network, and a
// partial ACK shows the next one lost.
void LossRecovery::count_duplicate(const Flight& flight, const Ack& ack) {
  if (ack.duplicate) {
    if (duplicates_ < duplicates_max) ++duplicates_;
    return;
  }
  if (flight.una == ack.una_before) return;
  const uint64_t segments = (flight.una - ack.una_before) / std::max<uint16_t>(flight.mss, 1);
  const uint64_t explained = segments > 0 ? segments - 1 : 0;
  duplicates_ = static_cast<uint8_t>(duplicates_ - std::min<uint64_t>(duplicates_, explained));
  if (mode_ == RecoveryMode::open) duplicates_ = 0;
  if (mode_ == RecoveryMode::fast) lost_floor_ = flight.una + flight.mss;
}

// RFC 6937 section 3.1, with the slow start reduction bound.
void LossRecovery::meter(const Flight& flight, const Scoreboard& board, uint32_t delivered,
                         const CongestionControl& congestion) {
  if (delivered == 0)
    return;  // RFC 9937 section 6.2: an ACK that delivers nothing clocks out nothing
  prr_delivered_ += delivered;
  const uint32_t in_flight = pipe(flight, board);
  const uint32_t ssthresh = congestion.ssthresh();
  uint64_t send = 0;
  if (in_flight > ssthresh) {
    const uint64_t target = (uint64_t{prr_delivered_} * ssthresh + recover_fs_ - 1) / recover_fs_;
    send = target > prr_out_ ? target - prr_out_ : 0;
  } else {
    const uint32_t ahead = prr_delivered_ > prr_out_ ? prr_delivered_ - prr_out_ : 0;
    send =
        std::min<uint64_t>(ssthresh - in_flight, uint64_t{std::max(ahead, delivered)} + flight.mss);
  }
  if (prr_out_ == 0) send = std::max<uint64_t>(send, flight.mss);
  allowance_ = static_cast<uint32_t>(std::min<uint64_t>(send, CongestionControl::cwnd_max));
}

// RFC 8985 section 7.4.2, TLP_process_ack: was the probe needed?
void LossRecovery::judge_probe(Instant now, const Flight& flight, const Ack& ack,
                               const Scoreboard& board, CongestionControl& congestion,
                               Verdict& verdict) {
  if (!probe_outstanding_) return;
  if (flight.una >= probe_.end) {
    if (!probe_retransmitted_ || ack.dsack || ack.duplicate) {
      probe_outstanding_ = false;
    } else if (flight.una > probe_.end) {
      probe_outstanding_ = false;
      congestion.on_loss_event(now, static_cast<uint32_t>(flight.nxt - flight.una));
      congestion.on_recovery_end(now);
      verdict.probe_repaired = true;
    }
  } else if (!board.empty() && board.highest() >= probe_.end) {
    // The probe came through. What was sent before it, two round trips ago, did not.
    probe_outstanding_ = false;
    lost_floor_ = std::max(lost_floor_, board.ranges().back().begin);
  }
}

LossRecovery::Verdict LossRecovery::on_ack(Instant now, const Flight& flight, const Ack& ack,
                                           const Scoreboard& board, CongestionControl& congestion) {
  Verdict verdict;
  const bool advanced = flight.una > ack.una_before;
  if (mode_ == RecoveryMode::open && board.empty() && duplicates_ == 0 && !ack.duplicate &&
      !probe_outstanding_) {
    return verdict;  // nearly always
  }
  if (mode_ != RecoveryMode::open && advanced) {
    if (undo_if_spurious(ack, congestion)) {
      verdict.spurious = true;
      leave(now, flight, congestion);
    } else if (flight.una >= recovery_point_) {
      leave(now, flight, congestion);
    }
  }
  judge_probe(now, flight, ack, board, congestion, verdict);
  if (board.empty()) count_duplicate(flight, ack);

  if (mode_ == RecoveryMode::open) {
    // RFC 6582 section 3.2 step 2: duplicate ACKs below `recover` stem from our own
    // retransmissions.
    const bool by_duplicates =
        board.empty() && duplicates_ >= dup_thresh && flight.una >= recovery_point_;
    if (by_duplicates) lost_floor_ = std::min(flight.una + flight.mss, flight.nxt);
    if (lost_edge(flight, board) > flight.una) {
      enter_fast(now, flight, congestion);
      verdict.entered_recovery = true;
      meter(flight, board, ack.delivered_bytes, congestion);
    }
    return verdict;
  }

  // What was sent after the last retransmission has arrived, and the retransmission has not.
  if (!board.empty() && retransmitted_to_ > flight.una &&
      board.highest() >= mark_ + uint64_t{dup_thresh} * flight.mss) {
    verdict.retransmission_lost = true;
    retransmitted_to_ = flight.una;
    recovery_point_ = mark_ = flight.nxt;
    // A second loss, later than the first: RFC 5681 section 4.3.
    if (mode_ == RecoveryMode::fast) {
      congestion.on_loss_event(now, static_cast<uint32_t>(flight.nxt - flight.una));
    }
  }
  if (mode_ == RecoveryMode::fast) {
    const uint32_t delivered = ack.duplicate && board.empty() ? flight.mss : ack.delivered_bytes;
    meter(flight, board, delivered, congestion);
  }
  return verdict;
}

}  // namespace sluice::tcp
