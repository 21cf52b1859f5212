#include "tcp/validation.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

// RFC 7661 section 4.2: the pipeACK sampling period is max (3*RTT, 1 second).
constexpr uint32_t sampling_period_min_ms = 1'000;
constexpr uint32_t sampling_period_rtts = 3;
// RFC 7661 section 4.4: the non-validated period SHOULD NOT exceed five minutes.
constexpr uint16_t unvalidated_max_s = 300;

uint32_t clock_ms(Instant now) {
  return static_cast<uint32_t>(now.ns() / 1'000'000);
}

uint16_t clock_s(Instant now) {
  return static_cast<uint16_t>(now.ns() / 1'000'000'000);
}

// RFC 7661 section 4.4.3, at the end of the period: half of the window, but not less than IW; what
// was known speeds the way back.
void shrink(uint32_t& cwnd, uint32_t& ssthresh, uint16_t mss) {
  if (ssthresh != CongestionMemory::ssthresh_unset) ssthresh = std::max(ssthresh, cwnd / 4 * 3);
  cwnd = std::min(cwnd, std::max(cwnd / 2, initial_window_bytes(mss)));
}

}  // namespace

// Section 4.2: pipeACK is the largest volume acknowledged in a round trip of the sampling period;
// here, of this half of it and the half before. Not during loss recovery (MUST).
void Validation::on_ack(CongestionControl& cc, Instant now, const RateSample& sample, Round round) {
  auto& state = cc.loss_.validation;
  state.round_bytes += sample.newly_acked_bytes;
  if (!round.round_start) return;
  const uint32_t now_ms = clock_ms(now);
  if (state.period_end_ms == 0 || static_cast<int32_t>(now_ms - state.period_end_ms) >= 0) {
    const auto rtts = static_cast<uint32_t>(round.srtt.ms()) * sampling_period_rtts;
    state.peak_before = state.peak_now;
    state.peak_now = 0;
    state.period_end_ms = std::max(now_ms + std::max(rtts, sampling_period_min_ms) / 2, 1u);
  }
  state.peak_now = std::max(state.peak_now, state.round_bytes);
  state.round_bytes = 0;
  // Section 4.3: valid while pipeACK >= cwnd / 2.
  const uint16_t now_s = clock_s(now);
  if (pipe_ack(cc) >= cc.cwnd_ / 2) {
    cc.valid_at_s_ = now_s;
  } else if (static_cast<uint16_t>(now_s - cc.valid_at_s_) > unvalidated_max_s) {
    shrink(cc.cwnd_, cc.ssthresh_, cc.mss_);
    cc.valid_at_s_ = now_s;
  }
}

// Section 4.4.1: after loss recovery pipeACK MUST be undefined.
void Validation::on_recovery_end(CongestionControl& cc, Instant now) {
  auto& state = cc.loss_.validation;
  cc.valid_at_s_ = clock_s(now);
  state.peak_now = state.peak_before = state.round_bytes = 0;
  state.period_end_ms = 0;
}

void Validation::on_idle_restart(CongestionControl& cc, Instant now) {
  auto& state = cc.loss_.validation;
  const uint16_t now_s = clock_s(now);
  state.round_bytes = 0;
  if (static_cast<uint16_t>(now_s - cc.valid_at_s_) <= unvalidated_max_s) return;
  shrink(cc.cwnd_, cc.ssthresh_, cc.mss_);
  cc.valid_at_s_ = now_s;
}

// Section 4.4.1: a loss while the window is not valid counts against max (pipeACK, LossFlightSize).
uint32_t Validation::used_window(const CongestionControl& cc, uint32_t in_flight_bytes) {
  const uint32_t known = pipe_ack(cc);
  const uint32_t proven = std::max(known, in_flight_bytes);
  if (known == 0 || proven >= cc.cwnd_ / 2) return cc.cwnd_;
  return std::clamp(proven, uint32_t{cc.mss_}, cc.cwnd_);
}

uint32_t Validation::pipe_ack(const CongestionControl& cc) {
  const auto& state = cc.loss_.validation;
  return std::max({state.peak_now, state.peak_before, state.round_bytes});
}

void Validation::save(const CongestionControl& cc, CongestionMemory& out) {
  out.pipe_ack = pipe_ack(cc);
  out.stamp_s = cc.valid_at_s_;
}

void Validation::restore(CongestionControl& cc, const CongestionMemory& in) {
  cc.loss_.validation.peak_now = in.pipe_ack;
  cc.valid_at_s_ = in.stamp_s;
}

}  // namespace sluice::tcp
