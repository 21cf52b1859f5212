// Time: RFC 6298, RFC 8985 section 7, RFC 9293 sections 3.8.4 and 3.8.6.1.
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

namespace {

// RFC 9293 section 3.8.6.1: probes back off like retransmissions.
constexpr uint32_t persist_doublings_max = 8;
// Probes of a closed window in one user timeout, at least.
constexpr int64_t persist_probes_min = 4;
// A FIN that is outstanding alone: about 50 s at the least timeout. As Linux's tcp_orphan_retries.
constexpr uint32_t fin_retries = 7;

}  // namespace

// The wheel.

void Stack::set_send_timer(Connection& c, SendTimer kind, Duration after) {
  c.send_timer = kind;
  if (kind == SendTimer::none) {
    c.send_deadline = Instant::never();
    return;
  }
  c.send_deadline = now_ + after;
  if (c.sender != none) c.send_deadline = std::min(c.send_deadline, patience_end(c));
}

// After sending, and after an ACK of something new.
void Stack::arm_send_timer(Connection& c) {
  if (c.fast_open) return;  // the SYN-ACK's goes on
  if (c.in_flight == 0) {
    set_send_timer(c, SendTimer::none, Duration());
    return;
  }
  const Duration rto = c.rtt.rto();
  if (c.sender != none) {
    const LossRecovery& recovery = senders_[c.sender].recovery;
    const Duration overdue = recovery.reordering_timeout();
    if (overdue > Duration() && overdue < rto) {
      set_send_timer(c, SendTimer::reordering, overdue);
      return;
    }
    // RFC 8985 section 7.2: where the timeout would come first, the probe takes its place.
    // Section 7.3: and not before a round trip was measured since the last one (MUST), else probes
    // of a path that became slow would keep its time from being known.
    if (c.sack_permitted && c.rtt.sampled_since_probe() && recovery.may_probe()) {
      const Duration probe = TailProbe::timeout(c.rtt.srtt(), c.in_flight <= c.mss);
      set_send_timer(c, SendTimer::tail_probe, std::min(probe, rto));
      return;
    }
  }
  set_send_timer(c, SendTimer::retransmit, rto);
}

// After an ACK. `restart`: RFC 6298 section 5.3, or recovery has begun. Else only where what the
// timer was set for is not so any more.
void Stack::rearm_send_timer(Connection& c, bool restart) {
  const LossRecovery& recovery = senders_[c.sender].recovery;
  const bool waits = recovery.reordering_timeout() > Duration();
  const bool stale = (c.send_timer == SendTimer::tail_probe && !recovery.may_probe()) ||
                     (c.send_timer == SendTimer::reordering && !waits);
  if (restart || waits || stale) arm_send_timer(c);
}

// When the peer has been silent for too long. Only while nothing else is awaited of it.
Instant Stack::keep_alive_deadline(const Connection& c) const {
  if (c.send_timer != SendTimer::none) return now_ + config_.keep_alive_after;
  const auto silent = static_cast<int64_t>(now_ms() - c.heard_ms);
  const Duration limit = config_.keep_alive_after + c.probes * config_.keep_alive_interval;
  return now_ + std::max(limit - Duration::from_ms(silent), Duration());
}

// The wheel's deadline only ever moves forward in time by expiring: a later own deadline costs
// nothing now, and an early expiry later.
void Stack::schedule_wheel(uint32_t index) {
  Connection& c = connections_[index];
  Instant at = c.send_deadline;
  if (c.ack_delayed) {
    const auto wait = static_cast<int32_t>(c.ack_deadline_ms - now_ms());
    at = std::min(at, now_ + Duration::from_ms(std::max(wait, 0)));
  }
  if (!c.in_wheel && c.state != State::syn_received) {
    at = std::min(at, keep_alive_deadline(c));
  }
  if (c.sender != none && senders_[c.sender].held) {
    at = std::min(at, senders_[c.sender].pacer.until());
  }
  if (c.timed) {
    const auto wait = static_cast<int32_t>(c.deadline_ms - now_ms());
    at = std::min(at, now_ + Duration::from_ms(std::max(wait, 0)));
  }
  if (at.is_never()) return;
  const auto tick = static_cast<uint32_t>(timer::TimerWheel::tick_of(at));
  if (c.in_wheel && static_cast<int32_t>(tick - c.wheel_tick) >= 0) return;
  c.in_wheel = true;
  c.wheel_tick = tick;
  wheel_.schedule(index, at);
}

Instant Stack::next_timeout() const {
  return std::min(wheel_.next_timeout(), time_wait_.next_timeout());
}

void Stack::handle_timeout(Instant now) {
  now_ = std::max(now_, now);
  settle();
  time_wait_.expire(now_);
  for (uint32_t index = wheel_.poll_expired(now_); index != timer::TimerWheel::none;
       index = wheel_.poll_expired(now_)) {
    handle_timer(index);
  }
}

void Stack::handle_timer(uint32_t index) {
  Connection& c = connections_[index];
  ASSERT(c.state != State::closed);
  c.in_wheel = false;
  if (c.ack_delayed && static_cast<int32_t>(now_ms() - c.ack_deadline_ms) >= 0) {
    c.ack_delayed = false;
    c.ack_now = true;
  }
  if (c.timed && static_cast<int32_t>(now_ms() - c.deadline_ms) >= 0) {
    c.timed = false;
    add_event(index, EventKind::deadline);
  }
  if (c.send_deadline <= now_) {
    handle_send_timer(index);
  } else if (c.send_timer == SendTimer::none && c.state != State::syn_received) {
    handle_keep_alive(index);
  }
  refresh(index);
}

// Each kind of expiry.

