// Validation: is the congestion window what the path can carry, or only what once was allowed?
//
// Read first: RFC 7661. A window that the application does not fill is kept, for five minutes, as
// what is known of the path, and does not grow; but a loss then counts against what was really
// sent. RFC 5681 section 4.1 asks to fall back to the initial window after one idle RTO; RFC 7661
// takes its place, and asks that what leaves then is paced. Decision:
// docs/decisions/0060-idle-windows.md.
#pragma once

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct Validation {
  struct Round {
    bool round_start = false;  // this ACK begins another round trip
    Duration srtt;
  };
  static void on_ack(CongestionControl& cc, Instant now, const RateSample& sample, Round round);
  /// What was measured before a loss says nothing of the window after it.
  static void on_recovery_end(CongestionControl& cc, Instant now);
  static void on_idle_restart(CongestionControl& cc, Instant now);
  /// Returns: the window that a congestion event is held against.
  [[nodiscard]] static uint32_t used_window(const CongestionControl& cc, uint32_t in_flight_bytes);
  [[nodiscard]] static uint32_t pipe_ack(const CongestionControl& cc);

  static void save(const CongestionControl& cc, CongestionMemory& out);
  static void restore(CongestionControl& cc, const CongestionMemory& in);
};

}  // namespace sluice::tcp
