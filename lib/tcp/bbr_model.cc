// What BBR knows of the path: draft-ietf-ccwg-bbr section 5.5.
#include <algorithm>
#include <cmath>

#include "tcp/bbr.h"

namespace sluice::tcp {
namespace {

// Section 2.5 and 2.7.
constexpr float loss_threshold_min = 0.02f;
// Ours, docs/decisions/0061-bbr.md: so much of what is lost may have nothing to do with us.
constexpr float base_loss_max = 0.03f;
constexpr float base_loss_gain = 1.0f / 8;
constexpr float startup_loss_deviations = 2.0f;  // of a number of losses that is due to chance
constexpr float beta = 0.7f;
constexpr float headroom = 0.15f;
constexpr uint32_t min_pipe_segments = 4;
// Section 2.10: ExtraAckedFilterLen, 10 rounds, as two halves.
constexpr uint16_t extra_acked_half_rounds = 5;
// Section 2.16: MinRTTFilterLen and ProbeRTTInterval.
constexpr uint32_t min_rtt_filter_us = 10'000'000;
constexpr uint32_t probe_rtt_interval_us = 5'000'000;
// Section 5.5.8.1 gives a sender whose host segments three quanta of room.
constexpr uint32_t offload_quanta = 3;

}  // namespace

// Rounds and rates: sections 5.5.1 to 5.5.6.

void Bbr::update_round(const Sample& sample) {
  s_.round_start = sample.rs.prior_delivered >= s_.next_round_delivered;
  if (!s_.round_start) return;
  s_.next_round_delivered = sample.rs.delivered_total;
  if (s_.rounds_since_probe_up < UINT8_MAX) ++s_.rounds_since_probe_up;
  if (s_.extra_acked_rounds < UINT16_MAX) ++s_.extra_acked_rounds;
}

float Bbr::max_bw() const {
  return std::max(s_.max_bw_filter[0], s_.max_bw_filter[1]);
}

void Bbr::update_max_bw(const Sample& sample) {
  update_round(sample);
  if (sample.rate > 0 && (sample.rate >= max_bw() || !sample.app_limited)) {
    s_.max_bw_filter[1] = std::max(s_.max_bw_filter[1], sample.rate);
  }
}

void Bbr::advance_max_bw_filter() {
  if (s_.max_bw_filter[1] <= 0) return;  // a cycle without samples teaches nothing
  s_.max_bw_filter[0] = s_.max_bw_filter[1];
  s_.max_bw_filter[1] = 0;
}

void Bbr::bound_bw() {
  s_.bw = std::min(max_bw(), s_.bw_shortterm);
}

void Bbr::update_min_rtt(const RateSample& rs) {
  s_.probe_rtt_expired = has_elapsed(s_.probe_rtt_min_stamp_us, probe_rtt_interval_us);
  const auto rtt_us = static_cast<uint32_t>(rs.rtt.us());
  if (rs.rtt > Duration() &&
      (s_.probe_rtt_min_us == 0 || rtt_us < s_.probe_rtt_min_us || s_.probe_rtt_expired)) {
    s_.probe_rtt_min_us = std::max(rtt_us, 1u);
    s_.probe_rtt_min_stamp_us = now_us_;
  }
  const bool expired = has_elapsed(s_.min_rtt_stamp_us, min_rtt_filter_us);
  if (s_.min_rtt_us == 0 || s_.probe_rtt_min_us < s_.min_rtt_us || expired) {
    s_.min_rtt_us = s_.probe_rtt_min_us;
    s_.min_rtt_stamp_us = s_.probe_rtt_min_stamp_us;
  }
}

// Section 5.5.9: what ACKs that come in bursts need on top.
void Bbr::update_ack_aggregation(const RateSample& rs) {
  const double elapsed_s = static_cast<double>(now_us_ - s_.extra_acked_start_us) * 1e-6;
  double expected = static_cast<double>(s_.bw) * elapsed_s;
  if (s_.extra_acked_delivered <= expected) {
    s_.extra_acked_delivered = 0;
    s_.extra_acked_start_us = now_us_;
    expected = 0;
  }
  s_.extra_acked_delivered += rs.newly_acked_bytes;
  const uint32_t half = s_.full_bw_reached ? extra_acked_half_rounds : 1;
  if (s_.extra_acked_rounds >= half) {
    s_.extra_acked_rounds = 0;
    s_.extra_acked_filter = {s_.extra_acked_filter[1], 0};
  }
  const double extra = std::min(static_cast<double>(s_.extra_acked_delivered) - expected,
                                static_cast<double>(cc_.cwnd_));
  s_.extra_acked_filter[1] = std::max(s_.extra_acked_filter[1], static_cast<uint32_t>(extra));
}

// Volumes: section 5.6.4.2.

uint32_t Bbr::min_pipe_cwnd() const {
  return min_pipe_segments * cc_.mss_;
}

uint32_t Bbr::bdp(float gain) const {
  if (s_.min_rtt_us == 0 || s_.bw <= 0) return initial_window_bytes(cc_.mss_);
  const double bytes =
      static_cast<double>(gain) * static_cast<double>(s_.bw) * s_.min_rtt_us * 1e-6;
  return static_cast<uint32_t>(std::min(bytes, static_cast<double>(CongestionControl::cwnd_max)));
}

uint32_t Bbr::quantized(uint64_t bytes) const {
  uint64_t cap =
      std::max<uint64_t>({bytes, uint64_t{offload_quanta} * cc_.send_quantum(), min_pipe_cwnd()});
  if (s_.phase == Phase::up) cap += 2u * cc_.mss_;
  return static_cast<uint32_t>(std::min<uint64_t>(cap, CongestionControl::cwnd_max));
}

uint32_t Bbr::inflight_with_headroom() const {
  if (s_.inflight_longterm == BbrState::infinite) return BbrState::infinite;
  const auto room = std::max<uint32_t>(
      cc_.mss_, static_cast<uint32_t>(headroom * static_cast<float>(s_.inflight_longterm)));
  const uint32_t rest = s_.inflight_longterm > room ? s_.inflight_longterm - room : 0;
  return std::max(rest, min_pipe_cwnd());
}

// Losses: section 5.5.10.

// Deviations: one segment alone is no rate, in a window of less than fifty. And what Startup
// concludes is for good, or for the seconds until the next probe: losses have to be above what
// chance does.
bool Bbr::is_inflight_too_high(const Sample& sample) const {
  const auto mss = static_cast<float>(cc_.mss_);
  const float lost = static_cast<float>(sample.rs.lost_bytes) / mss;
  const float tolerated = loss_threshold() * static_cast<float>(sample.tx_in_flight) / mss;
  const float chance = s_.full_bw_reached ? 0 : startup_loss_deviations * std::sqrt(tolerated);
  return lost > 1 && lost > tolerated + chance;
}

// LossThresh, on top of what is lost while we cruise: at the estimated rate, with no queue of ours.
// Losses that were there before a probe are not the probe's.
float Bbr::loss_threshold() const {
  // Startup has not cruised yet; what it does to a queue that is too short is far above either.
  const float base = s_.full_bw_reached ? std::min(s_.base_loss, base_loss_max) : base_loss_max;
  return loss_threshold_min + base;
}

void Bbr::learn_base_loss(const Sample& sample) {
  if (s_.phase != Phase::cruise || sample.tx_in_flight == 0) return;
  const float share =
      static_cast<float>(sample.rs.lost_bytes) / static_cast<float>(sample.tx_in_flight);
  s_.base_loss += base_loss_gain * (std::min(share, 1.0f) - s_.base_loss);
}

void Bbr::note_loss(uint64_t delivered_total) {
  if (!s_.loss_in_round) {
    s_.loss_round_delivered = delivered_total;
    save_state_upon_loss();
  }
  s_.loss_in_round = true;
  if (s_.loss_events < UINT8_MAX) ++s_.loss_events;
}

// HandleLostPacket (), once for all that this ACK found lost.
void Bbr::handle_loss(Sample& sample) {
  note_loss(sample.rs.delivered_total);
  if (!s_.bw_probe_sample || !is_inflight_too_high(sample)) return;
  // InflightAtLoss (): where in the run did losses cross the threshold?
  const auto size = static_cast<float>(sample.rs.newly_lost_bytes);
  const float before = std::max(static_cast<float>(sample.tx_in_flight) - size, 0.0f);
  const float lost_before = std::max(static_cast<float>(sample.rs.lost_bytes) - size, 0.0f);
  const float prefix =
      std::max((loss_threshold() * before - lost_before) / (1 - loss_threshold()), 0.0f);
  handle_inflight_too_high(sample, static_cast<uint32_t>(before + prefix));
}

void Bbr::handle_inflight_too_high(const Sample& sample, uint32_t in_flight_bytes) {
  s_.prev_probe_too_high = true;
  s_.bw_probe_sample = false;  // once per probe
  if (!sample.limited) {
    const auto least =
        static_cast<uint32_t>(beta * static_cast<float>(std::min(bdp(1.0f), cc_.cwnd_)));
    s_.inflight_longterm = std::max(in_flight_bytes, least);
  }
  if (s_.phase == Phase::up) {
    s_.undo_phase = Phase::up;
    start_down(sample.rs);
  }
}

void Bbr::update_latest_delivery(const Sample& sample) {
  s_.loss_round_start = false;
  s_.bw_latest = std::max(s_.bw_latest, sample.rate);
  s_.inflight_latest = std::max(s_.inflight_latest, sample.rs.delivered_bytes);
  if (sample.rs.prior_delivered >= s_.loss_round_delivered) {
    s_.loss_round_delivered = sample.rs.delivered_total;
    s_.loss_round_start = true;
  }
}

void Bbr::advance_latest_delivery(const Sample& sample) {
  if (!s_.loss_round_start) return;
  s_.bw_latest = sample.rate;
  s_.inflight_latest = sample.rs.delivered_bytes;
}

void Bbr::update_congestion_signals(const Sample& sample) {
  update_max_bw(sample);
  if (!s_.loss_round_start) return;
  learn_base_loss(sample);
  // AdaptLowerBoundsFromCongestion (): once per round.
  // Deviation: losses count when they pass LossThresh, as they do everywhere else in the draft.
  // With any loss, as there, a sender that paces 1 % below bw finds bw_latest below bw in every
  // round, and a path with 1 % of random loss loses 2 % of its rate a round:
  // docs/decisions/0061-bbr.md.
  // Nor does a round count that the network did not limit: how little was delivered in it is not
  // its doing.
  const bool congested =
      s_.mark_in_round || (s_.loss_in_round && !sample.limited && is_inflight_too_high(sample));
  if (congested && !is_probing()) {
    if (s_.bw_shortterm == BbrState::infinite_rate) s_.bw_shortterm = max_bw();
    if (s_.inflight_shortterm == BbrState::infinite) s_.inflight_shortterm = cc_.cwnd_;
    s_.bw_shortterm = std::max(s_.bw_latest, beta * s_.bw_shortterm);
    s_.inflight_shortterm =
        std::max(s_.inflight_latest,
                 static_cast<uint32_t>(beta * static_cast<float>(s_.inflight_shortterm)));
  }
  s_.loss_in_round = s_.mark_in_round = false;
}

void Bbr::reset_congestion_signals() {
  s_.loss_in_round = s_.mark_in_round = false;
  s_.bw_latest = 0;
  s_.inflight_latest = 0;
}

void Bbr::reset_short_term_model() {
  s_.bw_shortterm = BbrState::infinite_rate;
  s_.inflight_shortterm = BbrState::infinite;
}

void Bbr::reset_full_bw() {
  s_.full_bw = 0;
  s_.full_bw_count = 0;
  s_.full_bw_now = false;
}

// Section 5.5.11.1, and SaveCwnd () of section 5.6.4.4.
void Bbr::save_state_upon_loss() {
  save_cwnd();
  s_.undo_phase = Phase::drain;
  s_.undo_bw_shortterm = s_.bw_shortterm;
  s_.undo_inflight_shortterm = s_.inflight_shortterm;
  s_.undo_inflight_longterm = s_.inflight_longterm;
}

void Bbr::save_cwnd() {
  const bool reduced = s_.in_recovery || s_.phase == Phase::probe_rtt;
  s_.prior_cwnd = reduced ? std::max(s_.prior_cwnd, cc_.cwnd_) : cc_.cwnd_;
}

void Bbr::restore_cwnd() {
  cc_.cwnd_ = std::max(cc_.cwnd_, s_.prior_cwnd);
}

}  // namespace sluice::tcp
