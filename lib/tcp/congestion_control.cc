#include "tcp/congestion_control.h"

#include <algorithm>

#include "tcp/cubic.h"
#include "tcp/hystart.h"
#include "tcp/new_reno.h"

namespace sluice::tcp {
namespace {

void on_congestion(CongestionControl& cc) {
  switch (cc.algorithm()) {
    case CongestionAlgorithm::cubic:
      return Cubic::on_congestion(cc);
    case CongestionAlgorithm::new_reno:
      return NewReno::on_congestion(cc);
  }
}

}  // namespace

CongestionControl::CongestionControl(CongestionAlgorithm algorithm, uint16_t mss)
    : cwnd_(initial_window_bytes(mss)), mss_(mss), algorithm_(algorithm) {}

void CongestionControl::on_ack(Instant now, const AckEvent& ack) {
  // RFC 7661, RFC 9438 section 5.8: a window that was not used says nothing of the path.
  if (ack.acked_bytes == 0 || ack.app_limited) return;
  if (in_slow_start()) {
    if (phase_ == Phase::first_slow_start) return HyStart::on_ack(*this, ack);
    return grow_slow_start(ack.acked_bytes, 1);
  }
  leave_first_slow_start();
  switch (algorithm_) {
    case CongestionAlgorithm::cubic:
      return Cubic::on_ack(*this, now, ack);
    case CongestionAlgorithm::new_reno:
      return NewReno::on_ack(*this, ack);
  }
}

void CongestionControl::on_loss_event(Instant) {
  leave_first_slow_start();
  on_congestion(*this);
  acked_credit_ = 0;
  cwnd_ = ssthresh_;
}

void CongestionControl::on_rto(Instant, RtoEvent event) {
  leave_first_slow_start();
  if (event.first) on_congestion(*this);
  acked_credit_ = 0;
  // RFC 5681 section 3.1: cwnd MUST be set to no more than the loss window, 1 full-sized segment.
  cwnd_ = mss_;
}

void CongestionControl::on_idle_restart(Instant) {
  // RFC 5681 section 4.1: RW = min (IW, cwnd).
  // What was known of the path speeds the way back up (RFC 2861 section 3.2).
  if (ssthresh_ != ssthresh_unset) ssthresh_ = std::max(ssthresh_, cwnd_ / 4 * 3);
  cwnd_ = std::min(cwnd_, initial_window_bytes(mss_));
  acked_credit_ = 0;
  if (phase_ == Phase::later && algorithm_ == CongestionAlgorithm::cubic) {
    Cubic::on_idle_restart(*this);
  }
}

void CongestionControl::set_mss(uint16_t mss) {
  mss_ = mss;
  cwnd_ = std::max<uint32_t>(cwnd_, mss);
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
  if (phase_ == Phase::later) return;
  phase_ = Phase::later;
  state_.cubic = {};
}

}  // namespace sluice::tcp
