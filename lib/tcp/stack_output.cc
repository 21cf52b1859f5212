// What a connection sends next, and how it is written: RFC 9293 sections 3.7.4 and 3.8.6, RFC 5681,
// RFC 6675, RFC 8985 section 7.
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

namespace {

// Sending waits until a quarter of the window can leave as one train, rather than follow every ACK
// with two segments: each train costs the same, however long it is. As Linux's tcp_tso_win_divisor.
constexpr uint32_t train_window_divisor = 4;

constexpr uint32_t round_down(uint32_t bytes, uint32_t unit) {
  return bytes - bytes % unit;
}

// Is the flight large enough to tell something about the path? RFC 7661 section 4.3: while more
// than half of the window is used, it may grow; here only slow start is that generous.
bool fills_window(const Connection& c, const CongestionControl& congestion) {
  const uint32_t cwnd = congestion.cwnd();
  if (congestion.in_slow_start()) return uint64_t{c.in_flight} * 2 > cwnd;
  return c.in_flight + c.mss > cwnd;
}

// Takes bytes off the end.
void shorten(FixedVector<content::Extent, wire::TxFrame::extents_max>& payload, uint32_t bytes) {
  while (bytes > 0) {
    const uint32_t cut = std::min(bytes, payload.back().length_bytes);
    payload.back().length_bytes -= cut;
    bytes -= cut;
    if (payload.back().length_bytes == 0) payload.pop_back();
  }
}

}  // namespace

// What to send.

Stack::Plan Stack::plan_unpaced(Connection& c) {
  c.window_wanted = false;
  if (c.state < State::established) return {};
  if (c.sender == none) {
    if (!fin_queued(c.state) || c.fin_sent) return {};
    return {.kind = Plan::Kind::fresh, .range = {c.snd_nxt(), c.snd_nxt() + 1}};
  }
  Sender& sender = senders_[c.sender];
  if (c.blocked) {
    note_limit(c, sender, LimitedBy::application);
    return {};
  }
  const bool recovering = sender.recovery.mode() != RecoveryMode::open;
  if (recovering) {
    if (const Plan again = plan_again(c, sender); again.kind != Plan::Kind::none) return again;
  }
  // What the probe was for may have been acknowledged while content was missing.
  if (c.in_flight == 0) sender.probe_due = false;
  if (sender.probe_due) return plan_probe(c, sender);
  return plan_fresh(c, sender);
}

Stack::Plan Stack::plan_again(const Connection& c, Sender& sender) {
  const Flight now = flight(c);
  const StreamRange lost = sender.recovery.next_retransmission(recovery_pools_.runs, now);
  if (lost.empty()) return {};
  const uint64_t wanted = lost.end - lost.begin;
  uint32_t limit = std::min(sender.recovery.room(recovery_pools_, now, sender.congestion),
                            longest_train(sender));
  if (limit < wanted) limit = round_down(limit, c.mss);
  if (limit == 0) return {};
  return {.kind = Plan::Kind::again,
          .range = {lost.begin, lost.begin + std::min<uint64_t>(wanted, limit)}};
}

// RFC 8985 section 7.3: new data if there is any, else the last segment once more; whatever cwnd
// says.
Stack::Plan Stack::plan_probe(const Connection& c, const Sender& sender) {
  const StreamOffset nxt = c.snd_nxt();
  const StreamOffset end = sender.queue.end();
  if (c.in_flight == 0) return {};
  const uint32_t window = c.snd_wnd > c.in_flight ? c.snd_wnd - c.in_flight : 0;
  if (nxt < end) {
    const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(end - nxt, c.mss));
    if (bytes <= window) {
      const bool last = nxt + bytes == end && fin_queued(c.state);
      return {
          .kind = Plan::Kind::fresh, .probe = true, .range = {nxt, nxt + bytes + (last ? 1 : 0)}};
    }
  }
  const StreamOffset data_end = std::min(nxt, end);
  const uint64_t back = std::min<uint64_t>(data_end - std::min(c.snd_una, data_end), c.mss);
  return {.kind = Plan::Kind::again, .probe = true, .range = {data_end - back, nxt}};
}

void Stack::note_limit(const Connection& c, Sender& sender, LimitedBy by) {
  sender.limited.note(now_us(), by);
  if (by != LimitedBy::application && by != LimitedBy::window) return;
  if (sender.recovery.pipe(flight(c)) < sender.congestion.cwnd()) {
    sender.recovery.on_limited(flight(c), by == LimitedBy::window);
  }
}

