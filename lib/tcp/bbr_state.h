// BbrState: what BBR knows of the path, and where it stands in its cycle. Read tcp/bbr.h first.
//
// Names are those of draft-ietf-ccwg-bbr section 2. Units: volumes in bytes, times in microseconds
// of the stack's clock (low 32 bits: compared over minutes at most), rates in bytes per second.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

namespace sluice::tcp {

struct BbrState {
  static constexpr uint32_t infinite = std::numeric_limits<uint32_t>::max();
  static constexpr float infinite_rate = std::numeric_limits<float>::infinity();

  enum class Phase : uint8_t { startup, drain, down, cruise, refill, up, probe_rtt };
  enum class Acks : uint8_t { init, refilling, probe_starting, probe_feedback, probe_stopping };

  // Counters of this Sender's DeliveryRate.
  uint64_t next_round_delivered = 0;
  uint64_t loss_round_delivered = 0;
  uint64_t app_limited_until = 0;  // ProbeRTT limits the sender as an application would

  // Rates.
  std::array<float, 2> max_bw_filter{};  // of the cycle before, and of this one
  float bw = 0;
  float bw_latest = 0;
  float bw_shortterm = infinite_rate;
  float undo_bw_shortterm = infinite_rate;
  float full_bw = 0;
  float pacing_rate = 0;
  float base_loss = 0;  // share lost while we neither probe nor queue

  // Volumes.
  uint32_t inflight_latest = 0;
  uint32_t inflight_shortterm = infinite;
  uint32_t inflight_longterm = infinite;
  uint32_t undo_inflight_shortterm = infinite;
  uint32_t undo_inflight_longterm = infinite;
  uint32_t probe_up_acked_per_inc = infinite;
  uint32_t bw_probe_up_acked = 0;
  uint32_t prior_cwnd = 0;
  uint32_t extra_acked_delivered = 0;
  std::array<uint32_t, 2> extra_acked_filter{};  // of the rounds before, and of these

  // Times.
  uint32_t extra_acked_start_us = 0;
  uint32_t min_rtt_us = 0;  // 0: no sample yet
  uint32_t min_rtt_stamp_us = 0;
  uint32_t probe_rtt_min_us = 0;  // the least since the last ProbeRTT
  uint32_t probe_rtt_min_stamp_us = 0;
  uint32_t probe_rtt_done_us = 0;  // with probe_rtt_timed
  uint32_t cycle_stamp_us = 0;
  uint32_t bw_probe_wait_us = 0;

  uint16_t extra_acked_rounds = 0;
  uint8_t rounds_since_probe_up = 0;  // saturates
  uint8_t drain_rounds = 0;
  uint8_t bw_probe_up_rounds = 0;
  uint8_t full_bw_count = 0;
  uint8_t loss_events = 0;  // in this round; saturates
  Phase phase = Phase::startup;
  Phase undo_phase = Phase::drain;  // startup or up: to be returned to; others: none
  Acks acks = Acks::init;

  bool round_start : 1 = false;
  bool loss_round_start : 1 = false;
  bool loss_in_round : 1 = false;
  bool mark_in_round : 1 = false;
  bool full_bw_now : 1 = false;
  bool full_bw_reached : 1 = false;
  bool bw_probe_sample : 1 = false;
  bool prev_probe_too_high : 1 = false;
  bool prev_probe_precautionary : 1 = false;
  bool probe_rtt_expired : 1 = false;
  bool probe_rtt_timed : 1 = false;
  bool probe_rtt_round_done : 1 = false;
  bool idle_restart : 1 = false;
  bool in_recovery : 1 = false;
};

}  // namespace sluice::tcp
