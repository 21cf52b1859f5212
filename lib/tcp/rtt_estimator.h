// RttEstimator: smoothed round-trip time and the retransmission timeout.
//
// Read first: RFC 6298; RFC 7323 section 4.2 and appendix G for samples taken of every ACK.
// A plain value inside a connection: 16 bytes.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace sluice::tcp {

// RFC 6298 section 2.1: until a sample has been taken, RTO SHOULD be 1 second.
inline constexpr Duration rto_initial = Duration::from_s(1);
// RFC 6298 section 2.4: the RTO SHOULD be at least 1 second.
// Deviation: 200 ms, as Linux does. See docs/decisions/0007-rto-floor.md.
inline constexpr Duration rto_min = Duration::from_ms(200);
// RFC 6298 section 2.5: a maximum MAY be placed on RTO provided it is at least 60 seconds.
inline constexpr Duration rto_max = Duration::from_s(60);
// RFC 6298 section 5.7: after a lost SYN, 3 seconds when data transmission begins without a sample.
inline constexpr Duration rto_after_lost_syn = Duration::from_s(3);
// RFC 6298 section 2: G, the granularity of the clock, below which the variance term does not fall.
// Our clock is finer; 1 ms leaves room for the peer's scheduling and for the timer wheel's tick.
inline constexpr Duration rto_variance_min = Duration::from_ms(1);

class RttEstimator {
 public:
  /// Takes in one measured round trip. The caller obeys Karn's rule: never of a segment that was
  /// retransmitted, unless the echoed timestamp tells which transmission was answered.
  ///
  /// `samples_per_rtt`: how many samples a flight of the present window yields; the gains are
  /// divided by it, so that the estimate remembers a few round trips and not a few ACKs (RFC 7323
  /// appendix G: ceil(FlightSize / (SMSS * 2))). Clears the back-off (RFC 6298 section 5.7).
  void add_sample(Duration rtt, uint32_t samples_per_rtt = 1);

  /// Returns: the timeout with the back-off in it.
  [[nodiscard]] Duration rto() const;
  /// And without it.
  [[nodiscard]] Duration rto_once() const;

  /// Doubles the timeout up to rto_max. Source: RFC 6298 section 5.5.
  void back_off();
  /// Ends the back-off without a sample: new data was acknowledged.
  void clear_back_off() { backoff_ = 0; }
  [[nodiscard]] uint32_t back_off_count() const { return backoff_; }

  /// Says, once data transmission begins, that a SYN or SYN-ACK had to be sent again: asks for
  /// rto_after_lost_syn as long as there is no sample. Source: RFC 6298 section 5.7.
  void note_lost_syn() { lost_syn_ = true; }

  /// A tail loss probe left. Has a round trip been measured since? Source: RFC 8985 section 7.3.
  void on_tail_probe() { sampled_ = false; }
  [[nodiscard]] bool sampled_since_probe() const { return sampled_; }

  [[nodiscard]] bool has_sample() const { return srtt8_us_ != 0; }
  /// Returns: 0 before the first sample.
  [[nodiscard]] Duration srtt() const { return Duration::from_us(srtt8_us_ / 8); }
  [[nodiscard]] Duration rttvar() const { return Duration::from_us(rttvar4_us_ / 4); }
  /// The least sample ever taken; 0 before the first.
  [[nodiscard]] Duration min_rtt() const { return Duration::from_us(min_us_); }

 private:
  // Scaled so that the RFC's gains of 1/8 and 1/4 keep their fractions.
  uint32_t srtt8_us_ = 0;
  uint32_t rttvar4_us_ = 0;
  uint32_t min_us_ = 0;
  uint8_t backoff_ = 0;
  bool lost_syn_ = false;
  bool sampled_ = false;  // since the last tail loss probe
};
static_assert(sizeof(RttEstimator) == 16);

/// A sample from an echoed timestamp. Units: both in milliseconds of our timestamp clock, as in the
/// header (the per-flow offset in both or in neither).
/// Returns: false for an echo that we cannot have sent lately (of the future, or older than rto_max
/// doubled): no sample.
/// Source: RFC 7323 section 4.1.
struct TimestampEcho {
  uint32_t now_ms = 0;
  uint32_t echoed_ms = 0;
};
[[nodiscard]] bool rtt_from_timestamps(const TimestampEcho& echo, Duration& rtt);

}  // namespace sluice::tcp
