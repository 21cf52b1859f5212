#include "tcp/bbr.h"

#include <algorithm>
#include <bit>

namespace sluice::tcp {
namespace {

// draft-ietf-ccwg-bbr section 2.5, and the table of section 5.6.1.
constexpr float startup_pacing_gain = 2.77f;
constexpr float drain_pacing_gain = 0.5f;
constexpr float down_pacing_gain = 0.90f;
constexpr float up_pacing_gain = 1.25f;
constexpr float default_cwnd_gain = 2.0f;
constexpr float up_cwnd_gain = 2.25f;
constexpr float probe_rtt_cwnd_gain = 0.5f;
constexpr float pacing_margin = 0.99f;  // PacingMarginPercent: 1
// Section 5.3.1.2: a bandwidth that grows by less than a quarter in three rounds is the path's.
constexpr float full_bw_growth = 1.25f;
constexpr uint8_t full_bw_rounds = 3;
// Section 5.3.1.3: BBRStartupFullLossCnt.
constexpr uint8_t startup_full_losses = 6;
// Section 5.3.2.
constexpr uint8_t drain_rounds_max = 3;
// Section 5.3.3.6: IsRenoCoexistenceProbeTime () and PickProbeWait ().
constexpr uint32_t reno_rounds_max = 63;
constexpr uint32_t probe_wait_min_us = 2'000'000;
constexpr uint32_t probe_wait_random_us = 1'000'000;
// Section 2.16.2.
constexpr uint32_t probe_rtt_duration_us = 200'000;
// A window that has not been tried for this long says nothing any more; as RFC 7661's five minutes.
constexpr Duration forgotten_after = Duration::from_s(300);
// A probe for bandwidth that is this old is due; more is not counted.
constexpr uint32_t probe_age_max_s = 60;
constexpr uint32_t srtt_unknown_us = 1'000;  // InitPacingRate ()

uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  return x ^ (x >> 29);
}

}  // namespace

