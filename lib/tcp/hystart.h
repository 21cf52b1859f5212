// HyStart++: leaves the first slow start when the round-trip time rises, before the queue
// overflows.
//
// Read first: RFC 9406. Later slow starts (after a timeout) end at ssthresh and need none of it.
#pragma once

#include "tcp/congestion_control.h"

namespace sluice::tcp {

struct HyStart {
  struct Round {
    bool round_start = false;  // this ACK begins another round trip
  };
  /// Grows the window and may end slow start. Requires: the first slow start.
  static void on_ack(CongestionControl& cc, const RateSample& sample, Round round);
};

}  // namespace sluice::tcp
