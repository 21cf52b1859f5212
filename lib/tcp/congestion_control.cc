#include "tcp/congestion_control.h"

#include <algorithm>

#include "tcp/cubic.h"
#include "tcp/hystart.h"
#include "tcp/new_reno.h"
#include "tcp/validation.h"

namespace sluice::tcp {

CongestionControl::CongestionControl(const CongestionMemory& memory, uint16_t mss)
    : cwnd_(std::max<uint32_t>(memory.cwnd, mss)),
      ssthresh_(memory.ssthresh),
      mss_(mss),
      algorithm_(memory.algorithm) {
  Validation::restore(*this, memory);
  if (memory.slow_start_over) leave_first_slow_start();
  loss_.growth.w_max = memory.plateau;
  if (algorithm_ == CongestionAlgorithm::cubic) Cubic::restore(*this);
}

CongestionMemory CongestionControl::memory() const {
  CongestionMemory out{.cwnd = cwnd_,
                       .ssthresh = ssthresh_,
                       .plateau = loss_.growth.w_max,
                       .slow_start_over = loss_.growth.phase == Phase::later,
                       .algorithm = algorithm_};
  Validation::save(*this, out);
  return out;
}

void CongestionControl::on_ack(Instant now, const RateSample& sample, const AckContext& ack) {
  const bool round_start = ack.snd_una >= loss_.round_end;
  Validation::on_ack(*this, now, sample, {.round_start = round_start, .srtt = ack.srtt});
  if (round_start) loss_.round_end = ack.snd_nxt;
  // RFC 6937 meters what leaves during fast recovery; the ACK that ends it has done its part.
  if (sample.newly_acked_bytes == 0 || !ack.may_grow) return;
  if (sample.in_recovery || ack.mode == RecoveryMode::fast) return;
  Growth& growth = loss_.growth;
  if (in_slow_start()) {
    // RFC 7661: a window that was not used says nothing of the path.
    if (!sample.cwnd_limited) return;
    if (growth.phase == Phase::later) return grow_slow_start(sample.newly_acked_bytes, 1);
    return HyStart::on_ack(*this, sample, {.round_start = round_start});
  }
  leave_first_slow_start();
  switch (algorithm_) {
    case CongestionAlgorithm::cubic:
      return Cubic::on_ack(*this, now, sample, ack.srtt);
    case CongestionAlgorithm::new_reno:
      return NewReno::on_ack(*this, sample);
  }
}

// What a congestion event means to ssthresh and to later growth.
void CongestionControl::reduce(uint32_t in_flight_bytes) {
  leave_first_slow_start();
  const uint32_t used = Validation::used_window(*this, in_flight_bytes);
  switch (algorithm_) {
    case CongestionAlgorithm::cubic:
      Cubic::on_congestion(*this, used);
      break;
    case CongestionAlgorithm::new_reno:
      NewReno::on_congestion(*this, used);
      break;
  }
  loss_.growth.acked_credit = 0;
}

void CongestionControl::on_loss_event(Instant, uint32_t in_flight_bytes) {
  save();
  reduce(in_flight_bytes);
  cwnd_ = ssthresh_;
}

void CongestionControl::on_recovery_end(Instant) {
  in_recovery_ = false;
}

void CongestionControl::on_rto(Instant, RtoEvent event) {
  save();
  if (event.first) reduce(event.in_flight_bytes);
  if (algorithm_ == CongestionAlgorithm::cubic) Cubic::on_rto(*this);
  loss_.growth.acked_credit = 0;
  // RFC 5681 section 3.1: cwnd MUST be set to no more than the loss window, 1 full-sized segment.
  cwnd_ = mss_;
}

void CongestionControl::save() {
  if (in_recovery_) return;
  in_recovery_ = undo_valid_ = true;
  loss_.saved_growth = loss_.growth;
  loss_.saved_cwnd = cwnd_;
  loss_.saved_ssthresh = ssthresh_;
}

void CongestionControl::on_undo() {
  if (!undo_valid_) return;
  in_recovery_ = undo_valid_ = false;
  loss_.growth = loss_.saved_growth;
  cwnd_ = std::max(cwnd_, loss_.saved_cwnd);
  ssthresh_ = loss_.saved_ssthresh;
}

void CongestionControl::on_idle_restart(Instant now, Duration idle) {
  Validation::on_idle_restart(*this, now);
  if (algorithm_ == CongestionAlgorithm::cubic && loss_.growth.phase == Phase::later) {
    Cubic::on_idle_restart(*this, idle);
  }
}

void CongestionControl::set_mss(uint16_t mss) {
  mss_ = mss;
  cwnd_ = std::max<uint32_t>(cwnd_, mss);
}

uint32_t CongestionControl::pipe_ack() const {
  return Validation::pipe_ack(*this);
}

// RFC 5681 section 3.1: cwnd += min (N, SMSS) for each ACK.
// Deviation: N whole, as Linux and RFC 9406 (L = infinity): receivers with GRO acknowledge up to
// 64 KiB at a time, and would stop slow start short otherwise.
void CongestionControl::grow_slow_start(uint32_t acked_bytes, uint32_t divisor) {
  const uint64_t limit = std::min(ssthresh_, cwnd_max);
  const uint64_t grown = uint64_t{cwnd_} + acked_bytes / divisor;
  cwnd_ = static_cast<uint32_t>(std::max<uint64_t>(cwnd_, std::min(grown, limit)));
}

void CongestionControl::leave_first_slow_start() {
  if (loss_.growth.phase == Phase::later) return;
  loss_.growth.phase = Phase::later;
  loss_.growth.cubic = {};
}

}  // namespace sluice::tcp
