// RateSample and DeliveryRate: what one ACK told of the path, and the counters that it is made of.
//
// Read first: draft-ietf-ccwg-bbr section 4.1 (draft-cheng-iccrg-delivery-rate-estimation before
// it). Every run of bytes sent carries a SentStamp; the newest run that an ACK delivers gives the
// sample: what was delivered since that run left, over the longer of the time that sending and the
// time that acknowledging took. Pure; a value inside a Sender. Times are the low 32 bits of
// microseconds of the stack's clock: they are compared over minutes at most.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace sluice::tcp {

/// What one ACK told of the path.
/// Source: draft-ietf-ccwg-bbr section 4.1.2.3, RFC 9937.
struct RateSample {
  uint32_t newly_acked_bytes = 0;  // by cumulative or selective acknowledgement, each byte once
  uint32_t newly_lost_bytes = 0;   // marked lost since the ACK before, by it or by a timer
  uint64_t delivered_total = 0;    // C.delivered, this ACK included
  uint64_t lost_total = 0;
  uint64_t prior_delivered = 0;        // C.delivered when the newest run now delivered was sent
  uint32_t delivered_bytes = 0;        // delivered_total - prior_delivered
  uint32_t lost_bytes = 0;             // lost between the sending of that run and now
  uint32_t tx_in_flight_bytes = 0;     // pipe just after that run was sent
  Duration interval;                   // max(send, ack elapsed); 0: no valid rate in this sample
  Duration rtt;                        // 0: no sample
  uint32_t prior_in_flight_bytes = 0;  // pipe before this ACK
  uint32_t in_flight_bytes = 0;        // pipe after it
  bool app_limited = false;            // the run was sent while app-limited
  bool window_limited = false;         // or while the peer's window was the limit
  bool cwnd_limited = false;           // the window was in use (RFC 7661: growth is allowed)
  bool in_recovery = false;            // fast recovery, before or after this ACK
};

/// What is noted of a run of bytes when it leaves. Low halves of the counters of DeliveryRate.
struct SentStamp {
  uint32_t sent_us = 0;
  uint32_t first_sent_us = 0;      // C.first_sent_time then
  uint32_t delivered = 0;          // C.delivered then
  uint32_t delivered_us = 0;       // C.delivered_time then
  uint32_t lost = 0;               // C.lost then
  uint32_t tx_in_flight : 30 = 0;  // pipe, this run included
  uint32_t app_limited : 1 = 0;
  uint32_t window_limited : 1 = 0;
};
static_assert(sizeof(SentStamp) == 24);

class DeliveryRate {
 public:
  /// Something leaves. `in_flight_bytes`: the pipe before it.
  /// Source: draft-ietf-ccwg-bbr section 4.1.2.2, OnPacketSent ().
  [[nodiscard]] SentStamp on_sent(uint32_t now_us, uint32_t in_flight_bytes, uint32_t bytes);
  /// The sender has no more to send than this, and room in its window: what leaves until
  /// `in_flight_bytes` more have been delivered says nothing of the path's rate.
  /// Source: section 4.1.2.4.
  void on_app_limited(uint32_t in_flight_bytes);
  /// The same, of the window that the peer offers. The draft, as Linux, knows no such mark: a rate
  /// is a rate. But what is lost in such a flight, and how little of it there was, is not the
  /// network's doing alone (docs/decisions/0061-bbr.md).
  void on_window_limited(uint32_t in_flight_bytes);
  void on_lost(uint32_t bytes) { lost_.add(bytes); }
  /// Bytes were delivered: counts them. The newest run among those of one ACK goes to sample().
  void on_delivered(uint32_t now_us, uint32_t bytes);
  /// The ACK is read. Fills in the fields of `out` that are this class's: totals, newly_lost_bytes,
  /// prior_delivered, delivered_bytes, lost_bytes, tx_in_flight_bytes, interval, app_limited.
  /// `newest` is the stamp of the run sent last among those delivered by this ACK; null: none that
  /// says something. `min_rtt_us`: an interval shorter than that is no valid sample (0: not known).
  /// Source: section 4.1.2.3, GenerateRateSample ().
  void sample(uint32_t now_us, const SentStamp* newest, uint32_t min_rtt_us, RateSample& out);

  [[nodiscard]] uint64_t delivered() const { return delivered_.value(); }
  [[nodiscard]] uint64_t lost() const { return lost_.value(); }
  [[nodiscard]] bool app_limited() const { return app_limited_; }
  /// The latest valid sample, as ss shows it. Units: bytes per second; 0: none yet.
  [[nodiscard]] uint64_t bytes_per_second() const;
  [[nodiscard]] bool rate_app_limited() const { return rate_app_limited_; }

 private:
  // 64 bits that do not ask for an alignment of eight bytes; most is done with the low half.
  struct Total {
    uint32_t low = 0;
    uint32_t high = 0;
    void add(uint32_t bytes) {
      low += bytes;
      if (low < bytes) ++high;
    }
    [[nodiscard]] uint64_t value() const { return uint64_t{high} << 32 | low; }
  };
  Total delivered_;
  Total lost_;
  uint32_t delivered_us_ = 0;
  uint32_t first_sent_us_ = 0;
  uint32_t limited_until_ = 0;  // low half of delivered_, with one of the next
  uint32_t told_lost_ = 0;      // low half of lost_, when the last sample was taken
  float rate_ = 0;              // of the latest valid sample, bytes per second
  bool app_limited_ = false;
  bool window_limited_ = false;
  bool rate_app_limited_ = false;
};

}  // namespace sluice::tcp
