#include "tcp/loss_recovery.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

// Without SACK a peer tells by duplicate ACKs; more of them than this tell nothing new.
constexpr uint8_t duplicates_max = 255;
// RFC 5682 section 3.1, step 2b: up to two new segments.
constexpr uint32_t frto_segments = 2;

uint64_t whole_us(Instant now) {
  return static_cast<uint64_t>(now.ns()) / 1000;
}

uint32_t low_us(Instant now) {
  return static_cast<uint32_t>(whole_us(now));
}

uint32_t us32(Duration d) {
  return static_cast<uint32_t>(std::clamp<int64_t>(d.us(), 0, INT32_MAX));
}

}  // namespace

void LossRecovery::reset(StreamOffset snd_nxt, uint8_t path_memory) {
  *this = LossRecovery();
  board_.reset(low_half(snd_nxt));
  rack_.reset(low_half(snd_nxt), path_memory);
  recovery_point_ = low_half(snd_nxt);
}

void LossRecovery::release(RecoveryPools& pools) {
  end_episode(pools);
  board_.release(pools.runs);
}

// Episodes.

// Returns: null when there is none to be had. The window that is kept in one at hand stays: what
// begins may go on from a timeout, and is undone with it.
RecoveryEpisode* LossRecovery::begin_episode(RecoveryPools& pools, SeqNumber una) {
  if (episode_ == IndexPool::none) {
    episode_ = pools.episode_pool.take();
    if (episode_ == IndexPool::none) return nullptr;
    pools.episodes[episode_] = RecoveryEpisode();
  }
  RecoveryEpisode* at = episode(pools);
  at->prr = Prr();
  at->undo.begin(una);
  return at;
}

void LossRecovery::end_episode(RecoveryPools& pools) {
  if (episode_ == IndexPool::none) return;
  pools.episode_pool.give_back(episode_);
  episode_ = IndexPool::none;
}

void LossRecovery::undo_window(RecoveryPools& pools, Instant now, CongestionControl& congestion) {
  const RecoveryEpisode* at = episode(pools);
  congestion.on_undo(now, at == nullptr ? nullptr : &at->window);
}

// Output.

bool LossRecovery::on_sent(RecoveryPools& pools, Instant now, const Flight& flight,
                           const Sent& sent) {
  const auto length = static_cast<uint32_t>(sent.range.end - sent.range.begin);
  const uint32_t after = pipe(flight);
  bool exact = true;
  if (sent.again) {
    const SentStamp stamp = rate_.on_sent(low_us(now), after, length);
    exact =
        board_.add_again(pools.runs, {low_half(sent.range.begin), low_half(sent.range.end)}, stamp);
    if (RecoveryEpisode* at = episode(pools); at != nullptr && !sent.probe) {
      at->undo.on_retransmitted(length, sent.clock_ms);
    }
  } else {
    const SentStamp stamp = rate_.on_sent(low_us(now), after - std::min(after, length), length);
    exact = board_.add(pools.runs, low_half(sent.range.end), stamp);
    only_new_room_ -= static_cast<uint16_t>(std::min<uint32_t>(only_new_room_, length));
  }
  first_due_ = false;
  if (mode_ == RecoveryMode::fast) {
    if (RecoveryEpisode* at = episode(pools); at != nullptr) at->prr.on_sent(length);
  }
  if (sent.probe) probe_.on_sent(low_half(sent.range.end), sent.again);
  return exact;
}

uint32_t LossRecovery::pipe(const Flight& flight) const {
  const uint32_t gone =
      board_.sacked_bytes() + board_.lost_bytes() + uint32_t{duplicates_} * flight.mss;
  return flight.bytes() - std::min(flight.bytes(), gone);
}

uint32_t LossRecovery::room(const RecoveryPools& pools, const Flight& flight,
                            const CongestionControl& congestion) const {
  if (only_new_) return only_new_room_;
  if (mode_ == RecoveryMode::fast && congestion.uses_prr() && episode_ != IndexPool::none) {
    return pools.episodes[episode_].prr.allowance();
  }
  const uint32_t used = pipe(flight);
  const uint32_t room = congestion.cwnd() > used ? congestion.cwnd() - used : 0;
  return first_due_ ? std::max<uint32_t>(room, flight.mss) : room;
}

StreamRange LossRecovery::next_retransmission(const SentRunPool& pool, const Flight& flight) {
  if (mode_ == RecoveryMode::open || only_new_) return {};
  const Scoreboard::Span lost = board_.next_lost(pool);
  if (lost.empty()) return {};
  return {whole_offset(lost.begin, flight.una), whole_offset(lost.end, flight.una)};
}

// Entering and leaving.

