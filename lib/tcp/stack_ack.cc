// What an ACK acknowledges, and what that says of losses and of the path: RFC 9293 section
// 3.10.7.4, fifth step, with RFC 2018, RFC 5681, RFC 6298 and RFC 6675.
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;

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
  const StreamOffset una_before = c.snd_una;
  const uint32_t sacked_before = board(sender).sacked_bytes();

  SackNews sack;
  if (c.sack_permitted && !options_.sack.empty()) sack = read_sack(c, sender, una_before + acked);
  if (acked == 0 && !sack.any && !sack.dsack && !window_changed && segment.length() > 0) return;

  c.snd_una += acked;
  c.in_flight -= acked;
  if (sender.scoreboard != none) scoreboards_[sender.scoreboard].advance(c.snd_una);
  const Scoreboard& scoreboard = board(sender);
  const uint32_t delivered = acked + scoreboard.sacked_bytes() - sacked_before;

  Duration rtt;
  if (acked > 0) {
    rtt = sample_rtt(c, segment);
    sender.progress_at = now_;
    c.probes = 0;
  }
  LossRecovery& recovery = sender.recovery;
  const RecoveryMode mode_before = recovery.mode();
  // RFC 5681 section 2: no payload, no new window, something outstanding. A peer that reports SACK
  // blocks for which there is no scoreboard is like one without SACK.
  const bool by_count =
      !c.sack_permitted || (sender.scoreboard == none && !options_.sack.empty() && !sack.dsack);
  const bool duplicate =
      by_count && acked == 0 && c.in_flight > 0 && segment.length() == 0 && !window_changed;
  const LossRecovery::Verdict verdict = recovery.on_ack(now_, flight(c),
                                                        {.una_before = una_before,
                                                         .delivered_bytes = delivered,
                                                         .duplicate = duplicate,
                                                         .dsack = sack.dsack,
                                                         .has_echo = c.timestamps,
                                                         .echo = segment.ts_echo},
                                                        scoreboard, sender.congestion);
  if (verdict.entered_recovery) counters_.add(Counter::tcp_fast_recoveries);
  if (verdict.spurious) counters_.add(Counter::tcp_spurious_recoveries);
  if (verdict.retransmission_lost) counters_.add(Counter::tcp_lost_retransmissions);
  if (verdict.probe_repaired) counters_.add(Counter::tcp_tail_probes_useful);

  // SACKed bytes count when they are acknowledged: RFC 3042 section 2, duplicate ACKs do not change
  // cwnd.
  if (acked > 0) {
    const bool limited = recovery.mode() != RecoveryMode::open || c.snd_una <= sender.limited_to;
    sender.congestion.on_ack(now_,
                             {.newly_acked_bytes = acked,
                              .rtt = rtt,
                              .cwnd_limited = limited,
                              .in_recovery = mode_before == RecoveryMode::fast},
                             {.snd_una = c.snd_una,
                              .snd_nxt = c.snd_nxt(),
                              .srtt = c.rtt.srtt(),
                              .min_rtt = c.rtt.min_rtt(),
                              .mode = recovery.mode()});
  }
  if (scoreboard.empty()) release_scoreboard(sender);
  if (acked > 0 || verdict.entered_recovery) arm_send_timer(c);
  if (acked > 0 && c.mss < c.mss_max) judge_path(c);
  if (acked > 0) release_acknowledged(index);
}

// RFC 2018 section 5, RFC 2883 section 5. `una` is what the same segment acknowledges.
Stack::SackNews Stack::read_sack(const Connection& c, Sender& sender, StreamOffset una) {
  SackNews news;
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
    if (range.end <= una) {
      if (is_first) {
        news.dsack = true;
      } else {
        counters_.add(Counter::tcp_sack_invalid);
      }
      continue;
    }
    if (range.begin <= una) {
      counters_.add(Counter::tcp_sack_invalid);
      continue;
    }
    if (sender.scoreboard == none) {
      sender.scoreboard = scoreboard_pool_.take();
      if (sender.scoreboard == none) {
        counters_.add(Counter::tcp_scoreboards_exhausted);
        return news;
      }
      scoreboards_[sender.scoreboard].clear();
    }
    if (scoreboards_[sender.scoreboard].add(range) > 0) news.any = true;
    // RFC 2883 section 4.2: the first block lies inside the second.
    if (is_first && options_.sack.size() > 1 &&
        SeqNumber(options_.sack[1].left) <= SeqNumber(block.left) &&
        SeqNumber(block.right) <= SeqNumber(options_.sack[1].right)) {
      news.dsack = true;
    }
  }
  return news;
}

// Returns 0 when there is no sample.
Duration Stack::sample_rtt(Connection& c, const Segment& segment) {
  Sender& sender = senders_[c.sender];
  Duration rtt;
  const Instant sent = sender.marks.take(c.snd_una);
  if (!sent.is_never()) {
    rtt = std::max(now_ - sent, Duration::from_us(1));
  } else if (!c.timestamps ||
             !rtt_from_timestamps({.now_ms = now_ms() + c.ts_offset, .echoed_ms = segment.ts_echo},
                                  rtt)) {
    return {};
  }
  // RFC 7323 appendix G, but there are never more samples than trains.
  const uint32_t expected = sender.congestion.cwnd() / std::max<uint32_t>(2u * c.mss, 1);
  c.rtt.add_sample(rtt, std::clamp<uint32_t>(expected, 1, 4));
  return rtt;
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
