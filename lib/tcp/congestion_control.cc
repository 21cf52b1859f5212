#include "tcp/congestion_control.h"

#include <algorithm>

#include "base/assert.h"
#include "tcp/bbr.h"
#include "tcp/cubic.h"
#include "tcp/dctcp.h"
#include "tcp/hystart.h"
#include "tcp/new_reno.h"
#include "tcp/validation.h"

namespace sluice::tcp {
namespace {

// As Linux's tcp_pacing_ss_ratio and tcp_pacing_ca_ratio: the window has to be able to grow, and
// ACKs come late. Units: of cwnd / srtt.
constexpr double pacing_slow_start = 2.0;
constexpr double pacing_avoidance = 1.2;
// Shorter paths are not paced without need: a timer's tick is a part of such a round trip, and a
// switch holds a window of it.
constexpr uint32_t pacing_rtt_min_us = 1'000;

// As Linux's tcp_tso_autosize: a millisecond's worth, and more where the path is so short that
// bursts do no harm: 64 KiB, halved for every 512 us of round trip.
constexpr uint32_t quantum_per_second = 1'000;
constexpr uint32_t quantum_near_bytes = 65'536;
constexpr uint32_t quantum_near_shift = 9;
constexpr uint32_t quantum_min_segments = 2;

}  // namespace

CongestionControl::CongestionControl(const CongestionMemory& memory, const Start& start)
    : cwnd_(std::max<uint32_t>(memory.cwnd, start.mss)),
      srtt_us_(static_cast<uint32_t>(start.srtt.us())),
      mss_(start.mss),
      algorithm_(memory.algorithm),
      cwr_due_(memory.cwr_due),
      paced_(start.paced),
      loss_() {
  if (algorithm_ == CongestionAlgorithm::bbr) {
    ASSERT(start.bbr != nullptr);
    bbr_ = start.bbr;
    Bbr(*this, start.now).restore(memory, start.srtt);
    return;
  }
  ssthresh_ = memory.ssthresh;
  if (algorithm_ == CongestionAlgorithm::dctcp) loss_.growth.dctcp = {};
  Validation::restore(*this, memory);
  if (memory.slow_start_over) leave_first_slow_start();
  if (algorithm_ == CongestionAlgorithm::cubic) Cubic::restore(*this, memory);
  if (algorithm_ == CongestionAlgorithm::dctcp) Dctcp::restore(*this, memory);
}

CongestionMemory CongestionControl::memory(Instant now) const {
  CongestionMemory out{.cwnd = cwnd_, .ssthresh = ssthresh_};
  out.cwr_due = cwr_due_;
  out.algorithm = algorithm_;
  if (algorithm_ == CongestionAlgorithm::bbr) {
    CongestionControl copy = *this;
    Bbr(copy, now).save(out);
    return out;
  }
  out.slow_start_over = phase_ == Phase::later;
  if (algorithm_ == CongestionAlgorithm::cubic) out.plateau = loss_.growth.plateau.w_max;
  if (algorithm_ == CongestionAlgorithm::dctcp) Dctcp::save(*this, out);
  Validation::save(*this, out);
  return out;
}

// The first round trip begins, and nothing was reduced yet.
void CongestionControl::place(SeqNumber una) {
  placed_ = true;
  reduced_until_ = una - 1;
  if (algorithm_ != CongestionAlgorithm::bbr) loss_.round_end = una;
}

// RFC 3168 section 6.1.2: the window is reduced at most once per window of data. In recovery it has
// been already.
bool CongestionControl::is_new_mark(const AckContext& ack) {
  const bool open = ack.mode == RecoveryMode::open;
  const SeqNumber una = low_half(ack.snd_una);
  if (una <= reduced_until_) return false;
  // It follows at a byte's distance while nothing happens, as half a circle is all that can be
  // told.
  reduced_until_ = !ack.ece && open ? una - 1 : low_half(ack.snd_nxt);
  return ack.ece && open;
}

void CongestionControl::on_ack(Instant now, const RateSample& sample, const AckContext& ack) {
  srtt_us_ = static_cast<uint32_t>(ack.srtt.us());
  if (!placed_) place(low_half(ack.snd_una));
  const bool marked = is_new_mark(ack);
  if (marked) cwr_due_ = true;
  if (algorithm_ == CongestionAlgorithm::bbr) {
    Bbr(*this, now).on_ack(sample, {.ack = ack, .marked = marked});
  } else {
    on_ack_loss_based(now, sample, ack, marked);
  }
}

void CongestionControl::on_ack_loss_based(Instant now, const RateSample& sample,
                                          const AckContext& ack, bool marked) {
  const bool round_start = low_half(ack.snd_una) >= loss_.round_end;
  if (round_start) loss_.round_end = low_half(ack.snd_nxt);
  const bool recovering = sample.in_recovery || ack.mode != RecoveryMode::open;
  if (!recovering) {
    Validation::on_ack(*this, now, sample, {.round_start = round_start, .srtt = ack.srtt});
  }
  if (algorithm_ == CongestionAlgorithm::dctcp) {
    Dctcp::on_ack(*this, sample.newly_acked_bytes, {.round_start = round_start, .ece = ack.ece});
  }
  if (marked) return reduce_marked(sample.prior_in_flight_bytes);
  // RFC 3168 section 6.1.2: the window SHOULD NOT grow with an ACK that echoes a mark.
  if (ack.ece) return;
  // RFC 9937 meters what leaves during fast recovery; the ACK that ends it has done its part.
  if (sample.newly_acked_bytes == 0 || !ack.may_grow) return;
  if (sample.in_recovery || ack.mode == RecoveryMode::fast) return;
  if (in_slow_start()) {
    // RFC 7661: a window that was not used says nothing of the path.
    if (!sample.cwnd_limited) return;
    if (phase_ == Phase::later) return grow_slow_start(sample.newly_acked_bytes, 1);
    return HyStart::on_ack(*this, sample, {.round_start = round_start});
  }
  leave_first_slow_start();
  if (algorithm_ == CongestionAlgorithm::cubic) return Cubic::on_ack(*this, now, sample, ack.srtt);
  NewReno::on_ack(*this, sample);
}

// What a loss means to ssthresh and to later growth.
void CongestionControl::reduce(uint32_t in_flight_bytes) {
  leave_first_slow_start();
  cwr_due_ = true;
  const uint32_t used = Validation::used_window(*this, in_flight_bytes);
  if (algorithm_ == CongestionAlgorithm::cubic) {
    Cubic::on_congestion(*this, used);
  } else {
    NewReno::on_congestion(*this, used);
  }
  loss_.growth.acked_credit = 0;
}

void CongestionControl::reduce_marked(uint32_t in_flight_bytes) {
  if (algorithm_ == CongestionAlgorithm::dctcp) {
    leave_first_slow_start();
    Dctcp::on_mark(*this, Validation::used_window(*this, in_flight_bytes));
    loss_.growth.acked_credit = 0;
    cwnd_ = std::min(cwnd_, ssthresh_);
    return;
  }
  const uint32_t used = Validation::used_window(*this, in_flight_bytes);
  reduce(in_flight_bytes);
  // ssthresh ends at two segments, the window at one: RFC 9438 section 4.6 (MUST).
  const uint32_t left = algorithm_ == CongestionAlgorithm::cubic ? Cubic::kept(used) : used / 2;
  cwnd_ = std::min(cwnd_, std::max<uint32_t>(left, mss_));
}

void CongestionControl::on_loss_event(Instant now, uint32_t in_flight_bytes, SavedWindow* keep) {
  if (algorithm_ == CongestionAlgorithm::bbr) {
    cwr_due_ = in_recovery_ = undo_valid_ = true;
    return Bbr(*this, now).on_loss_event();
  }
  save(keep);
  reduce(in_flight_bytes);
  cwnd_ = ssthresh_;
}

void CongestionControl::on_recovery_end(Instant now) {
  in_recovery_ = false;
  if (algorithm_ == CongestionAlgorithm::bbr) return Bbr(*this, now).on_recovery_end();
  Validation::on_recovery_end(*this, now);
}

void CongestionControl::on_rto(Instant now, RtoEvent event, SavedWindow* keep) {
  if (algorithm_ == CongestionAlgorithm::bbr) {
    cwr_due_ = in_recovery_ = undo_valid_ = true;
    return Bbr(*this, now).on_rto();
  }
  save(keep);
  if (event.first) reduce(event.in_flight_bytes);
  if (algorithm_ == CongestionAlgorithm::cubic) Cubic::on_rto(*this);
  loss_.growth.acked_credit = 0;
  // RFC 5681 section 3.1: cwnd MUST be set to no more than the loss window, 1 full-sized segment.
  cwnd_ = mss_;
}

void CongestionControl::save(SavedWindow* keep) {
  if (in_recovery_) return;
  in_recovery_ = true;
  undo_valid_ = keep != nullptr;
  if (keep == nullptr) return;
  keep->saved = true;
  keep->cwnd = cwnd_;
  keep->ssthresh = ssthresh_;
  keep->growth = loss_.growth;
  keep->phase = phase_;
}

void CongestionControl::on_undo(Instant now, const SavedWindow* kept) {
  if (!undo_valid_) return;
  if (algorithm_ == CongestionAlgorithm::bbr) {
    in_recovery_ = undo_valid_ = false;
    return Bbr(*this, now).on_undo();
  }
  if (kept == nullptr || !kept->saved) return;
  in_recovery_ = undo_valid_ = false;
  const DctcpState dctcp = loss_.growth.dctcp;  // what was marked was marked
  loss_.growth = kept->growth;
  phase_ = kept->phase;
  if (algorithm_ == CongestionAlgorithm::dctcp) loss_.growth.dctcp = dctcp;
  cwnd_ = std::max(cwnd_, kept->cwnd);
  ssthresh_ = kept->ssthresh;
}

void CongestionControl::on_idle_restart(Instant now, Duration idle) {
  if (algorithm_ == CongestionAlgorithm::bbr) return Bbr(*this, now).on_idle_restart(idle);
  Validation::on_idle_restart(*this, now);
  if (algorithm_ == CongestionAlgorithm::cubic && phase_ == Phase::later) {
    Cubic::on_idle_restart(*this, idle);
  }
}

// RFC 5681 section 3.1: when segments become smaller cwnd SHOULD be reduced as they are, so that
// what was a window of large ones is no burst of small ones. RFC 8899 section 3: it MUST NOT grow
// with them.
void CongestionControl::set_mss(uint16_t mss) {
  if (mss < mss_) cwnd_ = static_cast<uint32_t>(uint64_t{cwnd_} * mss / mss_);
  mss_ = mss;
  cwnd_ = std::max<uint32_t>(cwnd_, mss);
}

uint32_t CongestionControl::pipe_ack() const {
  return algorithm_ == CongestionAlgorithm::bbr ? 0 : Validation::pipe_ack(*this);
}

uint64_t CongestionControl::pacing_rate() const {
  if (algorithm_ == CongestionAlgorithm::bbr) return static_cast<uint64_t>(bbr_->pacing_rate);
  if (!paced_ || srtt_us_ < pacing_rtt_min_us) return 0;
  const double share = cwnd_ < ssthresh_ / 2 ? pacing_slow_start : pacing_avoidance;
  // Not in integers: for each ACK a division of 64 bits is a good part of what it costs.
  return static_cast<uint64_t>(share * 1e6 * cwnd_ / srtt_us_);
}

uint32_t CongestionControl::send_quantum() const {
  const uint64_t rate = pacing_rate();
  if (rate == 0) return UINT32_MAX;
  const uint32_t rtt_us = algorithm_ == CongestionAlgorithm::bbr ? bbr_->min_rtt_us : srtt_us_;
  const uint32_t halvings = std::min(rtt_us >> quantum_near_shift, 31u);
  const uint64_t bytes = rate / quantum_per_second + (quantum_near_bytes >> halvings);
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(bytes, quantum_min_segments * uint64_t{mss_}, cwnd_max));
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
  loss_.growth.cubic = {};
}

}  // namespace sluice::tcp
