#include "tcp/rack.h"

#include <algorithm>

namespace sluice::tcp {

void Rack::reset(SeqNumber snd_una, uint8_t memory) {
  *this = Rack();
  fack_ = snd_una;
  reordering_seen_ = memory != 0;
  multiplier_ = std::max<uint8_t>(memory, 1);
}

void Rack::on_delivered(const Delivery& delivery) {
  if (delivery.reordered) reordering_seen_ = true;
  if (delivery.highest > fack_) fack_ = delivery.highest;
  if (!delivery.any) return;
  if (rtt_us_ != 0 && !delivery.newest.after(latest_)) return;
  latest_ = delivery.newest;
  rtt_us_ = std::max(static_cast<uint32_t>(delivery.now_us) - delivery.newest.us, 1u);
}

// RACK_update_reo_wnd (), its first half.
void Rack::on_dsack(SeqNumber snd_una, SeqNumber snd_nxt) {
  if (in_dsack_round_ && snd_una >= dsack_round_) in_dsack_round_ = false;
  if (in_dsack_round_) return;
  in_dsack_round_ = true;
  dsack_round_ = snd_nxt;
  if (multiplier_ < UINT8_MAX) ++multiplier_;
  persist_ = persist_recoveries;
}

void Rack::on_recovery_end() {
  if (multiplier_ == 1) return;
  if (--persist_ > 0) return;
  multiplier_ = 1;
  persist_ = persist_recoveries;
}

// RACK_update_reo_wnd (), its second half.
uint32_t Rack::window_us(const Path& path) const {
  if (!reordering_seen_ && (path.in_recovery || path.many_sacked)) return 0;
  const uint64_t window = uint64_t{multiplier_} * path.min_rtt_us / 4;
  return static_cast<uint32_t>(std::min<uint64_t>(window, path.srtt_us));
}

Rack::Detected Rack::detect(SentRunPool& pool, Scoreboard& board, uint32_t now_us,
                            uint32_t window_us) const {
  Detected detected;
  if (rtt_us_ == 0) return detected;
  while (board.oldest() != IndexPool::none) {
    const uint32_t index = board.oldest();
    const SentRun& run = pool[index];
    if (!latest_.after({run.stamp.sent_us, run.end})) break;
    const auto remaining = static_cast<int32_t>(run.stamp.sent_us + rtt_us_ + window_us - now_us);
    if (remaining > 0) {
      // The others left later. The RFC waits for the last of them; here each has its own time.
      detected.timeout_us = static_cast<uint32_t>(remaining);
      break;
    }
    detected.lost_bytes += static_cast<uint32_t>(run.end - board.begin_of(pool, index));
    if (run.retransmitted) {
      detected.again = true;  // the last of them in time: the list is in that order
      detected.again_sent_us = run.stamp.sent_us;
    }
    board.mark_lost(pool, index);
  }
  return detected;
}

uint32_t Rack::mark_on_timeout(SentRunPool& pool, Scoreboard& board, uint32_t now_us,
                               uint32_t window_us) const {
  const uint32_t before = board.lost_bytes();
  const uint32_t first = board.first();
  if (first != IndexPool::none && pool[first].fate == SentRun::Fate::in_flight) {
    board.mark_lost(pool, first);
  }
  while (board.oldest() != IndexPool::none) {
    const SentRun& run = pool[board.oldest()];
    if (static_cast<int32_t>(run.stamp.sent_us + rtt_us_ + window_us - now_us) > 0) break;
    board.mark_lost(pool, board.oldest());
  }
  return board.lost_bytes() - before;
}

}  // namespace sluice::tcp
