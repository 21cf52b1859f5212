// Sender: the part of a connection that exists only while something is unacknowledged. Taken from a
// pool with the first queued byte, given back when the last one is acknowledged.
#pragma once

#include <array>
#include <cstdint>

#include "base/index_pool.h"
#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/loss_recovery.h"
#include "tcp/path_search.h"
#include "tcp/send_queue.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// When the ends of recent trains were sent: a round-trip sample for the ACK of each. More exact
/// than timestamps of a millisecond.
///
/// Karn's rule (RFC 6298 section 3): a retransmission forgets all of them.
class FlightMarks {
 public:
  void clear() { count_ = 0; }
  /// Not kept when all places are taken: the next train gives a sample as good.
  void add(StreamOffset end, Instant now) {
    if (count_ == marks_max) return;
    marks_[(first_ + count_) % marks_max] = {static_cast<uint32_t>(end.value()), now};
    ++count_;
  }
  /// Takes out all marks up to `una`. Returns: when the last of them was sent; never() if none.
  [[nodiscard]] Instant take(StreamOffset una) {
    Instant sent = Instant::never();
    const auto low = static_cast<uint32_t>(una.value());
    while (count_ > 0 && static_cast<int32_t>(low - marks_[first_].end) >= 0) {
      sent = marks_[first_].sent;
      first_ = static_cast<uint8_t>((first_ + 1) % marks_max);
      --count_;
    }
    return sent;
  }

 private:
  static constexpr uint8_t marks_max = 8;
  struct Mark {
    uint32_t end = 0;  // low half of a StreamOffset
    Instant sent;
  };
  std::array<Mark, marks_max> marks_;
  uint8_t first_ = 0;
  uint8_t count_ = 0;
};

struct Sender {
  SendQueue queue;
  CongestionControl congestion;
  LossRecovery recovery;
  FlightMarks marks;
  uint32_t connection = IndexPool::none;  // whose it is
  uint32_t scoreboard = IndexPool::none;
  uint32_t window_max = 0;  // the largest window the peer has offered: RFC 9293, 3.8.6.2.1
  StreamOffset limited_to;  // SND.NXT when cwnd was last the limit (RFC 7661 section 4.3)
  Instant progress_at;      // SND.UNA moved, or the first byte was sent: for the user timeout
  PathSearch path;
  bool probe_due = false;     // tail loss probe
  bool override_due = false;  // the persist timer fired: send into a window however small
};

}  // namespace sluice::tcp