Stack::Plan Stack::plan_fresh(Connection& c, Sender& sender) {
  const StreamOffset nxt = c.snd_nxt();
  const StreamOffset end = sender.queue.end();
  const bool fin = fin_queued(c.state) && !c.fin_sent;
  if (nxt >= end) {
    note_limit(c, sender, LimitedBy::application);
    if (!fin) return {};
    return {.kind = Plan::Kind::fresh, .range = {nxt, nxt + 1}};
  }
  const uint64_t available = end - nxt;
  const uint32_t room = sender.recovery.room(recovery_pools_, flight(c), sender.congestion);
  const uint32_t window = c.snd_wnd > c.in_flight ? c.snd_wnd - c.in_flight : 0;
  // CWR goes alone: not every NIC takes it off all segments of a train but the first.
  const bool alone = c.ecn && sender.congestion.cwr_due();
  const uint32_t longest = alone ? c.mss : longest_train(sender);
  const uint32_t unpaced = std::min({room, window, config_.train_max_bytes});
  const uint32_t limit = std::min(unpaced, longest);
  if (const uint32_t larger = larger_segment(c, sender, available, unpaced); larger > 0) {
    return {.kind = Plan::Kind::fresh, .path_probe = true, .range = {nxt, nxt + larger}};
  }
  if (available <= limit) {
    return {.kind = Plan::Kind::fresh, .range = {nxt, end + (fin ? 1 : 0)}};
  }
  if (limit < c.mss) {
    note_limit(c, sender, room <= window ? LimitedBy::congestion : LimitedBy::window);
    if (room < c.mss && room <= window) return {};  // ACKs will make room
    // RFC 9293 section 3.8.6.2.1: no silly small segments, unless the window was never larger than
    // twice that, or waiting has lasted long enough.
    const bool worth = uint64_t{window} * 2 >= sender.window_max || sender.override_due;
    if (window > 0 && window <= room && worth) {
      return {.kind = Plan::Kind::fresh, .range = {nxt, nxt + window}};
    }
    c.window_wanted = c.in_flight == 0;
    return {};
  }
  const uint32_t bytes = round_down(limit, c.mss);
  const uint32_t whole = std::min(sender.congestion.cwnd(), c.snd_wnd);
  const uint32_t goal = std::min(round_down(whole / train_window_divisor, c.mss), longest - c.mss);
  const bool undisturbed =  // no duplicate ACKs, nothing SACKed, nothing lost
      sender.recovery.mode() == RecoveryMode::open &&
      room + c.in_flight <= sender.congestion.cwnd();
  if (undisturbed && bytes < goal && c.in_flight > bytes) {
    note_limit(c, sender, room <= window ? LimitedBy::congestion : LimitedBy::window);
    return {};
  }
  note_limit(c, sender, LimitedBy::nothing);
  return {.kind = Plan::Kind::fresh, .range = {nxt, nxt + bytes}};
}

bool Stack::has_output(Connection& c) {
  if (c.state == State::syn_received) return c.resend_due;
  const bool data = plan(c).kind != Plan::Kind::none;
  return data || c.ack_now || c.probe_due || c.resend_due;
}

// How it is written.

Poll Stack::poll_segment(Instant now, ConnectionIndex connection, SegmentOut& out) {
  now_ = std::max(now_, now);
  const uint32_t index = connection.value();
  Connection& c = connections_[index];
  out.payload.clear();
  out.payload_length = 0;
  out.segment_size = c.mss;
  out.ecn = wire::ecn_not_capable;
  Poll result = Poll::segment;
  if (c.state == State::closed) return Poll::nothing;
  restart_if_idle(c);
  // NOLINTNEXTLINE(bugprone-branch-clone): the order of the branches is their meaning
  if (c.state == State::syn_received || (c.fast_open && c.resend_due)) {
    if (!c.resend_due) return Poll::nothing;
    emit_syn_ack(c, out);
    // NOLINTNEXTLINE(bugprone-branch-clone)
  } else if (c.ack_now && reports_sack(index)) {  // before data, which has no room for blocks
    emit_ack(index, out);
  } else if (c.resend_due) {
    c.resend_due = false;
    emit_lone(c, c.snd_nxt() - 1, flag::fin | flag::ack, out);
  } else if (const Plan planned = plan(c); planned.kind != Plan::Kind::none) {
    result = poll_data(index, planned, out);
  } else if (c.probe_due) {
    c.probe_due = false;
    emit_lone(c, c.snd_una - 1, flag::ack, out);
  } else if (c.ack_now) {
    emit_ack(index, out);
  } else {
    result = Poll::nothing;
  }
  if (result == Poll::segment) {
    counters_.add(Counter::tcp_segments_sent);
    counters_.add(Counter::tcp_payload_sent_bytes, out.payload_length);
  }
  refresh(index);
  return result;
}

