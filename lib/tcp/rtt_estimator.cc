#include "tcp/rtt_estimator.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

// No sample is taken for longer than this: it leaves the scaled values in 32 bits.
constexpr int64_t sample_max_us = 120'000'000;
// 1 ms doubled this often is beyond rto_max from any floor.
constexpr uint8_t backoff_max = 16;

// value + (target - value) / divisor, rounded towards the target so that it gets there. In 32 bits,
// which hold eight times the longest sample: a division of 64 takes several times as long.
static_assert(8 * sample_max_us < INT32_MAX);
uint32_t approach(uint32_t value, uint32_t target, int32_t divisor) {
  const auto difference = static_cast<int32_t>(target - value);
  const int32_t step = difference / divisor;
  return value + static_cast<uint32_t>(step != 0 ? step : (difference > 0) - (difference < 0));
}

}  // namespace

void RttEstimator::add_sample(Duration rtt, uint32_t samples_per_rtt) {
  const auto sample_us = static_cast<uint32_t>(std::clamp<int64_t>(rtt.us(), 1, sample_max_us));
  const auto samples = static_cast<int32_t>(std::clamp<uint32_t>(samples_per_rtt, 1, 1024));
  backoff_ = 0;
  sampled_ = true;
  min_us_ = min_us_ == 0 ? sample_us : std::min(min_us_, sample_us);
  if (srtt8_us_ == 0) {
    // RFC 6298 section 2.2: SRTT <- R, RTTVAR <- R/2
    srtt8_us_ = sample_us * 8;
    rttvar4_us_ = sample_us * 2;
    return;
  }
  // RFC 6298 section 2.3: RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, beta = 1/4
  //                       SRTT <- (1 - alpha) * SRTT + alpha * R', alpha = 1/8
  const uint32_t srtt_us = srtt8_us_ / 8;
  const uint32_t deviation_us = srtt_us > sample_us ? srtt_us - sample_us : sample_us - srtt_us;
  rttvar4_us_ = approach(rttvar4_us_, deviation_us * 4, 4 * samples);
  srtt8_us_ = approach(srtt8_us_, sample_us * 8, 8 * samples);
}

Duration RttEstimator::rto_once() const {
  // RFC 6298 section 2.3: RTO <- SRTT + max (G, K*RTTVAR), K = 4
  Duration base = lost_syn_ ? rto_after_lost_syn : rto_initial;
  if (has_sample()) {
    base = srtt() + std::max(rto_variance_min, Duration::from_us(rttvar4_us_));
  }
  return std::clamp(base, rto_min, rto_max);
}

Duration RttEstimator::rto() const {
  return std::min(rto_once() * (int64_t{1} << backoff_), rto_max);
}

void RttEstimator::back_off() {
  if (backoff_ < backoff_max) ++backoff_;
}

bool rtt_from_timestamps(const TimestampEcho& echo, Duration& rtt) {
  const uint32_t age_ms = echo.now_ms - echo.echoed_ms;
  if (age_ms > 2 * rto_max.ms()) return false;
  // The clock ticks in milliseconds: the true value lies within one tick above.
  rtt = Duration::from_ms(int64_t{age_ms}) + Duration::from_us(age_ms == 0 ? 500 : 0);
  return true;
}

}  // namespace sluice::tcp
