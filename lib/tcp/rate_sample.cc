#include "tcp/rate_sample.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr uint32_t tx_in_flight_max = (1u << 30) - 1;

}  // namespace

SentStamp DeliveryRate::on_sent(uint32_t now_us, uint32_t in_flight_bytes, uint32_t bytes) {
  // Nothing in flight: sending and acknowledging begin anew, else the silence would count.
  if (in_flight_bytes == 0) first_sent_us_ = delivered_us_ = now_us;
  return {.sent_us = now_us,
          .first_sent_us = first_sent_us_,
          .delivered = delivered_.low,
          .delivered_us = delivered_us_,
          .lost = lost_.low,
          .tx_in_flight = std::min(in_flight_bytes + bytes, tx_in_flight_max) & tx_in_flight_max,
          .app_limited = app_limited_ ? 1u : 0u,
          .window_limited = window_limited_ ? 1u : 0u};
}

void DeliveryRate::on_app_limited(uint32_t in_flight_bytes) {
  app_limited_ = true;
  limited_until_ = delivered_.low + in_flight_bytes;
}

void DeliveryRate::on_window_limited(uint32_t in_flight_bytes) {
  window_limited_ = true;
  limited_until_ = delivered_.low + in_flight_bytes;
}

void DeliveryRate::on_delivered(uint32_t now_us, uint32_t bytes) {
  delivered_.add(bytes);
  delivered_us_ = now_us;
}

void DeliveryRate::sample(uint32_t now_us, const SentStamp* newest, uint32_t min_rtt_us,
                          RateSample& out) {
  if ((app_limited_ || window_limited_) &&
      static_cast<int32_t>(delivered_.low - limited_until_) > 0) {
    app_limited_ = window_limited_ = false;
  }
  out.delivered_total = delivered_.value();
  out.lost_total = lost_.value();
  out.newly_lost_bytes = lost_.low - told_lost_;
  told_lost_ = lost_.low;
  if (newest == nullptr) return;
  first_sent_us_ = newest->sent_us;
  out.delivered_bytes = delivered_.low - newest->delivered;
  out.prior_delivered = delivered_.value() - out.delivered_bytes;
  out.lost_bytes = lost_.low - newest->lost;
  out.tx_in_flight_bytes = newest->tx_in_flight;
  out.app_limited = newest->app_limited != 0;
  out.window_limited = newest->window_limited != 0;
  const uint32_t send_us = newest->sent_us - newest->first_sent_us;
  const uint32_t ack_us = now_us - newest->delivered_us;
  const uint32_t interval_us = std::max(send_us, ack_us);
  // Shorter than any round trip: a retransmission was taken for its original, or ACKs came in a
  // heap.
  if (interval_us == 0 || interval_us < min_rtt_us) return;
  out.interval = Duration::from_us(interval_us);
  // As Linux: an app-limited sample is shown only if it is the higher one.
  const float rate =
      static_cast<float>(out.delivered_bytes) * 1e6f / static_cast<float>(interval_us);
  if (out.app_limited && rate < rate_) return;
  rate_ = rate;
  rate_app_limited_ = out.app_limited;
}

uint64_t DeliveryRate::bytes_per_second() const {
  return static_cast<uint64_t>(rate_);
}

}  // namespace sluice::tcp