// RFC 7661: nothing was sent for more than one RTO. Here and not where the session
// queues bytes: that call does not tell the time.
void Stack::restart_if_idle(Connection& c) {
  if (c.sender == none || c.in_flight > 0 || c.sent_ms == 0) return;
  const auto idle = Duration::from_ms(static_cast<int32_t>(now_ms() - c.sent_ms));
  if (idle <= c.rtt.rto()) return;
  Sender& sender = senders_[c.sender];
  sender.congestion.on_idle_restart(now_, idle);
  sender.pacer.set_train(sender.congestion.send_quantum());
  start_pacing(c, sender);
  c.sent_ms = std::max(now_ms(), 1u);  // once
}

Poll Stack::describe(Connection& c, const Plan& planned, uint32_t bytes, SegmentOut& out) {
  Sender& sender = senders_[c.sender];
  const bool again = planned.kind == Plan::Kind::again;
  const SendQueue::Described described = sender.queue.describe(
      now_, catalog_, spans_, {.from = planned.range.begin, .max_bytes = bytes, .again = again},
      out.payload);
  uint32_t usable = described.bytes;
  if (usable < bytes) {
    // A head waits for the first of its content, so that both leave in one segment. Content does
    // not wait for more of it: a connection that needs two chunks at a time could wait for ever,
    // when each comes at the price of the other.
    const bool only_head = std::all_of(
        out.payload.begin(), out.payload.end(),
        [&](const content::Extent& extent) { return pins_.is_head_slot(extent.chunk); });
    if (usable >= c.mss) {
      usable = round_down(usable, c.mss);
    } else if (described.stop == SendQueue::Stop::missing && !again && only_head) {
      usable = 0;
    }
    shorten(out.payload, described.bytes - usable);
  }
  out.payload_length = usable;
  if (usable > 0) return Poll::segment;
  if (described.stop == SendQueue::Stop::gone) return Poll::gone;
  c.blocked = true;
  out.missing = {described.object, described.offset_bytes, c.sender};
  return Poll::blocked;
}

Poll Stack::poll_data(uint32_t index, const Plan& planned, SegmentOut& out) {
  Connection& c = connections_[index];
  const StreamOffset begin = planned.range.begin;
  const StreamOffset end = c.sender == none ? begin : senders_[c.sender].queue.end();
  const auto bytes =
      static_cast<uint32_t>(std::min(planned.range.end, std::max(end, begin)) - begin);
  if (bytes > 0) {
    const Poll found = describe(c, planned, bytes, out);
    if (found != Poll::segment) return found;
  }
  const StreamOffset data_end = begin + out.payload_length;
  if (planned.path_probe && data_end == planned.range.end) {
    out.segment_size = static_cast<uint16_t>(bytes);
    note_path_probe(c, planned, planned.range);
  } else if (planned.kind == Plan::Kind::again && c.mss < c.mss_max && c.sender != none) {
    note_path_probe(c, planned, {begin, data_end});
  }
  const bool fin = planned.range.end > end && data_end >= end;
  uint8_t flags = flag::ack;
  if (out.payload_length > 0 && data_end == end) flags |= flag::psh;
  if (fin) flags |= flag::fin;
  if (c.ecn && out.payload_length > 0 && planned.kind == Plan::Kind::fresh) {
    // RFC 3168 section 6.1.5: new data only, not what is sent again.
    out.ecn = wire::ecn_capable_0;
    if (senders_[c.sender].congestion.cwr_due()) {
      flags |= flag::cwr;
      senders_[c.sender].congestion.on_cwr_sent();
    }
  }
  const HeaderOut header = header_for(c, begin, flags);
  out.header_length = emit_header(header, out.header.data());
  note_sent(c, planned, {begin, data_end + (fin ? 1 : 0)});
  return Poll::segment;
}

