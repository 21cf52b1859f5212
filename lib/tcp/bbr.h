// Bbr: sends at the rate that the path was seen to deliver, and keeps little more in flight than
// fills it.
//
// Read first: draft-ietf-ccwg-bbr (BBRv3). bbr.cc is the state machine (sections 5.3 and 5.6),
// bbr_model.cc what is known of the path (section 5.5). State lives in CongestionControl.
//
//   Startup -> Drain -> ProbeBW: Down -> Cruise -> Refill -> Up -> Down ...; ProbeRTT from any.
//
// The draft's per-loss steps run once for each ACK that finds losses, with the sample of the newest
// run delivered, which was sent after what is lost. A congestion mark counts as a loss of that
// round (section 3.6: any CE mark MUST be treated as congestion).
#pragma once

#include "tcp/congestion_control.h"

namespace sluice::tcp {

class Bbr {
 public:
  Bbr(CongestionControl& cc, Instant now);

  void init(Duration srtt);
  void restore(const CongestionMemory& memory, Duration srtt);
  void save(CongestionMemory& out) const;

  struct Ack {
    const AckContext& ack;
    bool marked = false;  // the first congestion mark of a window of data
  };
  void on_ack(const RateSample& sample, const Ack& in);
  void on_loss_event();
  void on_recovery_end();
  void on_rto();
  void on_undo();
  void on_idle_restart(Duration idle);

 private:
  using Phase = BbrState::Phase;
  using Acks = BbrState::Acks;
  // The sample, with what BBR asks of it.
  struct Sample {
    const RateSample& rs;
    float rate = 0;  // 0: none
    uint32_t tx_in_flight = 0;
    bool app_limited = false;
    bool cwnd_limited = false;
    bool limited = false;  // by the application, or by the peer's window: not by the network
  };

  // bbr.cc
  void update_model_and_state(Sample& sample, const AckContext& ack);
  void init_pacing_rate();
  void enter_startup();
  void check_full_bw_reached(const Sample& sample);
  void check_startup_done(const Sample& sample, const AckContext& ack);
  void check_drain_done(const Sample& sample);
  void pick_probe_wait(uint64_t salt);
  void start_down(const RateSample& rs);
  void start_cruise() { s_.phase = Phase::cruise; }
  void start_refill(const RateSample& rs);
  void start_up(const Sample& sample);
  void update_cycle(const Sample& sample);
  [[nodiscard]] bool adapt_long_term_model(const Sample& sample);
  [[nodiscard]] bool is_time_to_probe(const RateSample& rs);
  [[nodiscard]] bool is_time_to_cruise(const RateSample& rs) const;
  [[nodiscard]] bool is_time_to_go_down(const Sample& sample);
  void raise_long_term_slope();
  void probe_long_term_upward(const Sample& sample);
  void check_probe_rtt(const RateSample& rs);
  void handle_probe_rtt(const RateSample& rs);
  void check_probe_rtt_done(uint64_t delivered_total);
  void set_pacing_rate(float gain);
  void set_cwnd(const RateSample& rs);
  void bound_cwnd();

  // bbr_model.cc
  void note_loss(uint64_t delivered_total);
  void handle_loss(Sample& sample);
  void handle_inflight_too_high(const Sample& sample, uint32_t in_flight_bytes);
  void update_latest_delivery(const Sample& sample);
  void update_congestion_signals(const Sample& sample);
  void advance_latest_delivery(const Sample& sample);
  void update_round(const Sample& sample);
  void update_max_bw(const Sample& sample);
  void advance_max_bw_filter();
  void update_ack_aggregation(const RateSample& rs);
  void update_min_rtt(const RateSample& rs);
  void reset_congestion_signals();
  void reset_short_term_model();
  void reset_full_bw();
  void bound_bw();
  void save_state_upon_loss();
  void save_cwnd();
  void restore_cwnd();

  [[nodiscard]] bool in_probe_bw() const {
    return s_.phase >= Phase::down && s_.phase <= Phase::up;
  }
  [[nodiscard]] bool is_probing() const {
    return s_.phase == Phase::startup || s_.phase == Phase::refill || s_.phase == Phase::up;
  }
  [[nodiscard]] bool is_inflight_too_high(const Sample& sample) const;
  [[nodiscard]] float loss_threshold() const;
  void learn_base_loss(const Sample& sample);
  [[nodiscard]] float max_bw() const;
  [[nodiscard]] uint32_t min_pipe_cwnd() const;
  [[nodiscard]] uint32_t bdp(float gain) const;
  [[nodiscard]] uint32_t quantized(uint64_t bytes) const;
  [[nodiscard]] uint32_t inflight_with_headroom() const;
  [[nodiscard]] uint32_t probe_rtt_cwnd() const;
  [[nodiscard]] float pacing_gain() const;
  [[nodiscard]] float cwnd_gain() const;
  [[nodiscard]] bool has_elapsed(uint32_t since_us, uint32_t interval_us) const {
    return now_us_ - since_us > interval_us;
  }

  CongestionControl& cc_;
  BbrState& s_;
  uint32_t now_us_;
  uint32_t now_s_;
};

}  // namespace sluice::tcp
