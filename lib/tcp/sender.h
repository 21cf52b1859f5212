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
  uint32_t after_timeout = 0;  // or for a smaller path MTU
  uint32_t probes = 0;         // tail loss probes
};

struct Sender {
  SendQueue queue;
  CongestionControl congestion;
  Pacer pacer;
  LossRecovery recovery;
  LimitedTimes limited;
  Retransmissions again;
  uint32_t connection = IndexPool::none;  // whose it is
  uint32_t train_bytes = 0;               // the longest train: CongestionControl::send_quantum()
  uint32_t marked_bytes = 0;              // delivered by ACKs that echo a congestion mark
  uint32_t window_max = 0;  // the largest window the peer has offered: RFC 9293, 3.8.6.2.1
  StreamOffset limited_to;  // SND.NXT when cwnd was last the limit (RFC 7661 section 4.3)
  Instant progress_at;      // SND.UNA moved, or the first byte was sent: for the user timeout
  PathSearch path;
  bool held = false;          // something is to be sent, at pacer.until()
  bool probe_due = false;     // tail loss probe
  bool override_due = false;  // the persist timer fired: send into a window however small
};

}  // namespace sluice::tcp
