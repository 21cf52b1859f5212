// Stack: one worker's TCP. Passive opens only: segments, the session's bytes and time go in;
// segments, events and the next timeout come out.
//
// Read first: RFC 9293 section 3.10 (what happens on each event), lib/tcp/connection.h,
// docs/architecture.md. One thread; nothing is allocated after construction; nothing reads a clock.
// A run is a function of its calls.
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
#include <utility>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/fixed_vector.h"
#include "base/index_pool.h"
#include "base/time.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "content/ids.h"
#include "inet/inet.h"
#include "inet/rate_limit.h"
#include "stats/counters.h"
#include "tcp/age_list.h"
#include "tcp/challenge_limit.h"
#include "tcp/config.h"
#include "tcp/connection.h"
#include "tcp/connection_table.h"
#include "tcp/fast_open.h"
#include "tcp/flow.h"
#include "tcp/half_open_list.h"
#include "tcp/info.h"
#include "tcp/isn.h"
#include "tcp/path_mtus.h"
#include "tcp/receive_buffer.h"
#include "tcp/recovery_episode.h"
#include "tcp/segment.h"
#include "tcp/sender.h"
#include "tcp/source_limits.h"
#include "tcp/state.h"
#include "tcp/syn_cookie.h"
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
  // Payload bytes per segment. payload_length > segment_size: a train; PSH and FIN are for its
  // last.
  uint16_t segment_size = 0;
  uint32_t payload_length = 0;
  uint8_t ecn = wire::ecn_not_capable;  // of every segment of the train
  FixedVector<content::Extent, wire::TxFrame::extents_max> payload;
  // With Poll::blocked only: what has to come into the arena first.
  struct Missing {
    content::ObjectHandle object;
    uint64_t offset_bytes = 0;
    uint32_t waiter = 0;  // the number to wait under: below Config::send_queues
  } missing;

  [[nodiscard]] Bytes header_bytes() const { return {header.data(), header_length}; }
};

enum class Poll : uint8_t {
  segment,  // `out` is to be sent
  blocked,  // out.missing is not in the arena: to be waited for in the Catalog, and unblock() to be
            // called when it is. Told once. The stack cancels the wait if the connection ends
  gone,     // the object version can be read no more: abort() the connection
  nothing,  // nothing may be sent now
};

enum class EventKind : uint8_t {
  accepted,      // established
  acknowledged,  // spans came free in the send queue
  peer_closed,   // the peer sends no more
  deadline,      // the time that set_deadline() gave is over
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
};

/// Entries taken of each table and pool, for the stats.
struct Usage {
  uint32_t connections = 0;  // half-open ones included
  uint32_t half_open = 0;
  uint32_t time_wait = 0;
  uint32_t send_queues = 0;
  uint32_t receive_buffers = 0;
  uint32_t sent_runs = 0;
  uint32_t recoveries = 0;  // connections in loss recovery, or that may still undo one
  uint32_t fast_open = 0;   // connections that rest on a Fast Open cookie alone
  uint32_t stalled = 0;     // connections whose peer keeps its window closed
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
  /// Calls of send_*() that will succeed now. 0 when closed for sending, when the queue is full, or
  /// when all send queues are taken but a reserve, with which send_*() may still succeed: for short
  /// refusals. In the latter cases `acknowledged` tells when to try again.
  [[nodiscard]] size_t spans_free(ConnectionIndex connection);
  /// Bytes queued and not acknowledged yet, sent or not.
  [[nodiscard]] uint64_t bytes_unacknowledged(ConnectionIndex connection) const;

  /// FIN behind what is queued. What the peer still sends is acknowledged and dropped.
  void close(Instant now, ConnectionIndex connection);
  /// RST now; what is queued is dropped.
  void abort(Instant now, ConnectionIndex connection);
  /// Something that connections share has run out: resets the reader that has kept its window
  /// closed longest, though not `except`. Returns false when nobody has for Config::stall_grace.
  bool shed_stalled(ConnectionIndex except);
  /// The connections that hold a receive buffer, longest first: the one after `previous`, or the
  /// first with none(). Returns none() at the end.
  [[nodiscard]] ConnectionIndex next_buffered(ConnectionIndex previous) const;
  /// Was something dropped since the last call because no receive buffer was free?
  [[nodiscard]] bool take_buffer_shortage() { return std::exchange(buffer_shortage_, false); }

