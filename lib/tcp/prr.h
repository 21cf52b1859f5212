// Prr: how much may leave in fast recovery, so that the flight comes down to ssthresh by its end.
//
// Read first: RFC 9937 (which obsoletes RFC 6937), section 6. What leaves is a share of what the
// peer reports as delivered; once the flight is below ssthresh it is rebuilt, quickly only while
// recovery goes well. Pure; a value inside a Sender. Units: bytes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp {

class Prr {
 public:
  /// Recovery begins. `flight_bytes`: SND.NXT - SND.UNA after the ACK that began it;
  /// `sacked_before`: of those, SACKed before that ACK; `acked_now`: by it, cumulatively.
  struct Begin {
    uint32_t flight_bytes = 0;
    uint32_t sacked_before = 0;
    uint32_t acked_now = 0;
  };
  void begin(const Begin& at) {
    *this = Prr();
    const uint32_t unsacked = at.flight_bytes - std::min(at.flight_bytes, at.sacked_before);
    recover_fs_ = std::max(unsacked + at.acked_now, 1u);
  }
  struct Ack {
    uint32_t delivered_bytes = 0;
    uint32_t in_flight_bytes = 0;  // the pipe after the ACK
    uint32_t ssthresh_bytes = 0;
    uint16_t mss = 0;
    bool safe = false;  // SND.UNA advanced, and nothing more was found lost
  };
  void on_ack(const Ack& ack) {
    if (ack.delivered_bytes == 0) return;  // such an ACK clocks out nothing
    delivered_ += ack.delivered_bytes;
    uint64_t send = 0;
    if (ack.in_flight_bytes > ack.ssthresh_bytes) {
      const uint64_t target =
          (uint64_t{delivered_} * ack.ssthresh_bytes + recover_fs_ - 1) / recover_fs_;
      send = target > out_ ? target - out_ : 0;
    } else {
      const uint32_t ahead = delivered_ > out_ ? delivered_ - out_ : 0;
      send = std::max(ahead, ack.delivered_bytes);
      if (ack.safe) send += ack.mss;
      send = std::min<uint64_t>(send, ack.ssthresh_bytes - ack.in_flight_bytes);
    }
    // A first retransmission leaves at once, whatever the share.
    if (out_ == 0) send = std::max<uint64_t>(send, ack.mss);
    allowance_ = static_cast<uint32_t>(std::min<uint64_t>(send, UINT32_MAX / 2));
  }
  void on_sent(uint32_t bytes) {
    out_ += bytes;
    allowance_ -= std::min(allowance_, bytes);
  }
  /// What may leave now.
  [[nodiscard]] uint32_t allowance() const { return allowance_; }
  /// No ACK told of the loss, but time: the first retransmission leaves nevertheless.
  void allow(uint32_t bytes) { allowance_ = std::max(allowance_, bytes); }

 private:
  uint32_t recover_fs_ = 1;  // RecoverFS
  uint32_t delivered_ = 0;   // prr_delivered
  uint32_t out_ = 0;         // prr_out
  uint32_t allowance_ = 0;   // sndcnt, less what left since
};

}  // namespace sluice::tcp
