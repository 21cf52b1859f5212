// Cubic: window growth as a cubic function of the time since the last congestion event.
//
// Read first: RFC 9438. State lives in CongestionControl.
#pragma once

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct Cubic {
  /// Congestion avoidance only.
  static void on_ack(CongestionControl& cc, Instant now, const RateSample& sample, Duration srtt);
  /// Sets w_max and ssthresh from the window in use at the time of the event, and ends the epoch.
  static void on_congestion(CongestionControl& cc, uint32_t used_bytes);
  /// What a congestion event leaves of a window, before its least. Source: RFC 9438 section 4.6.
  [[nodiscard]] static uint32_t kept(uint32_t used_bytes);
  /// 64 microseconds each, modulo 2^32 (three days: no epoch is that long). Never 0.
  [[nodiscard]] static uint32_t ticks(Instant now);
  /// What follows a timeout begins without a plateau to return to. Source: RFC 9438 section 4.8.
  static void on_rto(CongestionControl& cc);
  /// Time in which the sender was idle does not count. Source: RFC 9438 section 5.8.
  static void on_idle_restart(CongestionControl& cc, Duration idle);
  /// The rest of the state, from what was remembered.
  static void restore(CongestionControl& cc, const CongestionMemory& in);

 private:
  static void begin_epoch(CongestionControl& cc, Instant now);
};

}  // namespace sluice::tcp