// RFC 9937. The first retransmission goes out at once, whatever the share, and without an episode
// too.
void LossRecovery::begin_prr(RecoveryPools& pools, const Prr::Begin& begin, uint16_t mss) {
  RecoveryEpisode* at = episode(pools);
  if (at == nullptr) {
    first_due_ = true;
    return;
  }
  at->prr.begin(begin);
  at->prr.allow(mss);
}

void LossRecovery::enter_fast(RecoveryPools& pools, Instant now, const Flight& flight,
                              const Prr::Begin& begin, CongestionControl& congestion) {
  mode_ = RecoveryMode::fast;
  recovery_point_ = low_half(flight.nxt);
  reduced_us_ = low_us(now);
  frto_.end();
  probe_.end();
  RecoveryEpisode* at = begin_episode(pools, low_half(flight.una));
  congestion.on_loss_event(now, flight.bytes(), at == nullptr ? nullptr : &at->window);
  begin_prr(pools, begin, flight.mss);
}

void LossRecovery::leave(RecoveryPools& pools, Instant now, const Flight& flight,
                         CongestionControl& congestion) {
  congestion.on_recovery_end(now);
  mode_ = RecoveryMode::open;
  duplicates_ = 0;
  first_due_ = only_new_ = false;
  frto_.end();
  rack_.on_recovery_end();
  if (RecoveryEpisode* at = episode(pools); at != nullptr) at->undo.linger(low_half(flight.nxt));
}

void LossRecovery::on_rto(RecoveryPools& pools, Instant now, const Flight& flight, Timeout timeout,
                          CongestionControl& congestion) {
  SentRunPool& pool = pools.runs;
  const bool fresh = mode_ == RecoveryMode::open;
  RecoveryEpisode* at = fresh ? begin_episode(pools, low_half(flight.una)) : episode(pools);
  // RFC 5682 section 3.1 step 1: not when the segment has timed out before.
  if (flight.sack && timeout.first && fresh) {
    frto_.begin();
  } else {
    frto_.end();
  }
  congestion.on_rto(now, {.first = timeout.first, .in_flight_bytes = flight.bytes()},
                    at == nullptr ? nullptr : &at->window);
  // RFC 2018 section 8: the peer may have dropped what it reported. Believed once, not twice.
  if (!timeout.first || board_.reneged(pool)) board_.forget_sacks(pool);
  const uint32_t before = board_.lost_bytes();
  if (flight.sack) {
    rack_.mark_on_timeout(pool, board_, low_us(now), rack_window_us(flight));
  } else {
    board_.mark_all_lost(pool);
  }
  rate_.on_lost(board_.lost_bytes() - before);
  mode_ = RecoveryMode::rto;
  duplicates_ = 0;
  probe_.end();
  recovery_point_ = low_half(flight.nxt);
  reduced_us_ = low_us(now);
  reordering_us_ = 0;
  first_due_ = true;
  only_new_ = false;
}

void LossRecovery::on_mtu_reduced(RecoveryPools& pools, const Flight& flight) {
  mode_ = RecoveryMode::rto;  // window growth goes on, from the window there is
  end_episode(pools);
  frto_.end();
  probe_.end();
  board_.mark_all_lost(pools.runs);
  duplicates_ = 0;
  recovery_point_ = low_half(flight.nxt);
  reordering_us_ = 0;
  first_due_ = true;
  only_new_ = false;
}

bool LossRecovery::on_reordering_timeout(RecoveryPools& pools, Instant now, const Flight& flight,
                                         CongestionControl& congestion) {
  const Rack::Detected detected =
      rack_.detect(pools.runs, board_, low_us(now), rack_window_us(flight));
  reordering_us_ = detected.timeout_us;
  rate_.on_lost(detected.lost_bytes);
  if (detected.lost_bytes == 0) return false;
  if (mode_ != RecoveryMode::open) {
    RecoveryEpisode* at = episode(pools);
    if (at != nullptr && pipe(flight) == 0) {
      at->prr.allow(flight.mss);  // no ACK will come that could clock it out
    }
    return false;
  }
  enter_fast(pools, now, flight,
             {.flight_bytes = flight.bytes(), .sacked_before = board_.sacked_bytes()}, congestion);
  return true;
}

// Input.

uint32_t LossRecovery::rack_window_us(const Flight& flight) const {
  return rack_.window_us({.srtt_us = us32(flight.srtt),
                          .min_rtt_us = us32(flight.min_rtt),
                          .in_recovery = mode_ != RecoveryMode::open,
                          .many_sacked = board_.many_sacked(flight.mss)});
}