  /// The session's own deadline, in place of the one it had: `deadline` is told when it is over,
  /// within a millisecond and a tick of the wheel. A connection has one place in the wheel,
  /// whatever it waits for. Does nothing on a connection that has closed. Requires: after < 24
  /// days.
  void set_deadline(Instant now, ConnectionIndex connection, Duration after);
  void clear_deadline(ConnectionIndex connection);

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
  /// The next hop does not answer: a connection that is half-open is forgotten, without a word.
  void drop_half_open(ConnectionIndex connection);
  /// The connection that waits under this number; none() when it waits no more.
  [[nodiscard]] ConnectionIndex waiting(uint32_t waiter) const;
  /// What poll_segment() said to be missing is there (or worth another try). Does
  /// nothing for none().
  void unblock(ConnectionIndex connection);
  /// A segment that belongs to no connection: RST, or the ACK of TIME-WAIT. Returns false when
  /// there is none.
  [[nodiscard]] bool poll_reply(SegmentOut& out, Flow& flow);
  [[nodiscard]] size_t replies_waiting() const { return replies_.size(); }
  [[nodiscard]] size_t replies_room() const { return replies_.capacity() - replies_.size(); }

  /// Returns false when nothing happened.
  [[nodiscard]] bool poll_event(Event& out);

  // Control and getters.