// When a peer that makes no progress is given up. One whose window is closed, and that answers,
// is alive (RFC 9293 section 3.8.6.1, MUST-37); though not for ever here.
Instant Stack::patience_end(const Connection& c) const {
  const auto still =
      Duration::from_ms(static_cast<int32_t>(now_ms() - senders_[c.sender].progress_ms));
  const Instant progress = now_ - still;
  const bool closed = c.send_timer == SendTimer::persist || c.snd_wnd == 0;
  if (!closed) return progress + config_.user_timeout;
  const auto silent = Duration::from_ms(static_cast<int32_t>(now_ms() - c.heard_ms));
  const Instant alive = std::max(progress, now_ - silent);
  return std::min(alive + config_.user_timeout, progress + config_.stall_timeout);
}

void Stack::give_up(uint32_t index) {
  Connection& c = connections_[index];
  reply(c.flow, header_for(c, c.snd_nxt(), flag::rst | flag::ack));
  end(index, CloseReason::timed_out);
}

void Stack::handle_send_timer(uint32_t index) {
  Connection& c = connections_[index];
  if (c.sender != none && patience_end(c) <= now_) {
    give_up(index);
    return;
  }
  const SendTimer expired = c.send_timer;
  set_send_timer(c, SendTimer::none, Duration());
  switch (expired) {
    case SendTimer::none:
      break;
    case SendTimer::retransmit:
      if (c.state == State::syn_received || c.fast_open) {
        handle_syn_ack_timer(index);
      } else {
        handle_retransmission_timer(index);
      }
      break;
    case SendTimer::tail_probe:
      handle_tail_timer(index);
      break;
    case SendTimer::reordering:
      handle_reordering_timer(index);
      break;
    case SendTimer::persist:
      handle_persist_timer(index);
      break;
    case SendTimer::fin_wait_2:
      counters_.add(Counter::tcp_fin_wait_2_expired);
      end(index, CloseReason::finished);
      break;
  }
}

void Stack::handle_syn_ack_timer(uint32_t index) {
  Connection& c = connections_[index];
  if (c.parked && c.probes > 0) {
    // Three seconds, and its link address is not known: a station that does not exist.
    counters_.add(Counter::tcp_half_open_unreachable);
    end(index, CloseReason::timed_out);
    return;
  }
  if (c.probes >= config_.syn_ack_retries) {
    counters_.add(Counter::tcp_half_open_expired);
    end(index, CloseReason::timed_out);
    return;
  }
  ++c.probes;
  c.rtt.back_off();
  c.resend_due = true;
  set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
}

// RFC 6298 section 5, RFC 6675 section 5.1.
void Stack::handle_retransmission_timer(uint32_t index) {
  Connection& c = connections_[index];
  counters_.add(Counter::tcp_rto);
  const uint32_t earlier = c.rtt.back_off_count();
  if (c.sender == none) {  // only our FIN
    if (earlier >= fin_retries) {
      give_up(index);
      return;
    }
    c.rtt.back_off();
    c.resend_due = true;
    if (c.retransmissions < UINT16_MAX) ++c.retransmissions;
    counters_.add(Counter::tcp_retransmitted_segments);
    arm_send_timer(c);
    return;
  }
  if (earlier > 0) suspect_black_hole(c, earlier + 1);
  Sender& sender = senders_[c.sender];
  if (sender.recovery.board().reneged(recovery_pools_.runs))
    counters_.add(Counter::tcp_sack_reneged);
  sender.recovery.on_rto(recovery_pools_, now_, flight(c), {.first = earlier == 0},
                         sender.congestion);
  if (earlier == 0) count_plain(sender.recovery);
  sender.probe_due = false;
  sender.pacer.release(now_);
  c.rtt.back_off();
  set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
}

void Stack::handle_tail_timer(uint32_t index) {
  Connection& c = connections_[index];
  if (c.sender != none && senders_[c.sender].recovery.may_probe()) {
    senders_[c.sender].probe_due = true;
  }
  // RFC 8985 section 7.3: the timer is now that of the RTO, whether or not a probe leaves.
  if (c.in_flight > 0) set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
}

void Stack::handle_reordering_timer(uint32_t index) {
  Connection& c = connections_[index];
  if (c.sender == none) return;
  Sender& sender = senders_[c.sender];
  if (sender.recovery.on_reordering_timeout(recovery_pools_, now_, flight(c), sender.congestion)) {
    counters_.add(Counter::tcp_fast_recoveries);
    count_plain(sender.recovery);
  }
  arm_send_timer(c);
}

void Stack::handle_persist_timer(uint32_t index) {
  Connection& c = connections_[index];
  if (c.sender == none) return;
  if (c.snd_wnd > 0) {
    senders_[c.sender].override_due = true;
  } else {
    c.probe_due = true;
    counters_.add(Counter::tcp_window_probes);
  }
  if (c.probes < UINT8_MAX) ++c.probes;
  const auto factor = int64_t{1} << std::min<uint32_t>(c.probes, persist_doublings_max);
  // Several probes must go unanswered before the peer is given up.
  const Duration longest = std::min(rto_max, config_.user_timeout / persist_probes_min);
  set_send_timer(c, SendTimer::persist, std::min(c.rtt.rto() * factor, longest));
}

void Stack::handle_keep_alive(uint32_t index) {
  Connection& c = connections_[index];
  if (keep_alive_deadline(c) > now_) return;
  if (c.probes >= config_.keep_alive_probes) {
    give_up(index);
    return;
  }
  ++c.probes;
  c.probe_due = true;
  counters_.add(Counter::tcp_keep_alive_probes);
}

}  // namespace sluice::tcp
