#include "replica/throttle.h"

namespace sluice::replica {
namespace {

constexpr double ns_per_s = 1e9;
// Intervals of load_every over which the total is smoothed.
constexpr uint64_t smoothing = 10;
// Of the largest total: replication is not held below it.
constexpr uint64_t floor_percent = 10;

// What a rate brings in a time. Bounded, so that a long pause does not overflow.
int64_t bytes_in(Duration time, uint64_t per_s) {
  const double bytes = static_cast<double>(time.ns()) * static_cast<double>(per_s) / ns_per_s;
  return static_cast<int64_t>(std::clamp(bytes, 0.0, 1e15));
}

}  // namespace

void Throttle::refill(Instant now) {
  if (limit() == 0) {
    refilled_at_ = now;
    tokens_ = std::max<int64_t>(tokens_, 0);
    return;
  }
  const int64_t earned = bytes_in(now - refilled_at_, limit());
  if (earned == 0) return;  // too soon for a byte: the time is kept
  refilled_at_ = now;
  tokens_ = std::min(tokens_ + earned, std::max<int64_t>(bytes_in(burst, limit()), 1));
}

Instant Throttle::ready_at() const {
  if (limit() == 0 || tokens_ > 0) return refilled_at_;
  const auto rate = static_cast<int64_t>(std::min<uint64_t>(limit(), uint64_t{1} << 40));
  const int64_t missing = 1 - tokens_;
  // In two steps: debt times a billion may not fit.
  const int64_t whole_s = missing / rate;
  const int64_t rest = missing % rate;
  const int64_t rest_us = rest * 1'000'000 / rate + 1;
  return refilled_at_ + Duration::from_s(std::min<int64_t>(whole_s, 3600)) +
         Duration::from_us(rest_us);
}

void Throttle::handle_load(Instant now, uint64_t client_tx_bytes) {
  if (config_.share_percent >= 100) return;
  if (!has_load_) {
    has_load_ = true;
    load_at_ = now;
    load_bytes_ = client_tx_bytes;
    load_done_ = done_;
    return;
  }
  const Duration time = now - load_at_;
  if (time < load_every) return;
  const auto per_s = [&](uint64_t bytes) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * ns_per_s /
                                 static_cast<double>(time.ns()));
  };
  const uint64_t clients = per_s(client_tx_bytes - load_bytes_);
  const uint64_t total = clients + per_s(done_ - load_done_);
  load_at_ = now;
  load_bytes_ = client_tx_bytes;
  load_done_ = done_;
  refill(now);
  total_per_s_ = total_per_s_ - total_per_s_ / smoothing + total / smoothing;
  peak_per_s_ = std::max(peak_per_s_ - peak_per_s_ / 100, total_per_s_);
  if (clients <= peak_per_s_ / 100) {
    share_limit_ = 0;
    return;
  }
  const uint64_t share = std::max<uint32_t>(config_.share_percent, 1);
  const uint64_t by_share = clients * share / (100 - share);
  const uint64_t floor = peak_per_s_ * std::min<uint64_t>(share, floor_percent) / 100;
  share_limit_ = std::max<uint64_t>({by_share, floor, 1});
}

}  // namespace sluice::replica
