// How a connection begins: RFC 9293 section 3.10.7.2 (LISTEN) and section 3.10.7.4, fifth step, in
// SYN-RECEIVED; RFC 4987 (many SYNs).
#include <algorithm>

#include "base/assert.h"
#include "tcp/isn.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

namespace {

// A segment size below this makes a server spend a packet on every few bytes. As Linux's
// TCP_MIN_MSS.
constexpr uint16_t mss_min = 88;
// RFC 9293 section 3.7.1: without an MSS option.
constexpr uint16_t mss_default_v4 = 536;
constexpr uint16_t mss_default_v6 = 1220;

// RFC 7323 section 2.3: a shift count above 14 is to be taken as 14.
constexpr uint8_t window_scale_max = 14;

}  // namespace

// What a SYN asks for. Requires: its options were parsed last.
Handshake Stack::read_handshake(const Flow& flow, const Segment& syn) const {
  const wire::TcpOptions none_given;
  const wire::TcpOptions& options = syn.options.empty() ? none_given : options_;
  Handshake asked{.mss = flow.remote.is_v4() ? mss_default_v4 : mss_default_v6,
                  .sack_permitted = options.sack_permitted,
                  .timestamps = syn.has_timestamps};
  // RFC 3168 section 6.1.1: an ECN-setup SYN has both flags.
  asked.ecn = config_.ecn && syn.has(flag::ece) && syn.has(flag::cwr);
  if (options.has_mss) asked.mss = std::max(options.mss, mss_min);
  if (options.has_window_scale) {
    asked.window_scale = std::min(options.window_scale, window_scale_max);
  }
  return asked;
}

// Section 3.10.7.2, LISTEN.
Received Stack::handle_syn(const Flow& flow, const Segment& segment, const SeqNumber* iss_above) {
  if (segment.has(flag::fin)) {
    counters_.add(Counter::tcp_drop_flags);
    return {};
  }
  if (std::find(config_.ports.begin(), config_.ports.end(), flow.local_port) ==
      config_.ports.end()) {
    counters_.add(Counter::tcp_refused_port);
    reply_reset(flow, segment);
    return {};
  }
  counters_.add(Counter::tcp_syn_received);
  if (!accepting_) {
    counters_.add(Counter::tcp_refused_draining);
    reply_reset(flow, segment);
    return {};
  }
  const bool full = connection_pool_.available() == 0;
  if (full) shed_stalled(ConnectionIndex::none());  // the place is free once that is told
  if (full && half_open_.oldest() == none) {
    counters_.add(Counter::tcp_drop_connections_full);
    return {};
  }
  if (!sources_.allows_connection(flow.remote)) {
    counters_.add(Counter::tcp_drop_source_connections);
    return {};
  }
  const FastOpenPlan fast = plan_fast_open(flow, segment);
  if (fast.accept) {
    const uint32_t index = connection_pool_.take();
    open(index, flow, segment, iss_above);
    connections_[index].give_cookie = fast.give_cookie;
    return open_fast(index, segment);
  }
  const bool crowded = !sources_.allows_half_open(flow.remote);
  if (crowded) counters_.add(Counter::tcp_source_half_open_limited);
  const bool pressed = cookies_wanted();
  // A flow that was in TIME-WAIT needs a number above the old ones, which no cookie can have; it is
  // not how a flood looks.
  if (iss_above == nullptr && (pressed || crowded || full || half_open_.full())) {
    reply_cookie(flow, segment);
    return {};
  }
  if (full || half_open_.full()) {
    counters_.add(Counter::tcp_half_open_recycled);
    end(half_open_.oldest(), CloseReason::none);
  }
  const uint32_t index = connection_pool_.take();
  open(index, flow, segment, iss_above);
  Connection& c = connections_[index];
  c.give_cookie = fast.give_cookie;
  c.deadline_ms = half_open_.add(index);
  sources_.open_half(flow.remote);
  return {};
}

// What every connection begins with.
void Stack::begin(uint32_t index, const Flow& flow, SeqNumber irs, const Handshake& agreed) {
  Connection& c = connections_[index];
  c = Connection{};
  c.flow = flow;
  c.state = State::syn_received;
  c.irs = irs;
  c.rcv_nxt = StreamOffset(1);
  c.last_ack_sent = irs;  // nothing yet
  c.rcv_edge = irs + 1 + receive_buffer_bytes;
  c.heard_ms = now_ms();
  c.sack_permitted = agreed.sack_permitted;
  c.ecn = agreed.ecn;
  if (agreed.window_scale != Handshake::no_window_scale) {
    c.snd_wscale = agreed.window_scale;
    c.window_scaling = true;
  }
  c.mss = std::min(agreed.mss, link_mss(flow));
  if (agreed.timestamps) {
    c.timestamps = true;
    c.ts_offset = timestamp_offset(hash_of(flow));
    c.mss = static_cast<uint16_t>(c.mss - timestamps_bytes);
  }
  c.mss_max = c.mss;
  c.mss_high = c.mss;
  recall_path(c);
  c.congestion = CongestionMemory::fresh(config_.congestion, c.mss);
  table_.insert(hash_of(flow), index);
  sources_.open(flow.remote);
}

void Stack::open(uint32_t index, const Flow& flow, const Segment& syn, const SeqNumber* iss_above) {
  begin(index, flow, syn.seq, read_handshake(flow, syn));
  Connection& c = connections_[index];
  c.iss = initial_seq_number(config_.key, hash_of(flow), now_);
  if (iss_above != nullptr && c.iss < *iss_above) c.iss = *iss_above;
  c.snd_wnd = syn.window;
  c.snd_wl1 = syn.seq;
  c.ts_recent = syn.ts_value;
  c.resend_due = true;
  // Runs although the SYN-ACK may have to wait for the neighbour: so ends what never leaves.
  set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
  refresh(index);
}