void Stack::note_sent(Connection& c, const Plan& planned, const StreamRange& sent) {
  const auto length = static_cast<uint32_t>(sent.end - sent.begin);
  const bool fresh = planned.kind == Plan::Kind::fresh;
  c.sent_ms = std::max(now_ms(), 1u);  // 0: never
  if (fresh) {
    if (c.in_flight == 0 && c.sender != none) senders_[c.sender].progress_ms = now_ms();
    c.in_flight += length;
    const StreamOffset data_end = c.sender == none ? sent.begin : senders_[c.sender].queue.end();
    if (sent.end > data_end) c.fin_sent = true;
    if (c.sender != none && fills_window(c, senders_[c.sender].congestion)) {
      senders_[c.sender].limited_to = low_half(c.snd_nxt());
    }
  } else {
    if (c.retransmissions < UINT16_MAX) ++c.retransmissions;
    counters_.add(Counter::tcp_retransmitted_segments);
    counters_.add(Counter::tcp_retransmitted_bytes, length);
  }
  if (c.sender == none) {
    if (c.send_timer == SendTimer::none) arm_send_timer(c);
    return;
  }
  Sender& sender = senders_[c.sender];
  sender.override_due = false;
  if (!fresh) count_again(sender, planned.probe);
  if (!sender.recovery.on_sent(
          recovery_pools_, now_, flight(c),
          {.range = sent, .again = !fresh, .probe = planned.probe, .clock_ms = now_ms()})) {
    counters_.add(Counter::tcp_sent_runs_exhausted);
  }
  sender.pacer.on_sent(now_, {.bytes = length, .rate = sender.congestion.pacing_rate()});
  if (planned.probe) {
    sender.probe_due = false;
    c.rtt.on_tail_probe();
    counters_.add(Counter::tcp_tail_probes);
  }
  // RFC 6298 section 5.1: start the timer if it is not running; RFC 8985 section 7.2: a probe is
  // counted from the last transmission.
  const bool running =
      c.send_timer == SendTimer::retransmit || c.send_timer == SendTimer::reordering;
  if (!running || planned.probe) arm_send_timer(c);
}

void Stack::count_again(Sender& sender, bool probe) {
  if (probe) {
    if (sender.again.probes < UINT16_MAX) ++sender.again.probes;
  } else if (sender.recovery.mode() == RecoveryMode::fast) {
    ++sender.again.after_loss;
    counters_.add(Counter::tcp_retransmitted_after_loss);
  } else {
    if (sender.again.after_timeout < UINT16_MAX) ++sender.again.after_timeout;
    counters_.add(Counter::tcp_retransmitted_after_timeout);
  }
}

uint32_t Stack::window_max(const Connection& c) const {
  return c.buffer == none ? receive_buffer_bytes : buffers_[c.buffer].window_max();
}

// RFC 9293 section 3.8.6.2.2: the window moves on by a segment at least, or by half the buffer.
void Stack::advance_window(Connection& c) {
  const SeqNumber edge = wrap(c.irs, c.rcv_nxt) + window_max(c);
  const uint32_t step = std::min<uint32_t>(receive_buffer_bytes / 2, link_mss(c.flow));
  if (edge - c.rcv_edge >= static_cast<int32_t>(step)) c.rcv_edge = edge;
}

