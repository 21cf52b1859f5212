// Connection: what is kept of every connection, idle or not. The rest is taken from pools while it
// is needed: a Sender (tcp/sender.h) while something is unacknowledged, a receive buffer while
// bytes wait.
//
// Read first: RFC 9293 section 3.3.1 (the names). Offsets count from the initial sequence numbers
// (tcp/seq_number.h); 32-bit fields that hold the low half of one say so.
//
// Invariants:
//   snd_una <= snd_nxt() <= snd_una + 2^30 + 1; no sender: only a SYN or FIN may be outstanding
//   the wheel's deadline for a connection is never later than its earliest own deadline
#pragma once

#include <cstdint>

#include "base/index_pool.h"
#include "base/time.h"
#include "inet/neighbors.h"
#include "tcp/congestion_control.h"
#include "tcp/flow.h"
#include "tcp/rtt_estimator.h"
#include "tcp/seq_number.h"
#include "tcp/state.h"

namespace sluice::tcp {

/// What `send_deadline` is for. One at a time, as RFC 9293 section 3.8.6.1 and RFC 8985 section 7.2
/// have it.
enum class SendTimer : uint8_t {
  none,
  retransmit,  // RFC 6298
  tail_probe,  // RFC 8985 section 7
  reordering,  // RFC 8985 section 6.2: what was overtaken may be lost
  persist,     // the window is closed, or too small to be worth using: RFC 9293 section 3.8.6.1
  fin_wait_2,  // our FIN is acknowledged, the peer's is awaited
};

struct Connection {
  static constexpr uint32_t none = IndexPool::none;

  Flow flow;
  inet::PathRef path;

  // Both directions' positions.
  StreamOffset snd_una;
  StreamOffset rcv_nxt;
  uint32_t in_flight = 0;  // SND.NXT - SND.UNA
  uint32_t snd_wnd = 0;    // scaled
  SeqNumber iss;
  SeqNumber irs;
  SeqNumber snd_wl1;        // sequence number of the last window update
  SeqNumber last_ack_sent;  // RFC 7323 section 4.3
  SeqNumber rcv_edge;       // behind the window as advertised: it never moves left
  uint32_t ts_recent = 0;
  uint32_t ts_offset = 0;
  uint32_t ack_deadline_ms = 0;  // with ack_delayed

  CongestionMemory congestion;  // while there is no sender; then it is the Sender's
  RttEstimator rtt;

  Instant send_deadline = Instant::never();  // of send_timer
  uint32_t wheel_tick = 0;     // low half: with in_wheel, when the wheel brings it back
  uint32_t heard_ms = 0;       // the last acceptable segment came
  uint32_t sent_ms = 0;        // the last data or FIN went out
  uint32_t challenged_ms = 0;  // the last challenge ACK went out

  uint32_t sender = none;  // Sender
  uint32_t buffer = none;  // receive buffer
  uint32_t deadline_ms =
      0;  // with `timed`: the session's; in SYN-RECEIVED the half-open list's entry
  uint32_t line_next = none;  // the senders' line, or the parked ones
  uint32_t line_previous = none;
  uint32_t event_next = none;

  uint16_t mss = 0;       // payload bytes per segment, options taken off
  uint16_t mss_max = 0;   // what both ends take
  uint16_t mss_high = 0;  // mss <= mss_high <= mss_max: the largest that the path may carry
  uint16_t retransmissions = 0;
  uint8_t probes = 0;  // keep-alive or window probes unanswered; SYN-ACKs sent again
  State state : 4 = State::closed;
  SendTimer send_timer : 4 = SendTimer::none;
  uint8_t snd_wscale = 0;
  uint8_t events = 0;  // bits by EventKind
  uint8_t close_reason : 3 = 0;
  uint8_t path_memory : 5 = 0;  // LossRecovery::path_memory() of the last sender

  bool sack_permitted : 1 = false;
  bool timestamps : 1 = false;
  bool window_scaling : 1 = false;
  bool fin_sent : 1 = false;
  bool ecn : 1 = false;      // agreed on: RFC 3168 section 6.1.1
  bool ece_due : 1 = false;  // a mark came: every ACK says so, until CWR comes
  bool ack_now : 1 = false;
  bool ack_delayed : 1 = false;
  bool probe_due : 1 = false;   // a segment below SND.UNA, to be answered with an ACK
  bool resend_due : 1 = false;  // the SYN-ACK, or a FIN that is outstanding alone, is due
  bool blocked : 1 = false;     // content is missing
  bool parked : 1 = false;      // the next hop is not known
  bool timed : 1 = false;       // the session has a deadline
  bool in_wheel : 1 = false;
  bool fast_open : 1 = false;    // data came with the SYN, and the third packet has not come yet
  bool give_cookie : 1 = false;  // the SYN-ACK carries a Fast Open cookie
  bool in_line : 1 = false;      // in the senders' line or the parked one
  bool event_queued : 1 = false;
  bool sender_wanted : 1 = false;  // was refused a Sender, and is to be told when one is free
  bool window_wanted : 1 = false;  // output stopped at the peer's window with nothing in flight

  [[nodiscard]] StreamOffset snd_nxt() const { return snd_una + in_flight; }
  [[nodiscard]] uint32_t rcv_window() const {
    const int32_t room = rcv_edge - wrap(irs, rcv_nxt);
    return room > 0 ? static_cast<uint32_t>(room) : 0;
  }
};
// Beside it: its share of the table (16 bytes), of the wheel (16) and of the pool (4).
static_assert(sizeof(Connection) <= 192);

}  // namespace sluice::tcp
