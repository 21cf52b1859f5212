// Sender: the part of a connection that exists only while something is unacknowledged. Taken from a
// pool with the first queued byte, given back when the last one is acknowledged.
#pragma once

#include <cstdint>

#include "base/index_pool.h"
#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/limited_times.h"
#include "tcp/loss_recovery.h"
#include "tcp/pacer.h"
#include "tcp/path_search.h"
#include "tcp/send_queue.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// Segments sent again since the connection last had nothing to send (trains count once), by cause.
struct Retransmissions {
  uint32_t after_loss = 0;     // fast recovery
  uint16_t after_timeout = 0;  // or for a smaller path MTU; saturates
  uint16_t probes = 0;         // tail loss probes; saturates
};

// The order leaves no gaps.
struct Sender {
  SendQueue queue;
  LossRecovery recovery;
  CongestionControl congestion;
  Pacer pacer;
  LimitedTimes limited;
  PathSearch path;
  Retransmissions again;
  uint32_t connection = IndexPool::none;  // whose it is
  uint32_t marked_bytes = 0;              // delivered by ACKs that echo a congestion mark
  uint32_t window_max = 0;     // the largest window the peer has offered: RFC 9293, 3.8.6.2.1
  SeqNumber limited_to;        // low half of SND.NXT when cwnd was last the limit (RFC 7661, 4.3)
  uint32_t progress_ms = 0;    // SND.UNA moved, or the first byte was sent: for the user timeout
  bool held : 1 = false;       // something is to be sent, at pacer.until()
  bool probe_due : 1 = false;  // tail loss probe
  bool override_due : 1 = false;  // the persist timer fired: send into a window however small
};
// Beside it, of each send queue: two spans and a half (60 bytes), a record of what was sent (48),
// its share of the pool (4), of the list of stalled readers (16) and of the catalog (a place to
// wait, a piece on its way). docs/decisions/0050-what-was-sent.md.
static_assert(sizeof(Sender) <= 344);

}  // namespace sluice::tcp
