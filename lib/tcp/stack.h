// Stack: one worker's TCP. Passive opens only: segments, the session's bytes and time go in;
// segments, events and the next timeout come out.
//
// Read first: RFC 9293 section 3.10 (what happens on each event), lib/tcp/state.h, docs/architecture.md. One thread; nothing is allocated after construction; nothing reads a
// clock. A run is a function of its calls.
//
// Who calls what:
//   in      handle_segment -> the session reads `readable` -> consume    (always, before the next
//                                                                         call)
//           handle_path_mtu, handle_timeout
//   session send_slot, send_object, close, abort, readable, consume
//   out     next_sender -> resolve path(c) -> poll_segment(c) or park(c);  poll_reply;  poll_event
//
// Life of a ConnectionIndex: known to the caller from `accepted` (or from the Received that comes
// with it) until poll_event() has told `closed`; every accepted connection is told `closed` exactly
// once, however it ended, abort() included.
#pragma once

#include <array>
#include <cstdint>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/fixed_vector.h"
#include "base/index_pool.h"
#include "base/time.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "content/ids.h"
#include "inet/inet.h"
#include "stats/counters.h"
#include "tcp/config.h"
#include "tcp/flow.h"
#include "tcp/state.h"
#include "tcp/time_wait_table.h"
#include "timer/timer_wheel.h"
#include "wire/frame.h"
#include "wire/tcp.h"

namespace sluice::tcp {

/// What a segment brought to a connection that the session knows, or is to know now.
struct Received {
  ConnectionIndex connection;  // none(): nothing for the session
  // All in-order bytes not yet consumed: borrowed from the frame, or in the receive buffer. Valid
  // until consume() or the next call.
  Bytes readable;
  bool peer_closed = false;  // the peer sends no more: `readable` is all there will be
};

/// A segment, or a train of segments, to be sent. The caller keeps one and passes it in again.
struct SegmentOut {
  std::array<std::byte, wire::tcp_header_max_bytes> header;  // checksum field zero
  uint8_t header_length = 0;
  // Payload bytes per segment. payload_length > segment_size: a train; PSH and FIN are for its last.
  uint16_t segment_size = 0;
  uint32_t payload_length = 0;
  FixedVector<content::Extent, wire::TxFrame::extents_max> payload;
  // With Poll::blocked only: what has to come into the arena first.
  struct Missing {
    content::ObjectHandle object;
    uint64_t offset_bytes = 0;
  } missing;

  [[nodiscard]] Bytes header_bytes() const { return {header.data(), header_length}; }
};

enum class Poll : uint8_t {
  segment,  // `out` is to be sent
  blocked,  // out.missing is not in the arena; call unblock() when it is. Told once
  gone,     // the object version can be read no more: abort() the connection
  nothing,  // nothing may be sent now
};

enum class EventKind : uint8_t {
  accepted,      // established
  acknowledged,  // spans came free in the send queue
  peer_closed,   // the peer sends no more
  closed,        // the end; the index is dead once this is told
};

enum class CloseReason : uint8_t {
  none,
  finished,       // both sides closed, everything was acknowledged
  reset_by_peer,  // RST
  aborted,        // abort() was called
  timed_out,      // no progress for user_timeout, or keep-alive was not answered
};

struct Event {
  ConnectionIndex connection;
  EventKind kind = EventKind::closed;
  CloseReason reason = CloseReason::none;  // with `closed`
  bool all_acknowledged = false;           // with `acknowledged`: nothing is queued any more
  uint32_t session = 0;                    // the word of set_session()
};

/// What `ss -ti` shows of a connection.
struct Info {
  Flow flow;
  State state = State::closed;
  RecoveryMode recovery = RecoveryMode::open;
  CongestionAlgorithm congestion = CongestionAlgorithm::cubic;
  bool timestamps = false;
  bool sack = false;
  bool blocked = false;
  bool parked = false;
  uint8_t peer_window_scale = 0;
  uint16_t mss = 0;               // payload bytes per segment sent
  uint32_t cwnd_bytes = 0;
  uint32_t ssthresh_bytes = 0;
  uint32_t in_flight_bytes = 0;   // sent, not cumulatively acknowledged
  uint32_t sacked_bytes = 0;
  uint32_t peer_window_bytes = 0;
  uint32_t window_bytes = 0;      // as we advertise it
  uint32_t retransmissions = 0;   // segments (trains count once); saturates at 65,535
  uint32_t retransmission_back_off = 0;
  uint64_t bytes_acknowledged = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_queued = 0;      // unacknowledged, sent or not
  uint32_t bytes_unread = 0;
  Duration srtt;
  Duration rttvar;
  Duration min_rtt;
  Duration rto;
};

/// Entries taken of each table and pool, for the stats.
struct Usage {
  uint32_t connections = 0;  // half-open ones included
  uint32_t half_open = 0;
  uint32_t time_wait = 0;
  uint32_t send_queues = 0;
  uint32_t receive_buffers = 0;
  uint32_t scoreboards = 0;
};

class Stack {
 public:
  /// Requires: every table size in `config` is greater than 0.
  Stack(const Config& config, content::Catalog& catalog, content::ChunkPins& pins,
        stats::Counters& counters);
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Input.

