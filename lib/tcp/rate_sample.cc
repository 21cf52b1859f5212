#include "tcp/rate_sample.h"

#include <algorithm>

namespace sluice::tcp {

SentStamp DeliveryRate::on_sent(uint32_t now_us, uint32_t in_flight_bytes, uint32_t bytes) {
  // Nothing in flight: sending and acknowledging begin anew, else the silence would count.
  if (in_flight_bytes == 0) first_sent_us_ = delivered_us_ = now_us;
  return {.sent_us = now_us,
          .first_sent_us = first_sent_us_,
          .delivered = static_cast<uint32_t>(delivered_),
          .delivered_us = delivered_us_,
          .lost = static_cast<uint32_t>(lost_),
          .tx_in_flight = (in_flight_bytes + bytes) & 0x7fff'ffff,
          .app_limited = app_limited_ ? 1u : 0u};
}

void DeliveryRate::on_app_limited(uint32_t in_flight_bytes) {
  app_limited_ = true;
  app_limited_until_ = static_cast<uint32_t>(delivered_) + in_flight_bytes;
}

void DeliveryRate::on_delivered(uint32_t now_us, uint32_t bytes) {
  delivered_ += bytes;
  delivered_us_ = now_us;
}

void DeliveryRate::sample(uint32_t now_us, const SentStamp* newest, uint32_t min_rtt_us,
                          RateSample& out) {
  if (app_limited_ &&
      static_cast<int32_t>(static_cast<uint32_t>(delivered_) - app_limited_until_) > 0) {
    app_limited_ = false;
  }
  out.delivered_total = delivered_;
  out.lost_total = lost_;
  out.newly_lost_bytes = static_cast<uint32_t>(lost_) - told_lost_;
  told_lost_ = static_cast<uint32_t>(lost_);
  if (newest == nullptr) return;
  first_sent_us_ = newest->sent_us;
  out.delivered_bytes = static_cast<uint32_t>(delivered_) - newest->delivered;
  out.prior_delivered = delivered_ - out.delivered_bytes;
  out.lost_bytes = static_cast<uint32_t>(lost_) - newest->lost;
  out.tx_in_flight_bytes = newest->tx_in_flight;
  out.app_limited = newest->app_limited != 0;
  const uint32_t send_us = newest->sent_us - newest->first_sent_us;
  const uint32_t ack_us = now_us - newest->delivered_us;
  const uint32_t interval_us = std::max(send_us, ack_us);
  // Shorter than any round trip: a retransmission was taken for its original, or ACKs came in a
  // heap.
  if (interval_us == 0 || interval_us < min_rtt_us) return;
  out.interval = Duration::from_us(interval_us);
  // As Linux: an app-limited sample is shown only if it is the higher one.
  const uint64_t scaled = uint64_t{out.delivered_bytes} * rate_us_;
  if (out.app_limited && scaled < uint64_t{rate_bytes_} * interval_us) return;
  rate_bytes_ = out.delivered_bytes;
  rate_us_ = interval_us;
  rate_app_limited_ = out.app_limited;
}

uint64_t DeliveryRate::bytes_per_second() const {
  return rate_us_ == 0 ? 0 : uint64_t{rate_bytes_} * 1'000'000 / rate_us_;
}

}  // namespace sluice::tcp
