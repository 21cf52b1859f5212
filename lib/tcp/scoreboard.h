// Scoreboard: what was sent and not acknowledged yet, and what is known of its fate.
//
// Read first: RFC 2018, RFC 8985 section 5.2 (what is kept of each segment), RFC 6675 section 2
// (pipe). Nothing is kept per segment here: a run stands for a train, is cut where the fate of its
// bytes begins to differ, and joined to its neighbours again where it does not any more:
//
//   SND.UNA                                                            SND.NXT
//   |  lost   | sacked  |  lost  |      sacked      |  in flight | in flight |
//   first                                                              last      by offset
//                                                   oldest          youngest     by time, in flight
//
// Invariants: the runs cover [SND.UNA, SND.NXT) without gaps or overlaps, none is empty; at most
// runs_max of them; no two neighbours are both sacked. Each byte is in flight, sacked or lost, and
// the counters say how many of each; so the pipe is a subtraction. Those in flight are also linked
// in the order they left, retransmissions last, which makes the search for what is overdue as short
// as what it finds (RFC 8985 section 6.2, step 5).
//
// A run that would have to be cut when none is to be had stays whole: a report is then used as far
// as it can be without the cut, and a train that leaves joins the one before it.
#pragma once

#include <cstdint>

#include "base/index_pool.h"
#include "tcp/delivery.h"
#include "tcp/reassembler.h"
#include "tcp/sent_runs.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

// RFC 6675 section 2, RFC 5681 section 2: DupThresh.
inline constexpr uint32_t dup_thresh = 3;

/// The low half of an offset: what runs are counted in. Two of one flight are never 2^31 apart.
[[nodiscard]] constexpr SeqNumber low_half(StreamOffset offset) {
  return wrap(SeqNumber(0), offset);
}
[[nodiscard]] constexpr StreamOffset whole_offset(SeqNumber low, StreamOffset near) {
  return unwrap(SeqNumber(0), low, near);
}

class Scoreboard {
 public:
  // A peer that reports every other segment of a large window gets no more of the pool than this,
  // and of our time no more than a walk over as many, per block.
  static constexpr uint32_t runs_max = 512;

  /// Requires: all runs were given back, or none was ever taken.
  void reset(SeqNumber snd_una) {
    *this = Scoreboard();
    una_ = snd_una;
  }
  void release(SentRunPool& pool);

  // Output.

  /// New bytes left: SND.NXT is `end` now. Returns: false when they had to join the run before.
  bool add(SentRunPool& pool, SeqNumber end, const SentStamp& stamp);
  /// [begin, end) left once more. Requires: within the flight; lost, or in flight (a tail probe).
  /// Returns: false when more than that had to be noted as sent again.
  struct Span {
    SeqNumber begin;
    SeqNumber end;
    [[nodiscard]] bool empty() const { return begin == end; }
    [[nodiscard]] uint32_t length() const { return static_cast<uint32_t>(end - begin); }
  };
  bool add_again(SentRunPool& pool, Span again, const SentStamp& stamp);

  // Input.

  /// SND.UNA is `una` now.
  void acknowledge(SentRunPool& pool, SeqNumber una, Delivery& delivery);
  /// The peer has `block`. Requires: above SND.UNA, not beyond SND.NXT.
  void sack(SentRunPool& pool, Span block, Delivery& delivery);
  /// RFC 2018 section 8: what was reported may have been thrown away. It counts as lost.
  void forget_sacks(SentRunPool& pool);

  // Verdicts.

  /// The run that left first of those in flight: where to look for what is overdue.
  [[nodiscard]] uint32_t oldest() const { return oldest_; }
  /// Requires: in flight. `index` is dead afterwards.
  void mark_lost(SentRunPool& pool, uint32_t index);
  /// The first `bytes` of the flight, if they are in flight (RFC 6582: for peers without SACK).
  void mark_first_lost(SentRunPool& pool, uint32_t bytes);
  void mark_all_lost(SentRunPool& pool);
  /// Nothing of what counts as lost was: it is in flight still.
  void unmark_lost(SentRunPool& pool);

  /// The first run of lost bytes; empty when there are none.
  [[nodiscard]] Span next_lost(const SentRunPool& pool);
  [[nodiscard]] SeqNumber begin_of(const SentRunPool& pool, uint32_t index) const {
    const uint32_t before = pool[index].previous;
    return before == none ? una_ : pool[before].end;
  }

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] uint32_t count() const { return count_; }
  [[nodiscard]] uint32_t first() const { return first_; }
  [[nodiscard]] SeqNumber una() const { return una_; }
  [[nodiscard]] uint32_t sacked_bytes() const { return sacked_bytes_; }
  [[nodiscard]] uint32_t sacked_runs() const { return sacked_runs_; }
  [[nodiscard]] uint32_t lost_bytes() const { return lost_bytes_; }
  /// Bytes in flight that were sent more than once.
  [[nodiscard]] uint32_t retransmitted_bytes() const { return retransmitted_bytes_; }
  /// The peer acknowledges less than it had reported: RFC 2018 section 8.
  [[nodiscard]] bool reneged(const SentRunPool& pool) const {
    return first_ != none && pool[first_].fate == SentRun::Fate::sacked;
  }
  /// RFC 8985 section 6.2, step 4: RACK.segs_sacked >= DupThresh, counted as RFC 6675's IsLost ().
  [[nodiscard]] bool many_sacked(uint32_t mss) const {
    return sacked_runs_ >= dup_thresh || sacked_bytes_ > uint64_t{dup_thresh - 1} * mss;
  }

 private:
  static constexpr uint32_t none = IndexPool::none;
  using Fate = SentRun::Fate;

  [[nodiscard]] uint32_t length_of(const SentRunPool& pool, uint32_t index) const {
    return static_cast<uint32_t>(pool[index].end - begin_of(pool, index));
  }
  [[nodiscard]] bool may_grow() const { return count_ < runs_max; }
  [[nodiscard]] bool split(SentRunPool& pool, uint32_t index, SeqNumber at);
  void remove(SentRunPool& pool, uint32_t index);
  void join_previous(SentRunPool& pool, uint32_t index);
  [[nodiscard]] uint32_t find(const SentRunPool& pool, SeqNumber at, Delivery& delivery) const;
  [[nodiscard]] uint32_t sack_part(SentRunPool& pool, uint32_t index, Span part,
                                   Delivery& delivery);
  void take_out(SentRunPool& pool, uint32_t index, uint32_t bytes);
  void send_whole_again(SentRunPool& pool, uint32_t index, const SentStamp& stamp);

  void timeline_add(SentRunPool& pool, uint32_t index, uint32_t after);
  void timeline_remove(SentRunPool& pool, uint32_t index);

  SeqNumber una_;
  uint32_t first_ = none;
  uint32_t last_ = none;
  uint32_t oldest_ = none;
  uint32_t youngest_ = none;
  uint32_t lost_hint_ = none;  // no lost run comes before this one
  uint32_t sack_hint_ = none;  // where the last report was found
  uint32_t sacked_bytes_ = 0;
  uint32_t lost_bytes_ = 0;
  uint32_t retransmitted_bytes_ = 0;
  uint16_t count_ = 0;
  uint16_t sacked_runs_ = 0;
};

}  // namespace sluice::tcp
