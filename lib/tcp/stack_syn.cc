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

// Section 3.10.7.2, LISTEN.
void Stack::handle_syn(const Flow& flow, const Segment& segment, const SeqNumber* iss_above) {
  if (segment.has(flag::fin)) {
    counters_.add(Counter::tcp_drop_flags);
    return;
  }
  if (std::find(config_.ports.begin(), config_.ports.end(), flow.local_port) ==
      config_.ports.end()) {
    counters_.add(Counter::tcp_refused_port);
    reply_reset(flow, segment);
    return;
  }
  counters_.add(Counter::tcp_syn_received);
  if (!accepting_) {
    counters_.add(Counter::tcp_refused_draining);
    reply_reset(flow, segment);
    return;
  }
  const bool full = connection_pool_.available() == 0;
  if (half_open_.full() || (full && half_open_.oldest() != none)) {
    counters_.add(Counter::tcp_half_open_recycled);
    end(half_open_.oldest(), CloseReason::none);
  } else if (full) {
    counters_.add(Counter::tcp_drop_connections_full);
    return;
  }
  open(connection_pool_.take(), flow, segment, iss_above);
}

void Stack::open(uint32_t index, const Flow& flow, const Segment& syn, const SeqNumber* iss_above) {
  const wire::TcpOptions none_given;
  const wire::TcpOptions& options = syn.options.empty() ? none_given : options_;
  Connection& c = connections_[index];
  c = Connection{};
  c.flow = flow;
  c.state = State::syn_received;
  c.irs = syn.seq;
  c.rcv_nxt = StreamOffset(1);
  c.last_ack_sent = c.irs + 1;
  c.rcv_edge = c.irs + 1 + receive_buffer_bytes;
  c.iss = initial_seq_number(config_.key, flow, now_);
  if (iss_above != nullptr && c.iss < *iss_above) c.iss = *iss_above;
  c.snd_wnd = syn.window;
  c.snd_wl1 = syn.seq;
  c.heard_ms = now_ms();

  c.sack_permitted = options.sack_permitted;
  if (options.has_window_scale) {
    c.snd_wscale = std::min(options.window_scale, window_scale_max);
    c.window_scaling = true;
  }
  if (syn.has_timestamps) {
    c.timestamps = true;
    c.ts_recent = syn.ts_value;
    c.ts_offset = timestamp_offset(config_.key, flow);
  }
  uint16_t peer_mss = flow.remote.is_v4() ? mss_default_v4 : mss_default_v6;
  if (options.has_mss) peer_mss = std::max(options.mss, mss_min);
  c.mss = std::min(peer_mss, link_mss(flow));
  if (c.timestamps) c.mss = static_cast<uint16_t>(c.mss - timestamps_bytes);
  c.congestion = CongestionControl(config_.congestion, c.mss);

  table_.insert(flow_hash(config_.key, flow), index);
  c.session = half_open_.add(index);
  c.resend_due = true;
  // Runs although the SYN-ACK may have to wait for the neighbour: so ends what never leaves.
  set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
  refresh(index);
}

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
  }
  leave_half_open(c);
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
  add_event(index, EventKind::accepted);
  return true;
}

}  // namespace sluice::tcp
