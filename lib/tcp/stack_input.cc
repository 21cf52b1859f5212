// SEGMENT ARRIVES: RFC 9293 section 3.10.7, with RFC 7323 (PAWS), RFC 5961 (blind attacks) and RFC
// 6191 (TIME-WAIT). Section and step numbers below are those of RFC 9293.
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

namespace {

// RFC 5961 section 7 asks for a limit. This is one connection's, as Linux's tcp_invalid_ratelimit;
// ChallengeLimit is that of all of them.
constexpr uint32_t challenge_interval_ms = 500;

// RFC 9293 section 3.10.7.4 (TIME-WAIT): a new connection's numbers begin above the old one's.
constexpr uint32_t reuse_gap = 65'535;

}  // namespace

Received Stack::handle_segment(Instant now, const inet::TcpSegment& in) {
  now_ = std::max(now_, now);
  settle();
  counters_.add(Counter::tcp_segments_received);
  Segment segment;
  segment.congestion_experienced = in.congestion_experienced;
  Flow flow{.remote = in.source, .local = in.local};
  if (!parse_segment(in.segment, segment, flow)) {
    counters_.add(Counter::tcp_drop_malformed);
    return {};
  }
  options_.sack.clear();
  if (!segment.options.empty()) {
    options_ = {};
    if (!wire::parse_tcp_options(segment.options, options_)) {
      counters_.add(Counter::tcp_drop_options);
      return {};
    }
    segment.has_timestamps = options_.has_timestamps;
    segment.ts_value = options_.timestamp_value;
    segment.ts_echo = options_.timestamp_echo;
  }
  uint32_t index = find(flow);
  if (index != none && answers_cookie(index, segment)) {
    end(index, CloseReason::none);
    index = none;
  }
  return index != none ? handle_known(index, segment) : handle_unknown(flow, segment);
}

// No connection.

void Stack::reply(const Flow& flow, const HeaderOut& header) {
  if (!replies_.push({flow, header, {}})) counters_.add(Counter::tcp_replies_dropped);
}

// RFC 9293 section 3.10.7.1: a reset that the sender of the segment will believe.
void Stack::reply_reset(const Flow& flow, const Segment& segment) {
  if (!resets_.take(now_)) {
    counters_.add(Counter::tcp_resets_limited);
    return;
  }
  HeaderOut header{.local_port = flow.local_port, .remote_port = flow.remote_port};
  if (segment.has(flag::ack)) {
    header.seq = segment.ack;
    header.flags = flag::rst;
  } else {
    header.ack = segment.seq + segment.length();
    header.flags = flag::rst | flag::ack;
  }
  reply(flow, header);
}

Received Stack::handle_unknown(const Flow& flow, Segment& segment) {
  if (flow.remote_port == 0 || flow.local_port == 0) {
    counters_.add(Counter::tcp_drop_port_zero);
    return {};
  }
  if (const TimeWaitTable::State* state = time_wait_.find(flow, hash_of(flow)); state != nullptr) {
    return handle_time_wait(flow, segment, *state);
  }
  if (segment.has(flag::rst)) {
    counters_.add(Counter::tcp_drop_unknown_reset);
    return {};
  }
  if (segment.has(flag::syn) && !segment.has(flag::ack)) {
    return handle_syn(flow, segment, nullptr);
  }
  if (segment.has(flag::ack) && !segment.has(flag::syn) && accepting_ &&
      cookies_.outstanding(now_)) {
    const uint32_t index = accept_cookie(flow, segment);
    if (index != none) return handle_known(index, segment);
  }
  counters_.add(Counter::tcp_refused_unknown);
  reply_reset(flow, segment);
  return {};
}

// Section 3.10.7.4, TIME-WAIT.
Received Stack::handle_time_wait(const Flow& flow, const Segment& segment,
                                 TimeWaitTable::State state) {
  if (segment.has(flag::rst)) {
    // RFC 1337 section 3: an RST does not shorten TIME-WAIT.
    counters_.add(Counter::tcp_drop_unknown_reset);
    return {};
  }
  if (segment.has(flag::syn) && !segment.has(flag::ack)) {
    const ReuseSyn syn{
        .seq = segment.seq, .has_timestamp = segment.has_timestamps, .timestamp = segment.ts_value};
    if (may_reuse(state, syn)) {
      counters_.add(Counter::tcp_time_wait_reused);
      time_wait_.remove(flow);
      const SeqNumber above = state.snd_nxt + reuse_gap;
      return handle_syn(flow, segment, &above);
    }
    counters_.add(Counter::tcp_time_wait_refused);
  } else if (segment.has(flag::fin)) {
    time_wait_.restart(now_, flow);
  } else if (segment.length() == 0 && segment.seq == state.rcv_nxt) {
    return {};  // the ACK of our FIN, once more
  }
  reply(flow, {.local_port = flow.local_port,
               .remote_port = flow.remote_port,
               .seq = state.snd_nxt,
               .ack = state.rcv_nxt,
               .flags = flag::ack,
               .window = static_cast<uint16_t>(receive_buffer_bytes),
               .timestamps = state.has_timestamps,
               .ts_value = now_ms() + state.timestamp_offset,
               .ts_echo = state.ts_recent});
  return {};
}

// A connection in any state but CLOSED.

