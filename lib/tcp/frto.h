// Frto: was the retransmission timeout needless? For peers with SACK, without timestamps too.
//
// Read first: RFC 5682 section 3.1 (the SACK-enhanced algorithm). After a timeout one segment is
// sent again. If then something arrives that was never sent again, the originals were only late. As
// long as that is open, new data is sent instead of more retransmissions: what the peer says of it
// decides. Pure; a value inside a Sender.
#pragma once

#include <cstdint>

namespace sluice::tcp {

class Frto {
 public:
  void begin() { step_ = Step::wait_for_first; }
  void end() { step_ = Step::off; }
  [[nodiscard]] bool active() const { return step_ != Step::off; }

  enum class Verdict : uint8_t {
    open,      // nothing can be said yet, or nothing is asked
    spurious,  // the timeout was needless
    probe,     // new data is to be sent instead of a retransmission
  };
  struct Ack {
    bool advanced = false;      // SND.UNA moved
    bool original = false;      // it delivered something below the recovery point never sent again
    bool recovered = false;     // all that was in flight at the timeout has arrived
    bool sacked = false;        // it reported something by SACK
    bool may_send_new = false;  // there is new data, and a window for it
  };
  [[nodiscard]] Verdict on_ack(const Ack& ack) {
    if (step_ == Step::off) return Verdict::open;
    // Step 2a: all is acknowledged, by the retransmission as far as anybody knows; or only the ACKs
    // were lost, which is congestion, too (RFC 3522 section 3.3).
    if (ack.recovered) {
      step_ = Step::off;
      return Verdict::open;
    }
    // Step 3b, and as well before anything new was sent, as Linux: that byte was sent once.
    if (ack.original) {
      step_ = Step::off;
      return Verdict::spurious;
    }
    if (step_ == Step::wait_for_first) {
      if (!ack.advanced) return Verdict::open;  // a duplicate from before
      // Step 2b, or there is nothing to try it with.
      step_ = ack.may_send_new ? Step::wait_for_second : Step::off;
      return ack.may_send_new ? Verdict::probe : Verdict::open;
    }
    // Step 3a: what was sent after the timeout overtook what was sent before: that is lost.
    if (ack.sacked || ack.advanced) step_ = Step::off;
    return Verdict::open;
  }

 private:
  enum class Step : uint8_t { off, wait_for_first, wait_for_second };
  Step step_ = Step::off;
};

}  // namespace sluice::tcp