// RFC 6582 for peers without SACK: each duplicate ACK is a segment that has left the network, and a
// partial ACK shows the next one lost.
void LossRecovery::count_duplicate(SentRunPool& pool, const Flight& flight, const Ack& ack) {
  if (ack.duplicate) {
    if (duplicates_ < duplicates_max) ++duplicates_;
  } else if (flight.una > ack.una_before) {
    const uint64_t segments = (flight.una - ack.una_before) / std::max<uint16_t>(flight.mss, 1);
    const uint64_t explained = segments > 0 ? segments - 1 : 0;
    duplicates_ = static_cast<uint8_t>(duplicates_ - std::min<uint64_t>(duplicates_, explained));
    if (mode_ == RecoveryMode::open) duplicates_ = 0;
    const uint32_t first = board_.first();
    if (mode_ == RecoveryMode::fast && first != IndexPool::none && !pool[first].retransmitted) {
      board_.mark_first_lost(pool, flight.mss);
    }
  }
  // RFC 6582 section 3.2 step 2: duplicate ACKs below `recover` stem from our own retransmissions.
  if (mode_ == RecoveryMode::open && duplicates_ >= dup_thresh &&
      low_half(flight.una) >= recovery_point_) {
    board_.mark_first_lost(pool, flight.mss);
  }
}

// Was what is being repaired, or was repaired just now, lost at all?
void LossRecovery::judge_need(RecoveryPools& pools, Instant now, const Flight& flight,
                              const Ack& ack, const Delivery& delivery,
                              CongestionControl& congestion, Verdict& verdict) {
  RecoveryEpisode* at = episode(pools);
  Undo none;
  Undo& undo = at == nullptr ? none : at->undo;
  const bool advanced = flight.una > ack.una_before;
  const bool recovered = low_half(flight.una) >= recovery_point_;
  if (!ack.twice.empty()) {
    if (dsacks_ < UINT16_MAX) ++dsacks_;
    if (!probe_.is_of_probe(low_half(ack.twice.end))) {
      rack_.on_dsack(low_half(flight.una), low_half(flight.nxt));
    }
    // RFC 3708 section 3 (A.1): what the timer sent again had arrived, and not a word of it had
    // come back: perhaps all ACKs were lost.
    const bool reports = board_.sacked_bytes() + delivery.sacked_bytes > 0;
    if (mode_ == RecoveryMode::rto && !reports && ack.twice.begin == ack.una_before) undo.end();
    undo.on_duplicate({low_half(ack.twice.begin), low_half(ack.twice.end)});
  }
  bool originals = advanced && ack.has_echo && undo.is_answer_to_original(ack.echo_ms);
  // RFC 3522 section 3.2, step 5. A DSACK: the retransmission was needless for want of ACKs. All
  // acknowledged, by a peer not known to send DSACKs: the same may be so.
  if (!ack.twice.empty() || (dsacks_ == 0 && flight.bytes() == 0)) originals = false;
  only_new_ = false;
  if (mode_ == RecoveryMode::rto) {
    const Frto::Verdict frto = frto_.on_ack({.advanced = advanced,
                                             .original = delivery.original,
                                             .recovered = recovered,
                                             .sacked = delivery.sacked_bytes > 0,
                                             .may_send_new = ack.may_send_new});
    verdict.spurious_timeout = frto == Frto::Verdict::spurious;
    originals = originals || verdict.spurious_timeout;
    only_new_ = frto == Frto::Verdict::probe;
    only_new_room_ = static_cast<uint16_t>(std::min(frto_segments * flight.mss, 0xffffu));
  }
  // A peer that has everything twice has said so of what was sent again, not of what waits for it.
  const bool twice = undo.all_duplicate() && (mode_ == RecoveryMode::open || recovered);
  if (originals || twice) {
    verdict.spurious = true;
    // RFC 4015 section 3.4: with an echo of congestion the window MUST stay as it is.
    if (!ack.ece) undo_window(pools, now, congestion);
    if (originals) board_.unmark_lost(pools.runs);
    if (mode_ != RecoveryMode::rto) rack_.note_reordering();
    if (mode_ != RecoveryMode::open) leave(pools, now, flight, congestion);
    undo.end();
  } else if (mode_ != RecoveryMode::open && recovered && advanced) {
    leave(pools, now, flight, congestion);
  }
  if (advanced) undo.advance(low_half(flight.una));
}

