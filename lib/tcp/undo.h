// Undo: was this recovery, or timeout, needless?
//
// Read first: RFC 3522 (Eifel detection by timestamps), RFC 3708 (by DSACK), RFC 4015 (what to do
// about it). Two witnesses: an ACK that echoes a timestamp older than the first retransmission
// answers the original; and a peer that reports every byte that was sent again as a duplicate had
// all the originals. A third, F-RTO, is in tcp/frto.h. Pure; a value inside a Sender.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/scoreboard.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

class Undo {
 public:
  /// A recovery begins, before anything was sent again.
  void begin(SeqNumber snd_una) {
    *this = Undo();
    armed_ = true;
    from_ = snd_una;
  }
  void end() { armed_ = false; }
  /// The recovery is over. DSACKs of its last retransmissions are still on their way: the verdict
  /// stays open until SND.UNA passes `until`.
  void linger(SeqNumber until) {
    echo_tells_ = false;
    lingering_ = true;
    until_ = until;
  }
  /// `clock_ms`: the timestamp that the segment carries.
  void on_retransmitted(uint32_t bytes, uint32_t clock_ms) {
    if (!armed_) return;
    if (again_bytes_ == 0 && !sent_again_) {
      clock_ms_ = clock_ms;
      sent_again_ = true;
      echo_tells_ = true;
    }
    again_bytes_ += bytes;
  }

  /// RFC 3522 section 3.2: the first ACK of something new after the first retransmission carries
  /// `echo_ms`. Returns: it answers the original. Only that first ACK can tell.
  [[nodiscard]] bool is_answer_to_original(uint32_t echo_ms) {
    if (!armed_ || !echo_tells_) return false;
    echo_tells_ = false;
    return static_cast<int32_t>(echo_ms - clock_ms_) < 0;
  }
  /// RFC 3708 section 3: the peer has received `twice` twice.
  void on_duplicate(Scoreboard::Span twice) {
    if (!armed_ || !sent_again_ || twice.begin < from_) return;
    again_bytes_ -= std::min(again_bytes_, twice.length());
  }
  /// And with it all that was sent again.
  [[nodiscard]] bool all_duplicate() const { return armed_ && sent_again_ && again_bytes_ == 0; }
  /// SND.UNA moved.
  void advance(SeqNumber snd_una) {
    if (lingering_ && snd_una > until_) armed_ = false;
  }
  /// Does anything here wait for an ACK?
  [[nodiscard]] bool armed() const { return armed_; }

 private:
  SeqNumber from_;
  SeqNumber until_;
  uint32_t again_bytes_ = 0;  // sent again and not reported as duplicate
  uint32_t clock_ms_ = 0;     // timestamp of the first retransmission
  bool armed_ = false;
  bool sent_again_ = false;
  bool echo_tells_ = false;
  bool lingering_ = false;
};

}  // namespace sluice::tcp
