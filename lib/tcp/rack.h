// Rack: what has been overtaken for too long is lost.
//
// Read first: RFC 8985 section 6. Of all that was delivered, the run sent last tells how far the
// network has got; what left before it and has not arrived within one round trip and a reordering
// window is lost, originals and retransmissions alike. The window is nothing until reordering has
// been seen, and grows with each round in which the peer reports needless retransmissions.
//
// Pure; a value inside a Sender. Times in microseconds, the clock's low half.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/delivery.h"
#include "tcp/scoreboard.h"
#include "tcp/sent_runs.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

class Rack {
 public:
  // RFC 8985 section 6.2, step 4: the window is reset after so many recoveries without a DSACK.
  static constexpr uint8_t persist_recoveries = 16;

  /// What is kept of the path between one sender and the next of a connection: 0, or the window's
  /// multiplier of a path that reorders, up to memory_max.
  [[nodiscard]] uint8_t memory() const {
    return reordering_seen_ ? std::min(multiplier_, memory_max) : uint8_t{0};
  }
  static constexpr uint8_t memory_max = 31;
  void reset(SeqNumber snd_una, uint8_t memory);

  /// Steps 1 to 3. Requires: delivery.bytes > 0.
  void on_delivered(const Delivery& delivery);

  /// Step 4: a DSACK came that no tail probe explains, or a recovery is over.
  void on_dsack(SeqNumber snd_una, SeqNumber snd_nxt);
  void on_recovery_end();

  /// What the window depends on. Units: microseconds.
  struct Path {
    uint32_t srtt_us = 0;
    uint32_t min_rtt_us = 0;
    bool in_recovery = false;
    bool many_sacked = false;  // Scoreboard::many_sacked()
  };
  [[nodiscard]] uint32_t window_us(const Path& path) const;

  /// Step 5: marks what is lost. O(what it marks).
  struct Detected {
    uint32_t lost_bytes = 0;
    bool again = false;          // a retransmission was among it,
    uint32_t again_sent_us = 0;  // the latest of those having left then
    uint32_t timeout_us = 0;     // from now until the next one is overdue; 0: none is waited for
  };
  Detected detect(SentRunPool& pool, Scoreboard& board, uint32_t now_us, uint32_t window_us) const;
  /// The retransmission timer expired: the first run is lost, and what is overdue.
  /// Source: section 6.3. Returns: bytes marked.
  uint32_t mark_on_timeout(SentRunPool& pool, Scoreboard& board, uint32_t now_us,
                           uint32_t window_us) const;

  /// A recovery proved needless: something was overtaken.
  void note_reordering() { reordering_seen_ = true; }

  [[nodiscard]] SeqNumber fack() const { return fack_; }
  [[nodiscard]] bool reordering_seen() const { return reordering_seen_; }
  [[nodiscard]] uint8_t multiplier() const { return multiplier_; }

 private:
  SentAt latest_;          // RACK.xmit_ts and RACK.end_seq
  uint32_t rtt_us_ = 0;    // RACK.rtt; 0: nothing was delivered yet
  SeqNumber fack_;         // RACK.fack
  SeqNumber dsack_round_;  // with in_dsack_round_
  uint8_t multiplier_ = 1;
  uint8_t persist_ = persist_recoveries;
  bool in_dsack_round_ = false;
  bool reordering_seen_ = false;
};

}  // namespace sluice::tcp