void LossRecovery::find_losses(RecoveryPools& pools, Instant now, const Flight& flight,
                               const Ack& ack, CongestionControl& congestion, Verdict& verdict,
                               const Prr::Begin& begin) {
  const uint32_t lost_before = board_.lost_bytes();
  Rack::Detected detected;
  if (flight.sack) {
    detected = rack_.detect(pools.runs, board_, low_us(now), rack_window_us(flight));
    reordering_us_ = detected.timeout_us;
  } else {
    count_duplicate(pools.runs, flight, ack);
  }
  verdict.found_lost_bytes = board_.lost_bytes() - lost_before;
  rate_.on_lost(verdict.found_lost_bytes);
  verdict.retransmission_lost = detected.again;
  // RFC 5681 section 4.3: the loss of a retransmission is a second indication of congestion, if it
  // left after the window was reduced for the first.
  const bool second =
      detected.again && static_cast<int32_t>(detected.again_sent_us - reduced_us_) >= 0;
  if (mode_ == RecoveryMode::open ? board_.lost_bytes() > 0
                                  : second && mode_ == RecoveryMode::rto) {
    enter_fast(pools, now, flight, begin, congestion);
    verdict.entered_recovery = true;
  } else if (second && mode_ == RecoveryMode::fast) {
    congestion.on_loss_event(now, flight.bytes());
    reduced_us_ = low_us(now);
    recovery_point_ = low_half(flight.nxt);
    begin_prr(pools, begin, flight.mss);
  }
}

bool LossRecovery::is_quiet(const Ack& ack) const {
  return mode_ == RecoveryMode::open && board_.sacked_bytes() == 0 && board_.lost_bytes() == 0 &&
         duplicates_ == 0 && !ack.duplicate && ack.twice.empty() && !probe_.outstanding() &&
         episode_ == IndexPool::none;
}

void LossRecovery::judge(RecoveryPools& pools, Instant now, const Flight& flight, const Ack& ack,
                         const Delivery& delivery, CongestionControl& congestion,
                         Verdict& verdict) {
  const bool advanced = flight.una > ack.una_before;
  judge_need(pools, now, flight, ack, delivery, congestion, verdict);
  if (probe_.on_ack(
          {.una = low_half(flight.una), .dsack = !ack.twice.empty(), .duplicate = ack.duplicate})) {
    congestion.on_loss_event(now, verdict.sample.prior_in_flight_bytes);
    if (mode_ == RecoveryMode::open) congestion.on_recovery_end(now);
    if (RecoveryEpisode* at = episode(pools); at != nullptr) at->undo.end();
    verdict.probe_repaired = true;
  }
  const Prr::Begin begin{.flight_bytes = flight.bytes(),
                         .sacked_before = board_.sacked_bytes() - delivery.sacked_bytes,
                         .acked_now = delivery.bytes - delivery.sacked_bytes};
  find_losses(pools, now, flight, ack, congestion, verdict, begin);
  RecoveryEpisode* at = episode(pools);
  if (at == nullptr) return;
  if (mode_ == RecoveryMode::open && !at->undo.armed()) end_episode(pools);
  if (mode_ != RecoveryMode::fast) return;
  const bool counted = ack.duplicate && !flight.sack;
  at->prr.on_ack({.delivered_bytes = counted ? flight.mss : delivery.bytes,
                  .in_flight_bytes = pipe(flight),
                  .ssthresh_bytes = congestion.ssthresh(),
                  .mss = flight.mss,
                  .safe = advanced && verdict.found_lost_bytes == 0});
}

LossRecovery::Verdict LossRecovery::on_ack(RecoveryPools& pools, Instant now, const Flight& flight,
                                           const Ack& ack, CongestionControl& congestion) {
  Verdict verdict;
  Delivery delivery{.now_us = whole_us(now),
                    .min_rtt_us = us32(flight.min_rtt),
                    .has_echo = ack.has_echo,
                    .echo_ms = ack.echo_ms,
                    .fack = rack_.fack(),
                    .point = recovery_point_};
  RateSample& sample = verdict.sample;
  const bool fast = mode_ == RecoveryMode::fast;
  sample.prior_in_flight_bytes =
      pipe({.una = ack.una_before, .nxt = flight.nxt, .mss = flight.mss});
  board_.acknowledge(pools.runs, low_half(flight.una), delivery);
  for (const StreamRange& block : ack.sacked) {
    board_.sack(pools.runs, {low_half(block.begin), low_half(block.end)}, delivery);
  }
  if (delivery.bytes > 0) {
    const bool seen = rack_.reordering_seen();
    rack_.on_delivered(delivery);
    verdict.reordering = !seen && rack_.reordering_seen();
    rate_.on_delivered(low_us(now), delivery.bytes);
  }
  reordering_us_ = 0;
  if (!is_quiet(ack)) judge(pools, now, flight, ack, delivery, congestion, verdict);
  verdict.refused = delivery.refused;
  verdict.steps = delivery.steps;

  sample.newly_acked_bytes = delivery.bytes;
  sample.in_flight_bytes = pipe(flight);
  sample.in_recovery = fast || mode_ == RecoveryMode::fast;
  if (delivery.any && !delivery.newest_retransmitted) {
    sample.rtt = Duration::from_us(std::max(low_us(now) - delivery.newest.us, 1u));
  }
  rate_.sample(low_us(now), delivery.any ? &delivery.stamp : nullptr, delivery.min_rtt_us, sample);
  return verdict;
}

}  // namespace sluice::tcp
