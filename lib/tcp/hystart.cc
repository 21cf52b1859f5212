#include "tcp/hystart.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

// RFC 9406 section 4.3: RECOMMENDED tuning constants.
constexpr uint32_t min_rtt_threshold_us = 4'000;
constexpr uint32_t max_rtt_threshold_us = 16'000;
constexpr uint32_t min_rtt_divisor = 8;
constexpr uint32_t rtt_samples_min = 8;
constexpr uint32_t css_growth_divisor = 4;
constexpr uint32_t css_rounds_max = 5;

}  // namespace

void HyStart::on_ack(CongestionControl& cc, const RateSample& sample, Round round) {
  CongestionControl::HyStartState& state = cc.loss_.growth.hystart;
  // Section 4.2: rounds end when the data in flight at their beginning is acknowledged.
  if (round.round_start) {
    state.last_round_min_us = state.round_min_us;
    state.round_min_us = 0;
    state.samples = 0;
    if (state.css_baseline_us != 0 && ++state.css_rounds >= css_rounds_max) {
      cc.ssthresh_ = cc.cwnd_;
      return cc.leave_first_slow_start();
    }
  }
  const bool conservative = state.css_baseline_us != 0;
  cc.grow_slow_start(sample.newly_acked_bytes, conservative ? css_growth_divisor : 1);
  if (sample.rtt <= Duration()) return;

  const auto rtt_us = static_cast<uint32_t>(std::clamp<int64_t>(sample.rtt.us(), 1, INT32_MAX));
  state.round_min_us = state.round_min_us == 0 ? rtt_us : std::min(state.round_min_us, rtt_us);
  if (state.samples < UINT16_MAX) ++state.samples;
  if (state.samples < rtt_samples_min) return;
  if (conservative) {
    // The delay went away: it was not our queue. Back to slow start.
    if (state.round_min_us < state.css_baseline_us) state.css_baseline_us = state.css_rounds = 0;
    return;
  }
  if (state.last_round_min_us == 0) return;
  const uint32_t threshold_us = std::clamp(state.last_round_min_us / min_rtt_divisor,
                                           min_rtt_threshold_us, max_rtt_threshold_us);
  if (state.round_min_us >= state.last_round_min_us + threshold_us) {
    state.css_baseline_us = state.round_min_us;
    state.css_rounds = 0;
  }
}

}  // namespace sluice::tcp
