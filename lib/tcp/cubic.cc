#include "tcp/cubic.h"

#include <algorithm>
#include <cmath>

namespace sluice::tcp {
namespace {

// RFC 9438 section 4.6: beta_cubic SHOULD be set to 0.7.
constexpr double beta = 0.7;
// RFC 9438 section 5: C SHOULD be set to 0.4. Units: segments per cubic second.
constexpr double c = 0.4;
// RFC 9438 section 4.3: alpha_cubic = 3 * (1 - beta_cubic) / (1 + beta_cubic).
constexpr double alpha = 3.0 * (1.0 - beta) / (1.0 + beta);
// An epoch longer than this changes nothing any more: every window is at its limit.
constexpr double elapsed_max_s = 3'600.0;

double cube(double x) {
  return x * x * x;
}

uint32_t to_window(double bytes) {
  return static_cast<uint32_t>(
      std::clamp(bytes, 0.0, static_cast<double>(CongestionControl::cwnd_max)));
}

constexpr uint32_t tick_shift = 6;
constexpr double tick_s = 64e-6;

// Time that does not count.
void put_off(auto& epoch, uint32_t by_ticks) {
  epoch.start += by_ticks;
  if (epoch.start == 0) epoch.start = 1;
}

}  // namespace

uint32_t Cubic::ticks(Instant now) {
  return std::max(static_cast<uint32_t>(static_cast<uint64_t>(now.ns()) / 1'000 >> tick_shift), 1u);
}

// RFC 9438 section 4.2. Units: windows in bytes here, in segments there.
//   W_cubic(t) = C * (t - K)^3 + W_max
//   K = cbrt((W_max - cwnd_epoch) / C)
void Cubic::on_ack(CongestionControl& cc, Instant now, const RateSample& sample, Duration srtt) {
  CongestionControl::Growth& growth = cc.loss_.growth;
  CongestionControl::CubicEpoch& state = growth.cubic;
  CongestionControl::CubicPlateau& plateau = growth.plateau;
  const uint32_t tick = ticks(now);
  // Section 5.8: time in which the application is the limit does not count.
  if (!sample.cwnd_limited) {
    if (state.paused_at == 0) state.paused_at = tick;
    return;
  }
  const double mss = cc.mss_;
  if (state.start == 0) {
    begin_epoch(cc, now);
  } else if (state.paused_at != 0) {
    put_off(state, tick - state.paused_at);
  }
  state.paused_at = 0;
  const double cwnd = cc.cwnd_;
  const double k = static_cast<double>(state.k_us) * 1e-6;
  const double t = std::min(static_cast<double>(tick - state.start) * tick_s, elapsed_max_s);
  const double rtt = static_cast<double>(srtt.ns()) * 1e-9;
  const double w_max = plateau.w_max;

  // Section 4.3: W_est = W_est + alpha_cubic * segments_acked / cwnd; alpha is 1 once W_est has
  // reached the window of before the congestion event. Whole bytes: the rest is kept as credit.
  const double gain = state.w_est >= plateau.cwnd_prior ? 1.0 : alpha;
  const double credit = static_cast<double>(growth.acked_credit) + sample.newly_acked_bytes;
  const double grown = std::floor(gain * credit * mss / cwnd);
  state.w_est = to_window(static_cast<double>(state.w_est) + grown);
  growth.acked_credit = to_window(credit - grown * cwnd / (gain * mss));

  if (c * cube(t - k) * mss + w_max < static_cast<double>(state.w_est)) {
    // Section 4.3, the Reno-friendly region: cwnd SHOULD be set to W_est.
    cc.cwnd_ = std::max(cc.cwnd_, state.w_est);
    return;
  }
  // Sections 4.4 and 4.5: target is W_cubic(t + RTT), within [cwnd, 1.5 * cwnd];
  // cwnd = cwnd + (target - cwnd) / cwnd for each segment acknowledged.
  const double target = std::clamp(c * cube(t + rtt - k) * mss + w_max, cwnd, 1.5 * cwnd);
  const double window = cwnd + plateau.cwnd_fraction +
                        (target - cwnd) * std::min(sample.newly_acked_bytes / cwnd, 1.0);
  cc.cwnd_ = to_window(window);
  plateau.cwnd_fraction = static_cast<float>(window - std::floor(window));
}

void Cubic::begin_epoch(CongestionControl& cc, Instant now) {
  CongestionControl::Growth& growth = cc.loss_.growth;
  growth.cubic.start = ticks(now);
  growth.cubic.w_est = cc.cwnd_;
  growth.acked_credit = 0;
  // Sections 4.8 and 4.10: without a loss to go by (a timeout, HyStart++), K is 0 and W_max is
  // cwnd.
  uint32_t& w_max = growth.plateau.w_max;
  if (w_max < cc.cwnd_) w_max = cc.cwnd_;
  const double below = static_cast<double>(w_max - cc.cwnd_) / cc.mss_;
  growth.cubic.k_us =
      static_cast<uint32_t>(std::min(std::cbrt(below / c) * 1e6, elapsed_max_s * 1e6));
}

uint32_t Cubic::kept(uint32_t used_bytes) {
  return to_window(used_bytes * beta);
}

void Cubic::on_congestion(CongestionControl& cc, uint32_t used_bytes) {
  CongestionControl::Growth& growth = cc.loss_.growth;
  // Section 4.7, fast convergence: a flow that lost before it reached its former window makes room.
  const bool shrinking = used_bytes < growth.plateau.w_max;
  const uint32_t w_max = shrinking ? to_window(used_bytes * (1.0 + beta) / 2.0) : used_bytes;
  // Section 4.6: ssthresh = max(flight_size * beta_cubic, 2 MSS). The window in use stands for
  // flight_size.
  cc.ssthresh_ = std::max(kept(used_bytes), 2u * cc.mss_);
  growth.cubic = {};
  growth.plateau = {.w_max = w_max, .cwnd_prior = used_bytes};
}

void Cubic::on_rto(CongestionControl& cc) {
  cc.loss_.growth.plateau.w_max = 0;
}

void Cubic::on_idle_restart(CongestionControl& cc, Duration idle) {
  CongestionControl::CubicEpoch& state = cc.loss_.growth.cubic;
  if (state.start != 0) put_off(state, static_cast<uint32_t>(idle.us() >> tick_shift));
  state.paused_at = 0;
}

// The epoch begins anew: below the plateau the curve goes on where it was, as K follows from cwnd.
void Cubic::restore(CongestionControl& cc, const CongestionMemory& in) {
  cc.loss_.growth.plateau.w_max = in.plateau;
  if (cc.ssthresh_ == CongestionControl::ssthresh_unset) return;
  cc.loss_.growth.plateau.cwnd_prior = to_window(cc.ssthresh_ / beta);
}

}  // namespace sluice::tcp