Received Stack::handle_known(uint32_t index, Segment& segment) {
  Connection& c = connections_[index];
  const int32_t distance = segment.seq - wrap(c.irs, c.rcv_nxt);
  if (!check_timestamps(index, segment) || !check_sequence(index, segment, distance)) {
    refresh(index);
    return {};
  }
  // RFC 7323 section 4.3 (R3).
  if (c.timestamps && segment.has_timestamps && segment.seq <= c.last_ack_sent) {
    c.ts_recent = segment.ts_value;
  }
  c.heard_ms = now_ms();
  c.probe_due = false;  // what it was to ask for, this segment tells
  if (c.state != State::syn_received && !c.fast_open && c.send_timer != SendTimer::persist) {
    c.probes = 0;
  }

  // Fifth: the ACK field.
  if (c.state == State::syn_received && !establish(index, segment)) return {};
  if (!handle_ack(index, segment)) return {};

  // Sixth: RFC 6093 section 3: urgent data is in line like any other. Seventh: the text.
  Received out;
  const StreamOffset before = c.rcv_nxt;
  if (c.ecn) receive_mark(index, segment);
  if (!segment.payload.empty()) receive_payload(index, segment, distance);
  const bool received_before = may_receive(c.state);
  if (received_before) receive_fin(index, segment);
  if (connections_[index].state == State::closed) return {};
  const bool peer_closed = received_before && !may_receive(c.state);
  if (c.rcv_nxt != before && !fin_queued(c.state)) {
    out.connection = ConnectionIndex(index);
    out.readable = readable(out.connection);
    out.peer_closed = peer_closed;
  }
  if (out.readable.empty() && !out.peer_closed) out.connection = ConnectionIndex::none();
  refresh(index);
  return out;
}

// RFC 7323 section 3.2 (a segment without the option is dropped) and section 5.3 (PAWS).
bool Stack::check_timestamps(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  if (!c.timestamps || segment.has(flag::rst)) return true;
  if (!segment.has_timestamps) {
    counters_.add(Counter::tcp_drop_no_timestamp);
    return false;
  }
  // There is no need for the 24 days of section 5.5: keep-alive does not let a peer be silent that
  // long.
  if (static_cast<int32_t>(segment.ts_value - c.ts_recent) >= 0) return true;
  counters_.add(Counter::tcp_drop_paws);
  challenge(index);
  return false;
}

// First to fourth: sequence number, RST, SYN. Returns false when the segment is done with.
bool Stack::check_sequence(uint32_t index, const Segment& segment, int32_t distance) {
  Connection& c = connections_[index];
  if (segment.has(flag::rst)) {
    handle_reset(index, distance);
    return false;
  }
  if (segment.has(flag::syn)) {
    const bool begins = c.state == State::syn_received || c.fast_open;
    if (begins && segment.seq == c.irs && !segment.has(flag::ack)) {
      c.resend_due = true;  // it did not see our SYN-ACK
      // RFC 3168 section 6.1.1.1: then it gives up ECN, for routers that drop such SYNs.
      if (!segment.has(flag::ece) || !segment.has(flag::cwr)) c.ecn = false;
      return false;
    }
    // RFC 5961 section 4.2: whatever its sequence number.
    counters_.add(Counter::tcp_drop_syn_blind);
    challenge(index);
    return false;
  }
  const auto length = static_cast<int64_t>(segment.length());
  const auto window = static_cast<int64_t>(c.rcv_window());
  const bool begins_inside = distance == 0 || (distance > 0 && distance < window);
  const bool reaches_inside = distance < 0 && distance + length > 0;
  if (begins_inside || reaches_inside) {
    if (segment.has(flag::ack)) return true;
    counters_.add(Counter::tcp_drop_no_ack);
    return false;
  }
  if (segment.payload.empty()) {
    // A keep-alive probe, or an old ACK.
    counters_.add(Counter::tcp_drop_out_of_window);
    if (segment.length() > 0) {
      c.ack_now = true;  // a FIN sent again
    } else {
      challenge(index);
    }
    return false;
  }
  if (distance < 0) {
    counters_.add(Counter::tcp_duplicate_segments);
    const StreamOffset begin = unwrap(c.irs, segment.seq, c.rcv_nxt);
    note_duplicate(index, {begin, begin + segment.payload.size()});
  } else {
    counters_.add(Counter::tcp_drop_out_of_window);
  }
  c.ack_now = true;
  return false;
}

// RFC 5961 section 3.2.
void Stack::handle_reset(uint32_t index, int32_t distance) {
  Connection& c = connections_[index];
  if (distance == 0) {
    if (c.state == State::syn_received) counters_.add(Counter::tcp_half_open_reset);
    end(index, CloseReason::reset_by_peer);
  } else if (distance > 0 && static_cast<uint32_t>(distance) < c.rcv_window()) {
    counters_.add(Counter::tcp_drop_reset_blind);
    challenge(index);
  } else {
    counters_.add(Counter::tcp_drop_out_of_window);
  }
}

void Stack::challenge(uint32_t index) {
  Connection& c = connections_[index];
  if (c.state == State::syn_received || c.fast_open) {
    c.resend_due = true;
    return;
  }
  const uint32_t now = now_ms();
  if (c.challenged_ms != 0 && now - c.challenged_ms < challenge_interval_ms) {
    counters_.add(Counter::tcp_challenge_acks_limited);
    return;
  }
  if (!challenges_.take(now_)) {
    counters_.add(Counter::tcp_challenge_acks_limited);
    return;
  }
  counters_.add(Counter::tcp_challenge_acks);
  c.challenged_ms = std::max(now, 1u);  // 0: never
  c.ack_now = true;
}

}  // namespace sluice::tcp