  /// Takes a segment whose checksum is good. When it returns a connection, the session MUST call
  /// consume() for it (with 0, if it reads nothing) before any other call of the stack but send_*,
  /// close and the getters; what is left then is kept in a receive buffer, or, when all of those
  /// are taken, not acknowledged.
  [[nodiscard]] Received handle_segment(Instant now, const inet::TcpSegment& in);
  /// Obeys an ICMP "too big" if the quoted sequence number is in flight on that connection.
  /// Source: RFC 1191, RFC 8201 section 4, RFC 5927 section 7.
  void handle_path_mtu(Instant now, const inet::PathMtu& in);
  void handle_timeout(Instant now);
  [[nodiscard]] Instant next_timeout() const;

  // For the session of an open connection.

  /// All in-order bytes not yet consumed.
  [[nodiscard]] Bytes readable(ConnectionIndex connection) const;
  /// Requires: n <= readable(connection).size(). Does nothing on a connection that has closed.
  void consume(ConnectionIndex connection, size_t n);

  /// Queues bytes of a head slot and takes over one pin of it, which is dropped when they are
  /// acknowledged or the connection ends. Returns false, and takes nothing, when the queue is full
  /// or the connection cannot send any more. Requires: length_bytes > 0.
  [[nodiscard]] bool send_slot(ConnectionIndex connection, content::ChunkIndex slot,
                               uint32_t offset_bytes, uint32_t length_bytes);
  /// Queues a range of an object and takes over one reference to it. Bytes are found in the arena
  /// only when they are sent, and again when they are sent again. Returns as send_slot().
  [[nodiscard]] bool send_object(ConnectionIndex connection, content::ObjectHandle object,
                                 uint64_t offset_bytes, uint64_t length_bytes);
  /// Calls of send_*() that will succeed. 0 when closed for sending. Never promised beyond this
  /// call: the pool of send queues is shared.
  [[nodiscard]] size_t spans_free(ConnectionIndex connection) const;
  /// Bytes queued and not acknowledged yet, sent or not.
  [[nodiscard]] uint64_t bytes_unacknowledged(ConnectionIndex connection) const;

  /// FIN behind what is queued. What the peer still sends is acknowledged and dropped.
  void close(Instant now, ConnectionIndex connection);
  /// RST now; what is queued is dropped.
  void abort(Instant now, ConnectionIndex connection);

  /// One word for the session; 0 when accepted.
  [[nodiscard]] uint32_t session(ConnectionIndex connection) const;
  void set_session(ConnectionIndex connection, uint32_t word);

  // Output.

  /// Some connection that has something to send, fairly in turn. Returns none() when nobody has.
  /// Each is to be polled or parked; who has nothing to send any more leaves the line by itself.
  [[nodiscard]] ConnectionIndex next_sender(Instant now);
  [[nodiscard]] const Flow& flow(ConnectionIndex connection) const;
  /// The connection's memory of its next hop, for inet::Inet::resolve().
  [[nodiscard]] inet::PathRef& path(ConnectionIndex connection);
  /// Describes what this connection sends next.
  [[nodiscard]] Poll poll_segment(Instant now, ConnectionIndex connection, SegmentOut& out);
  /// The next hop is not known yet: out of the line until unpark_all().
  void park(ConnectionIndex connection);
  void unpark_all();
  /// What poll_segment() said to be missing is there (or worth another try).
  void unblock(ConnectionIndex connection);
  /// A segment that belongs to no connection: RST, or the ACK of TIME-WAIT. Returns false when
  /// there is none.
  [[nodiscard]] bool poll_reply(SegmentOut& out, Flow& flow);

  /// Returns false when nothing happened.
  [[nodiscard]] bool poll_event(Event& out);

  // Control and getters.

  /// false: SYNs are answered with RST, and half-open connections are dropped.
  void set_accepting(bool accepting);
  /// Accepted, and `closed` not told yet.
  [[nodiscard]] bool is_open(ConnectionIndex connection) const;
  /// Open and half-open connections, and closed ones whose event was not polled.
  [[nodiscard]] uint32_t connection_count() const;
  [[nodiscard]] uint32_t connections_max() const;
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] Info info(ConnectionIndex connection) const;
  /// Bytes reserved at construction, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const Config& config);
};

}  // namespace sluice::tcp
