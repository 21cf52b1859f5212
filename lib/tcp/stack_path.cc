// What the path carries: RFC 1191, RFC 8201 (what routers say).
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;

namespace {

// A smaller path MTU than this is not believed. IPv4: as Linux's min_pmtu; IPv6: RFC 8200
// section 5.
constexpr uint16_t path_mtu_min_v4 = 552;
constexpr uint16_t path_mtu_min_v6 = 1280;

}  // namespace

void Stack::handle_path_mtu(Instant now, const inet::PathMtu& in) {
  now_ = std::max(now_, now);
  settle();
  if (in.quoted_tcp.size() < 8) return;
  const Flow flow{.remote = in.remote,
                  .remote_port = load_be16(in.quoted_tcp.data() + 2),
                  .local_port = load_be16(in.quoted_tcp.data()),
                  .local = in.local};
  const SeqNumber quoted(load_be32(in.quoted_tcp.data() + 4));
  const uint32_t index = find(flow);
  bool obeyed = false;
  if (index != none && connections_[index].sender != none) {
    Connection& c = connections_[index];
    const int32_t into = quoted - wrap(c.iss, c.snd_una);
    const uint16_t headers = in.remote.is_v4() ? 40 : 60;
    const uint16_t mtu = std::max(in.mtu, in.remote.is_v4() ? path_mtu_min_v4 : path_mtu_min_v6);
    const auto mss = static_cast<uint16_t>(mtu - headers - (c.timestamps ? timestamps_bytes : 0));
    if (into >= 0 && static_cast<uint32_t>(into) < c.in_flight && mss < c.mss) {
      obeyed = true;
      c.mss = mss;
      Sender& sender = senders_[c.sender];
      sender.congestion.set_mss(mss);
      sender.recovery.on_mtu_reduced(flight(c));
      sender.marks.clear();
      set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
      refresh(index);
    }
  }
  counters_.add(obeyed ? Counter::tcp_path_mtu_reduced : Counter::tcp_path_mtu_ignored);
}

}  // namespace sluice::tcp
