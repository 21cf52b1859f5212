// Cubic: window growth as a cubic function of the time since the last congestion event.
//
// Read first: RFC 9438. State lives in CongestionControl.
#pragma once

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct Cubic {
  /// Congestion avoidance only.
  static void on_ack(CongestionControl& cc, Instant now, const AckEvent& ack);
  /// Sets w_max and ssthresh from the window at the time of the event, and ends the epoch.
  static void on_congestion(CongestionControl& cc);
  /// Time in which the sender was idle does not count. Source: RFC 9438 section 5.8.
  static void on_idle_restart(CongestionControl& cc);
};

}  // namespace sluice::tcp