// A header with everything that we have to say to the peer now; so no ACK is due any more.
HeaderOut Stack::header_for(Connection& c, StreamOffset at, uint8_t flags) {
  advance_window(c);
  const SeqNumber ack = wrap(c.irs, c.rcv_nxt);
  c.last_ack_sent = ack;
  c.ack_now = false;
  c.ack_delayed = false;
  return {.local_port = c.flow.local_port,
          .remote_port = c.flow.remote_port,
          .seq = wrap(c.iss, at),
          .ack = ack,
          .flags = static_cast<uint8_t>(flags | (c.ece_due ? flag::ece : 0)),
          .window = static_cast<uint16_t>(std::min<uint32_t>(c.rcv_window(), 65'535)),
          .timestamps = c.timestamps,
          .ts_value = now_ms() + c.ts_offset,
          .ts_echo = c.ts_recent};
}

void Stack::emit_lone(Connection& c, StreamOffset at, uint8_t flags, SegmentOut& out) {
  out.header_length = emit_header(header_for(c, at, flags), out.header.data());
}

// Is there more to say than a plain ACK? Data segments say it only in plain: their length is that
// of a header with timestamps.
bool Stack::reports_sack(uint32_t index) const {
  const Connection& c = connections_[index];
  if (!c.sack_permitted) return false;
  if (duplicates_[index % duplicates_.size()].connection == index) return true;
  return c.buffer != none && !buffers_[c.buffer].reassembler.is_empty();
}

void Stack::emit_ack(uint32_t index, SegmentOut& out) {
  Connection& c = connections_[index];
  const bool with_sack = reports_sack(index);
  const HeaderOut header = header_for(c, c.snd_nxt(), flag::ack);
  if (!with_sack) {
    out.header_length = emit_header(header, out.header.data());
    return;
  }
  wire::TcpOptions options{.has_timestamps = header.timestamps,
                           .timestamp_value = header.ts_value,
                           .timestamp_echo = header.ts_echo};
  // RFC 2018 section 3: three blocks fit beside timestamps.
  const size_t limit = c.timestamps ? 3 : 4;
  Duplicate& duplicate = duplicates_[index % duplicates_.size()];
  Reassembler::SackBlocks blocks;
  const StreamRange twice = duplicate.connection == index ? duplicate.range : StreamRange{};
  if (c.buffer != none) {
    blocks = buffers_[c.buffer].reassembler.sack_blocks(limit, twice);
  } else {
    static_cast<void>(blocks.push_back(twice));
  }
  if (duplicate.connection == index) duplicate = {};
  for (const StreamRange& block : blocks) {
    static_cast<void>(
        options.sack.push_back({wrap(c.irs, block.begin).value(), wrap(c.irs, block.end).value()}));
  }
  const wire::TcpHeader fixed{.source_port = header.local_port,
                              .destination_port = header.remote_port,
                              .sequence = header.seq.value(),
                              .acknowledgment = header.ack.value(),
                              .flags = header.flags,
                              .window = header.window};
  out.header_length =
      static_cast<uint8_t>(wire::emit_tcp(fixed, options, {out.header.data(), out.header.size()}));
}

namespace {

// What a SYN-ACK says beside what both sides agreed on.
struct SynAckOptions {
  uint16_t mss = 0;  // what the peer may send
  Bytes cookie;      // of Fast Open; empty: none
};

void write_syn_ack(const HeaderOut& header, const Handshake& offered, const SynAckOptions& more,
                   SegmentOut& out) {
  const wire::TcpHeader fixed{.source_port = header.local_port,
                              .destination_port = header.remote_port,
                              .sequence = header.seq.value(),
                              .acknowledgment = header.ack.value(),
                              .flags = header.flags,
                              .window = header.window};
  wire::TcpOptions options{.has_mss = true,
                           .has_window_scale = offered.window_scale != Handshake::no_window_scale,
                           .sack_permitted = offered.sack_permitted,
                           .has_timestamps = header.timestamps,
                           .window_scale = 0,  // receive_buffer_bytes needs none
                           .mss = more.mss,
                           .timestamp_value = header.ts_value,
                           .timestamp_echo = header.ts_echo};
  if (!more.cookie.empty()) {
    options.has_fast_open = true;
    options.fast_open_length = static_cast<uint8_t>(more.cookie.size());
    std::copy(more.cookie.begin(), more.cookie.end(), options.fast_open_cookie.begin());
  }
  out.header_length =
      static_cast<uint8_t>(wire::emit_tcp(fixed, options, {out.header.data(), out.header.size()}));
}

}  // namespace

void Stack::emit_syn_ack(Connection& c, SegmentOut& out) {
  c.resend_due = false;
  if (c.last_ack_sent != c.irs) {
    if (c.retransmissions < UINT16_MAX) ++c.retransmissions;
    counters_.add(Counter::tcp_syn_ack_retransmitted);
  }
  if (c.state == State::syn_received) c.in_flight = 1;
  const HeaderOut header = header_for(c, StreamOffset(0), syn_ack_flags(c.ecn));
  const Handshake offered{
      .window_scale = c.window_scaling ? uint8_t{0} : Handshake::no_window_scale,
      .sack_permitted = c.sack_permitted};
  const FastOpen::Cookie cookie =
      c.give_cookie ? fast_open_.make(now_, c.flow.remote) : FastOpen::Cookie{};
  write_syn_ack(header, offered,
                {.mss = link_mss(c.flow), .cookie = c.give_cookie ? Bytes(cookie) : Bytes()}, out);
  set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
}

bool Stack::poll_reply(SegmentOut& out, Flow& flow) {
  Reply reply;
  if (!replies_.pop(reply)) return false;
  out.ecn = wire::ecn_not_capable;
  flow = reply.flow;
  out.payload.clear();
  out.payload_length = 0;
  out.segment_size = 0;
  if ((reply.header.flags & flag::syn) != 0) {
    write_syn_ack(reply.header, reply.offered, {.mss = link_mss(flow), .cookie = {}}, out);
  } else {
    out.header_length = emit_header(reply.header, out.header.data());
  }
  counters_.add(Counter::tcp_segments_sent);
  if ((reply.header.flags & flag::rst) != 0) counters_.add(Counter::tcp_resets_sent);
  return true;
}

}  // namespace sluice::tcp