  /// false: SYNs are answered with RST, half-open connections are dropped, and a connection is over
  /// once the peer has acknowledged our FIN, whether or not it sends its own.
  void set_accepting(bool accepting);
  /// Accepted, and `closed` not told yet.
  [[nodiscard]] bool is_open(ConnectionIndex connection) const;
  /// Open and half-open connections, and closed ones whose event was not polled.
  [[nodiscard]] uint32_t connection_count() const { return connection_pool_.in_use(); }
  [[nodiscard]] uint32_t connections_max() const { return connection_pool_.size(); }
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] Info info(ConnectionIndex connection) const;
  /// Bytes reserved at construction, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const Config& config);
  /// Writes usage() into the gauges of the counter catalogue.
  void publish_usage() const;

 private:
  static constexpr uint32_t none = IndexPool::none;

  // Intrusive doubly linked list over Connection::line_*.
  struct Line {
    uint32_t first = none;
    uint32_t last = none;
  };
  // A segment that belongs to no connection.
  struct Reply {
    Flow flow;
    HeaderOut header;
    Handshake offered;  // of a SYN-ACK
  };
  // In-order bytes handed to the session and not consumed yet, in the frame they came in.
  struct Borrowed {
    uint32_t connection = none;
    Bytes bytes;
  };
  // What arrived twice, to be reported in the next ACK (RFC 2883).
  struct Duplicate {
    uint32_t connection = none;
    StreamRange range;
  };
  // What a connection would send next.
  struct Plan {
    enum class Kind : uint8_t { none, fresh, again };
    Kind kind = Kind::none;
    bool probe = false;       // a tail loss probe
    bool path_probe = false;  // one segment, larger than the others
    StreamRange range;        // a FIN counts
  };

  // stack.cc: lookups, pools, the session's side.
  [[nodiscard]] uint32_t find(const Flow& flow);
  [[nodiscard]] uint64_t hash_of(const Flow& flow);
  void settle();
  void end(uint32_t index, CloseReason reason);
  void release_parts(uint32_t index);
  void release_sender(Connection& c);
  void release_span(const Span& span);
  [[nodiscard]] bool take_buffer(uint32_t index, StreamOffset next);
  void release_buffer(Connection& c);
  void reclaim_buffer();
  void leave_half_open(Connection& c);
  [[nodiscard]] bool take_sender(Connection& c);
  void want_sender(Connection& c);
  [[nodiscard]] bool queue_span(uint32_t index, const Span& span);
  void inform_of_sending(const Connection& c, Info& out) const;
  void offer_sender();
  void add_event(uint32_t index, EventKind kind);
  void line_add(Line& line, uint32_t index);
  void line_remove(Line& line, uint32_t index);
  void refresh(uint32_t index);
  [[nodiscard]] static Flight flight(const Connection& c) {
    return {.una = c.snd_una,
            .nxt = c.snd_nxt(),
            .mss = c.mss,
            .sack = c.sack_permitted,
            .srtt = c.rtt.srtt(),
            .min_rtt = c.rtt.min_rtt()};
  }
  // `bbr`: where its state goes, if that is the algorithm.
  [[nodiscard]] CongestionControl start_congestion(const Connection& c, BbrState* bbr) const {
    return {c.congestion,
            {.mss = c.mss, .srtt = c.rtt.srtt(), .now = now_, .paced = config_.pacing, .bbr = bbr}};
  }
  [[nodiscard]] uint32_t now_ms() const { return timestamp_clock_ms(now_); }
  [[nodiscard]] uint32_t now_us() const {
    return static_cast<uint32_t>(static_cast<uint64_t>(now_.ns()) / 1000);
  }
  [[nodiscard]] uint16_t link_mss(const Flow& flow) const;

  // stack_input.cc: RFC 9293 section 3.10.7.
  [[nodiscard]] Received handle_known(uint32_t index, Segment& segment);
  [[nodiscard]] Received handle_unknown(const Flow& flow, Segment& segment);
  [[nodiscard]] Received handle_time_wait(const Flow& flow, const Segment& segment,
                                          TimeWaitTable::State state);
  [[nodiscard]] bool check_timestamps(uint32_t index, const Segment& segment);
  [[nodiscard]] bool check_sequence(uint32_t index, const Segment& segment, int32_t distance);
  void handle_reset(uint32_t index, int32_t distance);
  void challenge(uint32_t index);
  void receive_payload(uint32_t index, const Segment& segment, int32_t distance);
  void keep_payload(uint32_t index, StreamOffset offset, Bytes payload);
  void receive_fin(uint32_t index, const Segment& segment);
  void receive_mark(uint32_t index, const Segment& segment);
  void handle_fin(uint32_t index);
  void schedule_ack(Connection& c);
  void note_duplicate(uint32_t index, const StreamRange& range);
  void enter_time_wait(uint32_t index);
  void reply(const Flow& flow, const HeaderOut& header);
  void reply_reset(const Flow& flow, const Segment& segment);

  // stack_syn.cc: how a connection begins.
  struct FastOpenPlan {
    bool give_cookie = false;
    bool accept = false;
  };
  [[nodiscard]] Handshake read_handshake(const Flow& flow, const Segment& syn) const;
  [[nodiscard]] Received handle_syn(const Flow& flow, const Segment& segment,
                                    const SeqNumber* iss_above);
  void begin(uint32_t index, const Flow& flow, SeqNumber irs, const Handshake& agreed);
  void open(uint32_t index, const Flow& flow, const Segment& syn, const SeqNumber* iss_above);
  // stack_fast_open.cc
  [[nodiscard]] FastOpenPlan plan_fast_open(const Flow& flow, const Segment& syn);
  [[nodiscard]] Received open_fast(uint32_t index, const Segment& syn);
  void finish_fast_open(Connection& c);
  [[nodiscard]] bool cookies_wanted();
  void reply_cookie(const Flow& flow, const Segment& syn);
  [[nodiscard]] bool answers_cookie(uint32_t index, const Segment& segment);
  [[nodiscard]] bool check_cookie(const Flow& flow, const Segment& segment, Handshake& out);
  [[nodiscard]] uint32_t accept_cookie(const Flow& flow, const Segment& segment);
  [[nodiscard]] bool establish(uint32_t index, const Segment& segment);
  void become_established(uint32_t index, const Segment& segment);

  // stack_ack.cc: what an ACK acknowledges, and what that says of losses and of the path.
  [[nodiscard]] bool handle_ack(uint32_t index, const Segment& segment);
  [[nodiscard]] bool handle_fin_acknowledged(uint32_t index);
  [[nodiscard]] bool update_window(Connection& c, const Segment& segment);
  void handle_sender_ack(uint32_t index, const Segment& segment, uint32_t acked,
                         bool window_changed);
  void read_sack(const Connection& c, StreamOffset una, LossRecovery::Ack& ack);
  void count_verdict(const LossRecovery::Verdict& verdict);
  void count_plain(const LossRecovery& recovery);
  void sample_rtt(Connection& c, const Segment& segment, Duration measured, bool advanced);
  void rearm_send_timer(Connection& c, bool restart);
  void release_acknowledged(uint32_t index);

  // stack_output.cc
  [[nodiscard]] Plan plan(Connection& c);
  [[nodiscard]] Plan plan_unpaced(Connection& c);
  [[nodiscard]] uint32_t longest_train(const Sender& sender) const;
  void start_pacing(const Connection& c, Sender& sender) const;
  [[nodiscard]] Plan plan_fresh(Connection& c, Sender& sender);
  [[nodiscard]] Plan plan_again(const Connection& c, Sender& sender);
  [[nodiscard]] Plan plan_probe(const Connection& c, const Sender& sender);
  [[nodiscard]] bool has_output(Connection& c);
  [[nodiscard]] Poll poll_data(uint32_t index, const Plan& planned, SegmentOut& out);
  void restart_if_idle(Connection& c);
  [[nodiscard]] Poll describe(Connection& c, const Plan& planned, uint32_t bytes, SegmentOut& out);
  void note_limit(const Connection& c, Sender& sender, LimitedBy by);
  void count_again(Sender& sender, bool probe);
  void note_sent(Connection& c, const Plan& planned, const StreamRange& sent);
  void emit_ack(uint32_t index, SegmentOut& out);
  void emit_syn_ack(Connection& c, SegmentOut& out);
  void emit_lone(Connection& c, StreamOffset at, uint8_t flags, SegmentOut& out);
  [[nodiscard]] HeaderOut header_for(Connection& c, StreamOffset at, uint8_t flags);
  [[nodiscard]] bool reports_sack(uint32_t index) const;
  void advance_window(Connection& c);
  [[nodiscard]] uint32_t window_max(const Connection& c) const;

  // stack_path.cc
  [[nodiscard]] uint32_t larger_segment(Connection& c, const Sender& sender, uint64_t available,
                                        uint32_t limit) const;
  void note_path_probe(Connection& c, const Plan& planned, const StreamRange& sent);
  void judge_path(Connection& c);
  void end_search_if_close(Connection& c);
  void set_mss(Connection& c, uint16_t mss);
  [[nodiscard]] static uint16_t headers_of(const Connection& c);
  void learn_path(const Connection& c);
  void recall_path(Connection& c);
  void suspect_black_hole(Connection& c, uint32_t timeouts);

  // stack_timers.cc
  void arm_send_timer(Connection& c);
  void set_send_timer(Connection& c, SendTimer kind, Duration after);
  void schedule_wheel(uint32_t index);
  void handle_timer(uint32_t index);
  void handle_send_timer(uint32_t index);
  void handle_retransmission_timer(uint32_t index);
  void handle_syn_ack_timer(uint32_t index);
  void handle_tail_timer(uint32_t index);
  void handle_reordering_timer(uint32_t index);
  void handle_persist_timer(uint32_t index);
  void handle_keep_alive(uint32_t index);
  [[nodiscard]] Instant keep_alive_deadline(const Connection& c) const;
  [[nodiscard]] Instant patience_end(const Connection& c) const;
  void give_up(uint32_t index);

  Config config_;
  content::Catalog& catalog_;
  content::ChunkPins& pins_;
  stats::Counters& counters_;
  Instant now_;
  bool accepting_ = true;

  FixedArray<Connection> connections_;
  IndexPool connection_pool_;
  ConnectionTable table_;
  uint32_t recent_ = none;  // found last: bursts of one connection are common
  struct Hashed {
    Flow flow;
    uint64_t hash = 0;
  } hashed_;  // last: what follows from a segment of an unknown flow asks for it again
  TimeWaitTable time_wait_;
  HalfOpenList half_open_;
  SynCookies cookies_;
  FastOpen fast_open_;
  SourceLimits sources_;
  PathMtus path_mtus_;
  FixedArray<Sender> senders_;
  SpanPool spans_;
  IndexPool sender_pool_;
  uint32_t senders_reserved_;          // for refusals
  uint32_t sender_wanted_ = 0;         // connections that were refused one
  uint32_t sender_wanted_cursor_ = 0;  // where the search for the next of them begins
  RecoveryPools recovery_pools_;
  FixedArray<BbrState> bbr_;  // by sender; none when another algorithm is configured
  ReceiveBuffers buffers_;
  AgeList buffered_;  // by receive buffer: its connection
  bool buffer_shortage_ = false;
  AgeList stalled_;  // by sender: its connection, whose peer's window is closed
  timer::TimerWheel wheel_;
  Line senders_line_;
  Line parked_line_;
  uint32_t event_first_ = none;
  uint32_t event_last_ = none;
  Borrowed borrowed_;
  std::array<Duplicate, 16> duplicates_;  // by connection modulo 16: a hint that may be lost
  BoundedQueue<Reply> replies_;
  ChallengeLimit challenges_;
  inet::RateLimit resets_;  // of those that strangers ask for
  // Scratch, of the segment being handled.
  wire::TcpOptions options_;
  FixedVector<StreamRange, LossRecovery::Ack::blocks_max> sacked_;
};

}  // namespace sluice::tcp
