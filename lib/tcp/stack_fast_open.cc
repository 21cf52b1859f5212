// TCP Fast Open, the server's side: RFC 7413. A SYN with a good cookie and data makes a connection
// that the session knows at once; its answer follows the SYN-ACK without waiting for the third
// packet. Until that comes the connection is as good as half-open: the only thing that is sent
// again is the SYN-ACK, and its number is limited.
//
// Data leaves in segments behind the SYN-ACK, never in it: many peers take no data there.
#include <algorithm>

#include "base/assert.h"
#include "tcp/isn.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

// Returns what is to be done with a SYN, as far as Fast Open is concerned.
Stack::FastOpenPlan Stack::plan_fast_open(const Flow& flow, const Segment& syn) {
  const bool offered = !syn.options.empty() && options_.has_fast_open;
  if (!fast_open_.enabled() || !offered) return {};
  if (options_.fast_open_length == 0) {  // it asks for a cookie
    counters_.add(Counter::tcp_fast_open_cookies_given);
    return {.give_cookie = true};
  }
  const Bytes cookie = Bytes(options_.fast_open_cookie).first(options_.fast_open_length);
  const FastOpen::Verdict verdict = fast_open_.check(now_, flow.remote, cookie);
  if (verdict == FastOpen::Verdict::bad) {
    counters_.add(Counter::tcp_fast_open_cookies_bad);
    return {.give_cookie = true};
  }
  const bool renew = verdict == FastOpen::Verdict::good_but_old;
  if (syn.payload.empty()) return {.give_cookie = renew};
  if (connection_pool_.available() == 0 || !fast_open_.begin()) {
    counters_.add(Counter::tcp_fast_open_limited);
    return {.give_cookie = renew};
  }
  return {.give_cookie = renew, .accept = true};
}

Received Stack::open_fast(uint32_t index, const Segment& syn) {
  Connection& c = connections_[index];
  c.fast_open = true;
  c.state = State::established;
  c.snd_una = StreamOffset(1);
  counters_.add(Counter::tcp_accepted);
  counters_.add(Counter::tcp_fast_open_accepted);
  add_event(index, EventKind::accepted);
  Segment data = syn;
  data.seq = syn.seq + 1;
  data.flags = flag::ack;
  receive_payload(index, data, 0);
  refresh(index);
  const ConnectionIndex connection(index);
  return {.connection = connection, .readable = readable(connection)};
}

// The third packet of a handshake that began with data. Requires: its ACK is acceptable.
void Stack::finish_fast_open(Connection& c) {
  c.fast_open = false;
  fast_open_.end();
  c.resend_due = false;
  // As establish(): the timer was set when the SYN-ACK left.
  if (c.retransmissions == 0) {
    c.rtt.add_sample(std::max(now_ - (c.send_deadline - c.rtt.rto()), Duration::from_us(1)));
  } else {
    c.rtt.clear_back_off();
    c.rtt.note_lost_syn();
  }
  c.probes = 0;
  arm_send_timer(c);
}

}  // namespace sluice::tcp