// Cookies: RFC 4987 section 3.6.

bool Stack::cookies_wanted() {
  const bool before = cookies_.active();
  const bool wanted = cookies_.wanted(now_, half_open_.size(), half_open_.capacity());
  if (wanted && !before) counters_.add(Counter::tcp_syn_cookies_entered);
  if (!wanted && before) counters_.add(Counter::tcp_syn_cookies_left);
  if (wanted != before) counters_.set(Counter::tcp_syn_cookies_active, wanted ? 1 : 0);
  return wanted;
}

void Stack::reply_cookie(const Flow& flow, const Segment& syn) {
  const SynCookies::Made made =
      cookies_.make(now_, hash_of(flow), syn.seq, read_handshake(flow, syn));
  HeaderOut header{.local_port = flow.local_port,
                   .remote_port = flow.remote_port,
                   .seq = made.iss,
                   .ack = syn.seq + 1,
                   .flags = syn_ack_flags(made.agreed.ecn),
                   .window = static_cast<uint16_t>(receive_buffer_bytes)};
  if (made.agreed.timestamps) {
    const uint32_t offset = timestamp_offset(hash_of(flow));
    header.timestamps = true;
    header.ts_value = SynCookies::timestamp(now_ms(), made.timestamp_low) + offset;
    header.ts_echo = syn.ts_value;
  }
  if (replies_.push({flow, header, made.agreed})) {
    counters_.add(Counter::tcp_syn_cookies_sent);
  } else {
    counters_.add(Counter::tcp_replies_dropped);
  }
}

bool Stack::check_cookie(const Flow& flow, const Segment& segment, Handshake& out) {
  SynCookies::Ack ack{
      .irs = segment.seq - 1, .iss = segment.ack - 1, .timestamps = segment.has_timestamps};
  if (ack.timestamps) ack.echo = segment.ts_echo - timestamp_offset(hash_of(flow));
  return cookies_.check(now_, hash_of(flow), ack, out);
}

// A SYN was answered with a cookie, and once more when cookies had just ended; the peer goes by the
// first answer.
bool Stack::answers_cookie(uint32_t index, const Segment& segment) {
  const Connection& c = connections_[index];
  Handshake agreed;
  return c.state == State::syn_received && segment.has(flag::ack) && segment.ack != c.iss + 1 &&
         !segment.has(flag::syn | flag::rst) && cookies_.outstanding(now_) &&
         check_cookie(c.flow, segment, agreed);
}

// Is this the third packet of a handshake that we did not remember? Then there is a connection now,
// or there cannot be one. Returns its index, or none.
uint32_t Stack::accept_cookie(const Flow& flow, const Segment& segment) {
  Handshake agreed;
  if (!check_cookie(flow, segment, agreed)) {
    counters_.add(Counter::tcp_syn_cookies_bad);
    return none;
  }
  cookies_.note_accepted();
  if (!sources_.allows_connection(flow.remote)) {
    counters_.add(Counter::tcp_drop_source_connections);
    return none;
  }
  if (connection_pool_.available() == 0 && half_open_.oldest() != none) {
    // This peer has shown that it is there; that one has not.
    counters_.add(Counter::tcp_half_open_recycled);
    end(half_open_.oldest(), CloseReason::none);
  }
  const uint32_t index = connection_pool_.take();
  if (index == none) {
    counters_.add(Counter::tcp_drop_connections_full);
    return none;
  }
  counters_.add(Counter::tcp_syn_cookies_accepted);
  begin(index, flow, segment.seq - 1, agreed);
  Connection& c = connections_[index];
  c.iss = segment.ack - 1;
  c.last_ack_sent = c.irs + 1;
  c.ts_recent = segment.ts_value;
  become_established(index, segment);
  return index;
}

// The third packet.

// Fifth, SYN-RECEIVED. Returns false when the segment is done with.
bool Stack::establish(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  if (segment.ack != c.iss + 1 || c.in_flight == 0) {
    // Also when our SYN-ACK has not left yet: nobody can acknowledge it.
    counters_.add(Counter::tcp_refused_unknown);
    reply_reset(c.flow, segment);
    refresh(index);
    return false;
  }
  // The timer was set when the SYN-ACK left. Sent once only: RFC 6298 section 3.
  if (c.retransmissions == 0) {
    c.rtt.add_sample(std::max(now_ - (c.send_deadline - c.rtt.rto()), Duration::from_us(1)));
  } else {
    c.rtt.clear_back_off();
    if (c.probes > 0) c.rtt.note_lost_syn();
    // RFC 5681 section 3.1: the initial window is one segment then; RFC 6928 section 2: but not for
    // one SYN-ACK that came again after a second, which a long path is slower than.
    if (c.probes > 1) c.congestion.cwnd = c.mss;
  }
  leave_half_open(c);
  become_established(index, segment);
  return true;
}

void Stack::become_established(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  c.state = State::established;
  c.snd_una = StreamOffset(1);
  c.in_flight = 0;
  c.probes = 0;
  c.resend_due = false;
  c.send_timer = SendTimer::none;
  c.send_deadline = Instant::never();
  c.snd_wnd = segment.window << c.snd_wscale;
  c.snd_wl1 = segment.seq;
  counters_.add(Counter::tcp_accepted);
  if (c.ecn) counters_.add(Counter::tcp_ecn_agreed);
  add_event(index, EventKind::accepted);
}

}  // namespace sluice::tcp
