// Config: the sizes and times of one Stack. Everything is reserved from these numbers at start.
#pragma once

#include <cstdint>

#include "base/fixed_vector.h"
#include "base/siphash.h"
#include "base/time.h"
#include "tcp/congestion_control.h"
#include "tcp/source_limits.h"

namespace sluice::tcp {

inline constexpr size_t listen_ports_max = 8;

struct Config {
  // Tables and pools. Units: entries.
  uint32_t max_connections = 16'384;  // half-open ones included, TIME-WAIT not
  uint32_t max_half_open = 1'024;     // the oldest is recycled beyond that
  uint32_t time_wait_max = 8'192;     // the oldest is forgotten beyond that
  uint32_t receive_buffers = 1'024;   // of receive_buffer_bytes: incomplete requests only
  uint32_t send_queues = 4'096;       // connections with something unacknowledged
  uint32_t sent_runs = 16'384;        // records of what was sent, beyond one for each of those
  uint32_t recoveries = 1'024;        // connections that repair losses, or may yet undo it

  FixedVector<uint16_t, listen_ports_max> ports;  // listened on, at every address of ours
  uint16_t mtu = 1'500;                           // of the link: bounds the MSS both ways
  uint32_t train_max_bytes = 65'000;              // payload of one SegmentOut; at most 65,000
  CongestionAlgorithm congestion = CongestionAlgorithm::cubic;
  // Spread a window over its round trip, where that is longer than a millisecond. BBR always is.
  bool pacing = true;
  bool ecn = true;  // agree on it with peers that offer it: RFC 3168
  // TCP Fast Open (RFC 7413): connections that may rest on a cookie alone at a time; 0: none. The
  // key is shared by all engines of a server.
  uint32_t fast_open_pending_max = 0;
  SipKey fast_open_key;
  SourceLimitOptions source_limits;  // off by default
  uint16_t mss_max = 0;  // the largest MSS announced and used, whatever the link takes; 0: no limit
  SipKey key;            // secret: connection hashing, initial sequence numbers, timestamp offsets

  // RFC 9293 section 3.8.6.3 (MUST-40): less than 0.5 seconds. 40 ms, as Linux does.
  Duration delayed_ack = Duration::from_ms(40);
  // Data outstanding and nothing acknowledged, or a window closed and its probes not answered, for
  // this long: the peer is given up. RFC 9293 section 3.8.3 asks for at least 100 s (SHLD-10).
  // Deviation: a healthy peer acknowledges within seconds. docs/decisions/0008-tcp-patience.md.
  Duration user_timeout = Duration::from_s(60);
  // A closed window whose probes are answered: RFC 9293 section 3.8.6.1 (MUST-37) has no limit.
  // Deviation: an hour, so that a reader who never reads does not stay for ever.
  Duration stall_timeout = Duration::from_s(3600);
  // When send queues, head slots or connections run out, the reader that has stalled longest gives
  // way, if it has for this long.
  Duration stall_grace = Duration::from_s(10);
  // An idle peer is probed after this long, and given up after this many unanswered probes.
  // RFC 9293 section 3.8.4 (MUST-28) asks for two hours by default.
  // Deviation: HTTP's idle time is a minute; a peer that vanished must not be kept for hours.
  Duration keep_alive_after = Duration::from_s(120);
  Duration keep_alive_interval = Duration::from_s(15);
  uint8_t keep_alive_probes = 5;
  // Our FIN is acknowledged and the peer's does not come. RFC 9293 has no limit; Linux 60 s.
  Duration fin_wait_2 = Duration::from_s(20);
  // RFC 9293 section 3.4.1: 2 MSL, MSL being 2 minutes. Deviation: 60 s in all, as Linux does.
  Duration time_wait = Duration::from_s(60);
  // A SYN-ACK is sent again this many times before the half-open connection is dropped.
  uint8_t syn_ack_retries = 4;
};

/// The bytes that a connection can keep of what the peer has sent and the session has not consumed;
/// also the largest window advertised.
inline constexpr uint32_t receive_buffer_bytes = 16 * 1024;

}  // namespace sluice::tcp