Bbr::Bbr(CongestionControl& cc, Instant now)
    : cc_(cc),
      s_(*cc.bbr_),
      now_us_(static_cast<uint32_t>(now.ns() / 1'000)),
      now_s_(static_cast<uint32_t>(now.ns() / 1'000'000'000)) {}

// Section 5.2.1, OnInit ().
void Bbr::init(Duration srtt) {
  s_ = BbrState();
  s_.min_rtt_us = s_.probe_rtt_min_us = static_cast<uint32_t>(srtt.us());
  s_.min_rtt_stamp_us = s_.probe_rtt_min_stamp_us = now_us_;
  s_.extra_acked_start_us = now_us_;
  init_pacing_rate();
  enter_startup();
}

void Bbr::init_pacing_rate() {
  const auto rtt_us = static_cast<float>(s_.min_rtt_us > 0 ? s_.min_rtt_us : srtt_unknown_us);
  s_.pacing_rate = startup_pacing_gain * static_cast<float>(cc_.cwnd_) * 1e6f / rtt_us;
}

// A connection that sent before goes on in its cycle.
void Bbr::restore(const CongestionMemory& memory, Duration srtt) {
  init(srtt);
  if (memory.pipe_ack > 0) s_.min_rtt_us = s_.probe_rtt_min_us = memory.pipe_ack;
  const auto rate = std::bit_cast<float>(memory.plateau);
  if (!(rate > 0)) return;
  s_.max_bw_filter[1] = s_.bw = rate;
  s_.idle_restart = true;
  if (!memory.slow_start_over) return;
  s_.full_bw_reached = true;
  s_.inflight_longterm = memory.ssthresh;
  pick_probe_wait(memory.plateau);
  const uint32_t age_s =
      std::min<uint32_t>(static_cast<uint16_t>(now_s_ - memory.stamp_s), probe_age_max_s);
  s_.cycle_stamp_us = now_us_ - age_s * 1'000'000;
  start_cruise();
  set_pacing_rate(1.0f);
}

void Bbr::save(CongestionMemory& out) const {
  out.cwnd = std::max(cc_.cwnd_, s_.phase == Phase::probe_rtt ? s_.prior_cwnd : 0);
  out.ssthresh = s_.inflight_longterm;
  // What losses of late have shown counts: another connection's share will not come back at once.
  out.plateau = std::bit_cast<uint32_t>(s_.bw);
  out.pipe_ack = s_.min_rtt_us;
  out.slow_start_over = s_.full_bw_reached;
  const uint32_t age_s = (now_us_ - s_.cycle_stamp_us) / 1'000'000;
  out.stamp_s = static_cast<uint16_t>(now_s_ - age_s);
}

// Section 5.2.3, UpdateOnACK ().
void Bbr::on_ack(const RateSample& rs, const Ack& in) {
  Sample sample{.rs = rs,
                .tx_in_flight = rs.tx_in_flight_bytes,
                .app_limited = rs.app_limited || rs.prior_delivered < s_.app_limited_until,
                .cwnd_limited = rs.cwnd_limited};
  sample.limited = sample.app_limited || rs.window_limited;
  if (rs.interval > Duration()) {
    sample.rate = static_cast<float>(static_cast<double>(rs.delivered_bytes) * 1e9 /
                                     static_cast<double>(rs.interval.ns()));
  }
  if (s_.min_rtt_us == 0 && rs.rtt > Duration()) {
    // The handshake told no round trip (a SYN cookie, a SYN-ACK sent again). As Linux: the rate
    // that was based on a millisecond is not kept.
    s_.min_rtt_us = std::max(static_cast<uint32_t>(rs.rtt.us()), 1u);
    init_pacing_rate();
  }
  if (rs.newly_lost_bytes > 0) handle_loss(sample);
  if (in.marked) {
    note_loss(rs.delivered_total);
    s_.mark_in_round = true;
    if (s_.bw_probe_sample) handle_inflight_too_high(sample, sample.tx_in_flight);
  }
  if (rs.newly_acked_bytes > 0) update_model_and_state(sample, in.ack);
  set_pacing_rate(pacing_gain());
  set_cwnd(rs);
}

void Bbr::update_model_and_state(Sample& sample, const AckContext& ack) {
  update_latest_delivery(sample);
  update_congestion_signals(sample);
  update_ack_aggregation(sample.rs);
  check_full_bw_reached(sample);
  check_startup_done(sample, ack);
  check_drain_done(sample);
  update_cycle(sample);
  update_min_rtt(sample.rs);
  check_probe_rtt(sample.rs);
  advance_latest_delivery(sample);
  bound_bw();
}

// Startup and Drain: sections 5.3.1 and 5.3.2.

void Bbr::enter_startup() {
  s_.phase = Phase::startup;
}

void Bbr::check_full_bw_reached(const Sample& sample) {
  if (s_.full_bw_now || !s_.round_start || sample.app_limited) return;
  if (sample.rate >= s_.full_bw * full_bw_growth) {
    reset_full_bw();
    s_.full_bw = sample.rate;
    return;
  }
  s_.full_bw_now = ++s_.full_bw_count >= full_bw_rounds;
  if (s_.full_bw_now) s_.full_bw_reached = true;
}

void Bbr::check_startup_done(const Sample& sample, const AckContext& ack) {
  if (s_.phase != Phase::startup) return;
  // CheckStartupHighLoss ().
  const bool recovering = s_.in_recovery && ack.mode == RecoveryMode::fast;
  if (!s_.full_bw_reached && recovering && s_.loss_round_start &&
      s_.loss_events >= startup_full_losses && !sample.limited && is_inflight_too_high(sample)) {
    s_.undo_phase = Phase::startup;
    s_.full_bw_reached = true;
    s_.inflight_longterm = std::max(bdp(1.0f), s_.inflight_latest);
  }
  if (s_.loss_round_start) s_.loss_events = 0;
  if (!s_.full_bw_reached) return;
  s_.phase = Phase::drain;
  s_.drain_rounds = 0;
}

void Bbr::check_drain_done(const Sample& sample) {
  if (s_.phase != Phase::drain) return;
  if (s_.round_start) ++s_.drain_rounds;
  if (sample.rs.in_flight_bytes <= quantized(bdp(1.0f)) || s_.drain_rounds > drain_rounds_max) {
    start_down(sample.rs);
  }
}

// ProbeBW: section 5.3.3.6.

// Some time until the next probe, so that flows do not probe in step.
void Bbr::pick_probe_wait(uint64_t salt) {
  const uint64_t random = mix(salt ^ (uint64_t{now_us_} << 20));
  s_.rounds_since_probe_up = random & 1;
  s_.bw_probe_wait_us =
      probe_wait_min_us + static_cast<uint32_t>((random >> 8) % probe_wait_random_us);
}

void Bbr::start_down(const RateSample& rs) {
  reset_congestion_signals();
  s_.probe_up_acked_per_inc = BbrState::infinite;
  pick_probe_wait(rs.delivered_total);
  s_.cycle_stamp_us = now_us_;
  s_.acks = Acks::probe_stopping;
  s_.next_round_delivered = rs.delivered_total;
  s_.phase = Phase::down;
}

void Bbr::start_refill(const RateSample& rs) {
  reset_short_term_model();
  s_.bw_probe_up_rounds = 0;
  s_.bw_probe_up_acked = 0;
  s_.prev_probe_precautionary = false;
  s_.acks = Acks::refilling;
  s_.next_round_delivered = rs.delivered_total;
  s_.phase = Phase::refill;
}

void Bbr::start_up(const Sample& sample) {
  s_.acks = Acks::probe_starting;
  s_.next_round_delivered = sample.rs.delivered_total;
  reset_full_bw();
  s_.full_bw = sample.rate;
  s_.phase = Phase::up;
  raise_long_term_slope();
}

void Bbr::update_cycle(const Sample& sample) {
  if (!s_.full_bw_reached || adapt_long_term_model(sample)) return;
  switch (s_.phase) {
    case Phase::down:
      if (is_time_to_probe(sample.rs)) return;
      if (is_time_to_cruise(sample.rs)) start_cruise();
      return;
    case Phase::cruise:
      static_cast<void>(is_time_to_probe(sample.rs));
      return;
    case Phase::refill:
      // After one round the pipe is full: now more.
      if (s_.round_start) {
        s_.bw_probe_sample = true;
        start_up(sample);
      }
      return;
    case Phase::up:
      if (is_time_to_go_down(sample)) {
        s_.prev_probe_too_high = false;
        start_down(sample.rs);
      }
      return;
    case Phase::startup:
    case Phase::drain:
    case Phase::probe_rtt:
      return;
  }
}

// AdaptLongTermModel (). Returns: true when it went to another phase.
bool Bbr::adapt_long_term_model(const Sample& sample) {
  if (s_.acks == Acks::probe_starting && s_.round_start) s_.acks = Acks::probe_feedback;
  if (s_.acks == Acks::probe_stopping && s_.round_start) {
    s_.bw_probe_sample = false;
    s_.acks = Acks::init;
    if (in_probe_bw() && !sample.app_limited) advance_max_bw_filter();
    if (in_probe_bw() && s_.prev_probe_precautionary && !s_.prev_probe_too_high) {
      start_refill(sample.rs);
      return true;
    }
  }
  if (is_inflight_too_high(sample) || s_.inflight_longterm == BbrState::infinite) return false;
  s_.inflight_longterm = std::max(s_.inflight_longterm, sample.tx_in_flight);
  if (s_.phase == Phase::up) probe_long_term_upward(sample);
  return false;
}

bool Bbr::is_time_to_probe(const RateSample& rs) {
  const uint32_t reno_rounds = std::min(bdp(1.0f), cc_.cwnd_) / cc_.mss_;
  if (!has_elapsed(s_.cycle_stamp_us, s_.bw_probe_wait_us) &&
      s_.rounds_since_probe_up < std::min(reno_rounds, reno_rounds_max)) {
    return false;
  }
  start_refill(rs);
  return true;
}

bool Bbr::is_time_to_cruise(const RateSample& rs) const {
  return rs.in_flight_bytes <= inflight_with_headroom() &&
         rs.in_flight_bytes <= quantized(bdp(1.0f));
}

bool Bbr::is_time_to_go_down(const Sample& sample) {
  if (s_.prev_probe_too_high && sample.rs.in_flight_bytes >= s_.inflight_longterm) {
    s_.prev_probe_precautionary = true;
    return true;
  }
  if (sample.cwnd_limited && cc_.cwnd_ >= s_.inflight_longterm) {
    reset_full_bw();  // the bound is the limit, and not the path
    s_.full_bw = sample.rate;
    return false;
  }
  return s_.full_bw_now;
}

void Bbr::raise_long_term_slope() {
  const uint32_t growth = 1u << s_.bw_probe_up_rounds;
  s_.bw_probe_up_rounds = static_cast<uint8_t>(std::min(s_.bw_probe_up_rounds + 1, 30));
  s_.probe_up_acked_per_inc = std::max<uint32_t>(cc_.cwnd_ / growth, cc_.mss_);
}

void Bbr::probe_long_term_upward(const Sample& sample) {
  if (!sample.cwnd_limited || cc_.cwnd_ < s_.inflight_longterm) return;
  s_.bw_probe_up_acked += sample.rs.newly_acked_bytes;
  if (s_.bw_probe_up_acked >= s_.probe_up_acked_per_inc) {
    const uint32_t steps = s_.bw_probe_up_acked / s_.probe_up_acked_per_inc;
    s_.bw_probe_up_acked -= steps * s_.probe_up_acked_per_inc;
    s_.inflight_longterm = static_cast<uint32_t>(std::min<uint64_t>(
        s_.inflight_longterm + uint64_t{steps} * cc_.mss_, CongestionControl::cwnd_max));
  }
  if (s_.round_start) raise_long_term_slope();
}

// ProbeRTT: section 5.3.4.3.

void Bbr::check_probe_rtt(const RateSample& rs) {
  if (s_.phase != Phase::probe_rtt && s_.probe_rtt_expired && !s_.idle_restart) {
    save_cwnd();
    s_.phase = Phase::probe_rtt;
    s_.probe_rtt_timed = false;
    s_.acks = Acks::probe_stopping;
    s_.next_round_delivered = rs.delivered_total;
  }
  if (s_.phase == Phase::probe_rtt) handle_probe_rtt(rs);
  if (rs.newly_acked_bytes > 0) s_.idle_restart = false;
}

void Bbr::handle_probe_rtt(const RateSample& rs) {
  // MarkConnectionAppLimited (): low rates here are of our own making.
  s_.app_limited_until = rs.delivered_total + std::max(rs.in_flight_bytes, 1u);
  if (!s_.probe_rtt_timed) {
    if (rs.in_flight_bytes > probe_rtt_cwnd()) return;
    s_.probe_rtt_timed = true;
    s_.probe_rtt_done_us = now_us_ + probe_rtt_duration_us;
    s_.probe_rtt_round_done = false;
    s_.next_round_delivered = rs.delivered_total;
    return;
  }
  if (s_.round_start) s_.probe_rtt_round_done = true;
  if (s_.probe_rtt_round_done) check_probe_rtt_done(rs.delivered_total);
}

void Bbr::check_probe_rtt_done(uint64_t delivered_total) {
  if (!s_.probe_rtt_timed || static_cast<int32_t>(now_us_ - s_.probe_rtt_done_us) <= 0) return;
  s_.probe_rtt_min_stamp_us = now_us_;
  restore_cwnd();
  reset_short_term_model();
  if (s_.full_bw_reached) {
    start_down({.delivered_total = delivered_total});
    start_cruise();
  } else {
    enter_startup();
  }
}

// What may be sent: section 5.6.

float Bbr::pacing_gain() const {
  switch (s_.phase) {
    case Phase::startup:
      return startup_pacing_gain;
    case Phase::drain:
      return drain_pacing_gain;
    case Phase::down:
      return down_pacing_gain;
    case Phase::up:
      return up_pacing_gain;
    case Phase::cruise:
    case Phase::refill:
    case Phase::probe_rtt:
      return 1.0f;
  }
  return 1.0f;
}

float Bbr::cwnd_gain() const {
  if (s_.phase == Phase::up) return up_cwnd_gain;
  return s_.phase == Phase::probe_rtt ? probe_rtt_cwnd_gain : default_cwnd_gain;
}

uint32_t Bbr::probe_rtt_cwnd() const {
  return std::max(bdp(probe_rtt_cwnd_gain), min_pipe_cwnd());
}

void Bbr::set_pacing_rate(float gain) {
  const float rate = gain * s_.bw * pacing_margin;
  if (rate > 0 && (s_.full_bw_reached || rate > s_.pacing_rate)) s_.pacing_rate = rate;
}

// Section 5.6.4.6, SetCwnd ().
void Bbr::set_cwnd(const RateSample& rs) {
  const uint32_t extra = std::max(s_.extra_acked_filter[0], s_.extra_acked_filter[1]);
  const uint32_t most = quantized(uint64_t{bdp(cwnd_gain())} + extra);
  const uint64_t grown =
      std::min<uint64_t>(uint64_t{cc_.cwnd_} + rs.newly_acked_bytes, CongestionControl::cwnd_max);
  if (s_.full_bw_reached) {
    cc_.cwnd_ = static_cast<uint32_t>(std::min<uint64_t>(grown, most));
  } else if (cc_.cwnd_ < most || rs.delivered_total < initial_window_bytes(cc_.mss_)) {
    cc_.cwnd_ = static_cast<uint32_t>(grown);
  }
  cc_.cwnd_ = std::max(cc_.cwnd_, min_pipe_cwnd());
  if (s_.phase == Phase::probe_rtt) cc_.cwnd_ = std::min(cc_.cwnd_, probe_rtt_cwnd());
  bound_cwnd();
}

// BoundCwndForModel ().
void Bbr::bound_cwnd() {
  uint32_t cap = BbrState::infinite;
  if (in_probe_bw() && s_.phase != Phase::cruise) {
    cap = s_.inflight_longterm;
  } else if (s_.phase == Phase::probe_rtt || s_.phase == Phase::cruise) {
    cap = inflight_with_headroom();
  }
  cap = std::max(std::min(cap, s_.inflight_shortterm), min_pipe_cwnd());
  cc_.cwnd_ = std::min(cc_.cwnd_, cap);
}

// Events.

void Bbr::on_loss_event() {
  save_cwnd();
  if (!s_.loss_in_round) save_state_upon_loss();
  s_.in_recovery = true;
}

void Bbr::on_recovery_end() {
  if (!s_.in_recovery) return;
  s_.in_recovery = false;
  restore_cwnd();
  bound_cwnd();
}

// OnEnterRTO (): all that was in flight is lost.
void Bbr::on_rto() {
  save_cwnd();
  save_state_upon_loss();
  s_.in_recovery = true;
  cc_.cwnd_ = cc_.mss_;
}

// Section 5.5.10.2, HandleSpuriousLossDetection ().
void Bbr::on_undo() {
  restore_cwnd();
  s_.in_recovery = false;
  s_.loss_in_round = s_.mark_in_round = false;
  reset_full_bw();
  s_.bw_shortterm = std::max(s_.bw_shortterm, s_.undo_bw_shortterm);
  s_.inflight_shortterm = std::max(s_.inflight_shortterm, s_.undo_inflight_shortterm);
  s_.inflight_longterm = std::max(s_.inflight_longterm, s_.undo_inflight_longterm);
  if (s_.undo_phase == Phase::startup && s_.phase != Phase::startup) {
    s_.full_bw_reached = false;
    if (s_.phase != Phase::probe_rtt) enter_startup();
  } else if (s_.undo_phase == Phase::up && s_.phase != Phase::up && in_probe_bw()) {
    start_refill({.delivered_total = s_.next_round_delivered});
  }
  s_.undo_phase = Phase::drain;
}

// Section 5.4.1, HandleRestartFromIdle ().
void Bbr::on_idle_restart(Duration idle) {
  if (idle > forgotten_after) {
    cc_.cwnd_ = initial_window_bytes(cc_.mss_);
    init(Duration::from_us(s_.min_rtt_us));
  }
  s_.idle_restart = true;
  s_.extra_acked_start_us = now_us_;
  s_.extra_acked_delivered = 0;
  if (idle > Duration::from_s(10)) {
    // Whatever was measured before is older than a minimum may be: the next sample is the new one.
    s_.min_rtt_stamp_us = s_.probe_rtt_min_stamp_us = now_us_ - 11'000'000;
  }
  if (in_probe_bw()) {
    set_pacing_rate(1.0f);
  } else if (s_.phase == Phase::probe_rtt) {
    check_probe_rtt_done(s_.next_round_delivered);
  }
}

}  // namespace sluice::tcp
