// Delivery: what one ACK delivered, each byte once, by cumulative or selective acknowledgement.
//
// Read first: RFC 8985 section 6.2, steps 1 to 3. The scoreboard tells it of each run, or part of a
// run, that was not known to have arrived; it keeps what loss detection, rate sampling and the
// detection of needless retransmissions ask for afterwards.
#pragma once

#include <cstdint>

#include "tcp/rate_sample.h"
#include "tcp/sent_runs.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// RFC 8985 section 6.2, RACK_sent_after (): in one train all have one time, and the order of the
/// stream decides.
struct SentAt {
  uint32_t us = 0;
  SeqNumber end;
  [[nodiscard]] bool after(const SentAt& other) const {
    const auto distance = static_cast<int32_t>(us - other.us);
    return distance > 0 || (distance == 0 && end > other.end);
  }
};

struct Delivery {
  // What the ACK, and the connection before it, say.
  uint64_t now_us = 0;      // of the whole clock
  uint32_t min_rtt_us = 0;  // 0: not known
  bool has_echo = false;
  uint32_t echo_ms = 0;  // TSecr on our clock, the flow's offset taken off
  SeqNumber fack;        // RACK.fack before this ACK: the highest end delivered
  SeqNumber point;       // the recovery point: SND.NXT when recovery began

  // What it delivered.
  uint32_t bytes = 0;
  uint32_t sacked_bytes = 0;          // of those, by selective acknowledgement
  bool original = false;              // something never retransmitted, all of it below `point`
  bool reordered = false;             // something never retransmitted, all of it below `fack`
  bool any = false;                   // the next four are set
  bool newest_retransmitted = false;  // then a round trip cannot be told from it
  SentAt newest{};                    // the run sent last
  SentStamp stamp{};                  // of that run
  SeqNumber highest{};                // the highest end delivered; with bytes > 0
  // For the counters and the proof of a bound.
  uint32_t refused = 0;  // splits that were refused for want of runs
  uint32_t steps = 0;    // runs looked at

  /// [.., end) of `run` has arrived.
  void note(const SentRun& run, SeqNumber end, uint32_t count, bool by_sack) {
    if (bytes == 0 || end > highest) highest = end;
    bytes += count;
    if (by_sack) sacked_bytes += count;
    if (!run.retransmitted) {
      if (end < fack) reordered = true;
      if (end <= point) original = true;
    }
    if (run.inexact || (run.joined && end != run.end)) return;
    const SentAt at{run.stamp.sent_us, end};
    if (any && !at.after(newest)) return;
    if (run.retransmitted && is_ambiguous(run.stamp.sent_us)) return;
    any = true;
    newest = at;
    newest_retransmitted = run.retransmitted;
    stamp = run.stamp;
  }

 private:
  // RFC 8985 section 6.2, step 2: may the original transmission have been acknowledged?
  [[nodiscard]] bool is_ambiguous(uint32_t sent_us) const {
    const uint32_t age_us = static_cast<uint32_t>(now_us) - sent_us;
    if (age_us < min_rtt_us) return true;
    if (!has_echo) return false;
    const auto sent_ms = static_cast<uint32_t>((now_us - age_us) / 1000);
    return static_cast<int32_t>(echo_ms - sent_ms) < 0;
  }
};

}  // namespace sluice::tcp
