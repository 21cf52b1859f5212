// What an ACK acknowledges, and what that says of losses and of the path: RFC 9293 section
// 3.10.7.4, fifth step, with RFC 2018, RFC 5681, RFC 6298 and RFC 6675.
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;

namespace {

constexpr uint32_t samples_per_rtt_max = 4;

}  // namespace

// Returns false when the segment, or the connection, is done with.
bool Stack::handle_ack(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  const int32_t acked = segment.ack - wrap(c.iss, c.snd_una);
  if (acked < 0) {
    // RFC 5961 section 5: older than any window we have ever used.
    if (c.fast_open || -int64_t{acked} > int64_t{65'535} << c.snd_wscale) {
      counters_.add(Counter::tcp_drop_ack_unsent);
      challenge(index);
      refresh(index);
      return false;
    }
    return true;
  }
  if (static_cast<uint32_t>(acked) > c.in_flight) {
    counters_.add(Counter::tcp_drop_ack_unsent);
    challenge(index);
    refresh(index);
    return false;
  }
  const bool was_resent = c.fast_open && c.retransmissions > 0;
  if (c.fast_open) finish_fast_open(c);
  const bool window_changed = update_window(c, segment);
  if (c.sender != none) {
    handle_sender_ack(index, segment, static_cast<uint32_t>(acked), window_changed);
  } else if (acked > 0) {  // a FIN that was outstanding alone
    c.snd_una += static_cast<uint32_t>(acked);
    c.in_flight -= static_cast<uint32_t>(acked);
    c.resend_due = false;
    c.rtt.clear_back_off();
    arm_send_timer(c);
  }
  // What went out behind a SYN-ACK that was lost was not understood.
  if (was_resent && c.in_flight > 0) handle_retransmission_timer(index);
  if (acked > 0 && c.fin_sent && c.in_flight == 0) return handle_fin_acknowledged(index);
  return true;
}

// Returns false when the connection is over.
bool Stack::handle_fin_acknowledged(uint32_t index) {
  Connection& c = connections_[index];
  switch (c.state) {
    case State::fin_wait_1:
      if (!accepting_) {  // draining: the peer has everything, and its FIN is not worth waiting for
        end(index, CloseReason::finished);
        return false;
      }
      c.state = State::fin_wait_2;
      set_send_timer(c, SendTimer::fin_wait_2, config_.fin_wait_2);
      return true;
    case State::closing:
      enter_time_wait(index);
      return false;
    case State::last_ack:
      end(index, CloseReason::finished);
      return false;
    case State::closed:
    case State::syn_received:
    case State::established:
    case State::close_wait:
    case State::fin_wait_2:
      return true;
  }
  return true;
}

// RFC 9293 section 3.10.7.4: only a segment that is not older than the last update may change the
// window; one that acknowledges something new, or that opens the window, is newer.
bool Stack::update_window(Connection& c, const Segment& segment) {
  const uint32_t window = segment.window << c.snd_wscale;
  const bool newer = segment.ack > wrap(c.iss, c.snd_una) || segment.seq > c.snd_wl1 ||
                     (segment.seq == c.snd_wl1 && window > c.snd_wnd);
  if (!newer && !(segment.seq == c.snd_wl1 && segment.ack == wrap(c.iss, c.snd_una))) return false;
  const bool changed = window != c.snd_wnd;
  c.snd_wnd = window;
  c.snd_wl1 = segment.seq;
  return changed;
}

void Stack::handle_sender_ack(uint32_t index, const Segment& segment, uint32_t acked,
                              bool window_changed) {
  Connection& c = connections_[index];
  Sender& sender = senders_[c.sender];
  sender.window_max = std::max(sender.window_max, c.snd_wnd);
  LossRecovery& recovery = sender.recovery;
  LossRecovery::Ack ack{
      .una_before = c.snd_una, .has_echo = c.timestamps, .echo_ms = segment.ts_echo - c.ts_offset};
  if (c.sack_permitted && !options_.sack.empty()) read_sack(c, c.snd_una + acked, ack);
  const bool reports = !ack.sacked.empty() || !ack.twice.empty();
  if (acked == 0 && !reports && !window_changed && segment.length() > 0) return;

  c.snd_una += acked;
  c.in_flight -= acked;
  if (acked > 0) {
    sender.progress_ms = now_ms();
    c.probes = 0;
  }
  // RFC 5681 section 2: no payload, no new window, something outstanding.
  ack.duplicate =
      acked == 0 && c.in_flight > 0 && segment.length() == 0 && !window_changed && !reports;
  if (recovery.mode() == RecoveryMode::rto) {
    ack.may_send_new = c.snd_nxt() < sender.queue.end() && c.in_flight < c.snd_wnd;
  }
  const bool ece = c.ecn && segment.has(wire::tcp_flag::ece);
  ack.ece = ece;
  LossRecovery::Verdict verdict =
      recovery.on_ack(recovery_pools_, now_, flight(c), ack, sender.congestion);
  count_verdict(verdict);
  if (verdict.entered_recovery) count_plain(recovery);
  sample_rtt(c, segment, verdict.sample.rtt, acked > 0);
  RateSample& sample = verdict.sample;
  if (ece) {
    counters_.add(Counter::tcp_ecn_echoes);
    sender.marked_bytes += sample.newly_acked_bytes;
  }
  if (sample.newly_acked_bytes > 0 || sample.newly_lost_bytes > 0) {
    const SeqNumber una = low_half(c.snd_una);
    sample.cwnd_limited = recovery.mode() != RecoveryMode::open || una <= sender.limited_to;
    // It follows at a byte's distance: half a circle is all that can be told.
    if (una > sender.limited_to) sender.limited_to = una - 1;
    // RFC 3168 section 6.1.2: a mark although the window is one segment already (MUST).
    if (ece && sender.congestion.cwnd() <= c.mss) sender.pacer.hold(now_ + c.rtt.rto_once());
    sender.congestion.on_ack(now_, sample,
                             {.snd_una = c.snd_una,
                              .snd_nxt = c.snd_nxt(),
                              .srtt = c.rtt.srtt(),
                              .min_rtt = c.rtt.min_rtt(),
                              .mode = recovery.mode(),
                              .ece = ece,
                              .may_grow = acked > 0 || recovery.rack().reordering_seen()});
    sender.pacer.set_train(sender.congestion.send_quantum());
  }
  rearm_send_timer(c, acked > 0 || verdict.entered_recovery);
  if (acked > 0 && c.mss < c.mss_max) judge_path(c);
  if (acked > 0) release_acknowledged(index);
}

// A recovery began.
void Stack::count_plain(const LossRecovery& recovery) {
  if (recovery.plain()) counters_.add(Counter::tcp_recoveries_plain);
}

void Stack::count_verdict(const LossRecovery::Verdict& verdict) {
  if (verdict.sample.newly_lost_bytes > 0) {
    counters_.add(Counter::tcp_lost_bytes, verdict.sample.newly_lost_bytes);
  }
  if (verdict.entered_recovery) counters_.add(Counter::tcp_fast_recoveries);
  if (verdict.spurious) counters_.add(Counter::tcp_spurious_recoveries);
  if (verdict.spurious_timeout) counters_.add(Counter::tcp_spurious_timeouts);
  if (verdict.retransmission_lost) counters_.add(Counter::tcp_lost_retransmissions);
  if (verdict.probe_repaired) counters_.add(Counter::tcp_tail_probes_useful);
  if (verdict.reordering) counters_.add(Counter::tcp_reordering_seen);
  if (verdict.refused > 0) counters_.add(Counter::tcp_sent_runs_exhausted, verdict.refused);
}

// RFC 2018 section 5, RFC 2883 section 5. `una` is what the same segment acknowledges.
void Stack::read_sack(const Connection& c, StreamOffset una, LossRecovery::Ack& ack) {
  sacked_.clear();
  bool first = true;
  for (const wire::SackBlock& block : options_.sack) {
    const StreamRange range{unwrap(c.iss, SeqNumber(block.left), una),
                            unwrap(c.iss, SeqNumber(block.right), una)};
    const bool is_first = first;
    first = false;
    // Offsets from before the connection are huge: they fail the last comparison.
    if (range.begin >= range.end || range.end > c.snd_nxt()) {
      counters_.add(Counter::tcp_sack_invalid);
      continue;
    }
    // RFC 2883 section 4: below the acknowledgement, or (4.2) inside of the second block.
    const bool twice = is_first && (range.end <= una ||
                                    (options_.sack.size() > 1 &&
                                     SeqNumber(options_.sack[1].left) <= SeqNumber(block.left) &&
                                     SeqNumber(block.right) <= SeqNumber(options_.sack[1].right)));
    if (twice) {
      ack.twice = range;
      counters_.add(Counter::tcp_duplicates_reported);
    }
    if (range.begin > una) {
      ASSERT(sacked_.push_back(range));
    } else if (!twice) {
      counters_.add(Counter::tcp_sack_invalid);
    }
  }
  ack.sacked = {sacked_.begin(), sacked_.end()};
}

// `measured` of runs that were sent once; 0: there was none. Then the timestamp may tell.
void Stack::sample_rtt(Connection& c, const Segment& segment, Duration measured, bool advanced) {
  if (measured <= Duration() &&
      (!advanced || !c.timestamps ||
       !rtt_from_timestamps({.now_ms = now_ms() + c.ts_offset, .echoed_ms = segment.ts_echo},
                            measured))) {
    return;
  }
  // RFC 7323 appendix G, but there are never more samples than trains.
  const uint32_t cwnd = senders_[c.sender].congestion.cwnd();
  uint32_t expected = 1;
  while (expected < samples_per_rtt_max && cwnd >= (expected + 1) * 2u * c.mss) ++expected;
  c.rtt.add_sample(measured, expected);
}

// Lets go of what was acknowledged, and of the sender when that was all.
void Stack::release_acknowledged(uint32_t index) {
  Connection& c = connections_[index];
  Sender& sender = senders_[c.sender];
  bool released = false;
  for (Span span; sender.queue.pop_acknowledged(spans_, c.snd_una, span);) {
    release_span(span);
    released = true;
  }
  if (!released) return;
  if (sender.queue.empty()) {
    release_sender(c);
    arm_send_timer(c);  // for a FIN that is outstanding alone
  }
  add_event(index, EventKind::acknowledged);
}

}  // namespace sluice::tcp
