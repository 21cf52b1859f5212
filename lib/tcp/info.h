// Info: what `ss -ti` shows of a connection, as a copyable struct.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/flow.h"
#include "tcp/sender.h"
#include "tcp/state.h"

namespace sluice::tcp {

/// See Stack::info().
struct Info {
  Flow flow;
  State state = State::closed;
  RecoveryMode recovery = RecoveryMode::open;
  CongestionAlgorithm congestion = CongestionAlgorithm::cubic;
  bool timestamps = false;
  bool sack = false;
  bool ecn = false;
  bool blocked = false;
  bool parked = false;
  uint8_t peer_window_scale = 0;
  uint16_t mss = 0;  // payload bytes per segment sent
  uint32_t cwnd_bytes = 0;
  uint32_t ssthresh_bytes = 0;
  uint64_t pacing_bytes_per_s = 0;     // 0: not paced
  uint32_t pipe_ack_bytes = 0;         // RFC 7661; 0: not known
  uint64_t bandwidth_bytes_per_s = 0;  // bbr: the estimate
  Duration bandwidth_min_rtt;          // bbr: of its own filter
  uint32_t marked_per_10000 = 0;       // dctcp: alpha
  uint32_t in_flight_bytes = 0;        // sent, not cumulatively acknowledged
  uint32_t pipe_bytes = 0;             // of those, in the network as far as is known
  uint32_t sacked_bytes = 0;
  uint32_t lost_bytes = 0;  // known to be lost, not sent again yet
  uint32_t sent_runs = 0;   // the scoreboard's length
  uint32_t peer_window_bytes = 0;
  uint32_t window_bytes = 0;     // as we advertise it
  uint32_t retransmissions = 0;  // segments (trains count once); saturates at 65,535
  uint32_t retransmission_back_off = 0;
  // Since the connection last had nothing to send:
  Retransmissions again;
  uint32_t duplicates_reported = 0;  // DSACKs
  uint64_t delivered_bytes = 0;      // by cumulative or selective acknowledgement
  uint32_t marked_bytes = 0;         // delivered by ACKs that echo a congestion mark (RFC 3168)
  uint64_t bytes_lost = 0;           // of all that was sent, also again
  uint64_t delivery_rate = 0;        // bytes per second; 0: none measured
  bool delivery_rate_app_limited = false;
  bool reordering_seen = false;
  Duration reordering_window;
  Duration application_limited;
  Duration window_limited;
  Duration congestion_limited;

  uint64_t bytes_acknowledged = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_queued = 0;  // unacknowledged, sent or not
  uint32_t bytes_unread = 0;
  Duration srtt;
  Duration rttvar;
  Duration min_rtt;
  Duration rto;
};

}  // namespace sluice::tcp
