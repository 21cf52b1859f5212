// What the path carries: RFC 1191, RFC 8201 (what routers say), RFC 4821 (what is found out without
// them; tcp/path_search.h).
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
    const uint16_t mtu = std::max(in.mtu, in.remote.is_v4() ? path_mtu_min_v4 : path_mtu_min_v6);
    const auto mss = static_cast<uint16_t>(mtu - headers_of(c));
    const bool in_flight = into >= 0 && static_cast<uint32_t>(into) < c.in_flight;
    if (in_flight && mss >= c.mss && mss < c.mss_high) {
      obeyed = true;  // it speaks of a probe, which is lost and will be found so
      c.mss_high = mss;
    } else if (in_flight && mss < c.mss) {
      obeyed = true;
      Sender& sender = senders_[c.sender];
      set_mss(c, mss);
      c.mss_high = mss;
      learn_path(c);
      sender.path.probe_mss = 0;
      sender.path.again_ms = now_ms() + static_cast<uint32_t>(PathSearch::raise_after.ms());
      sender.recovery.on_mtu_reduced(recovery_pools_, flight(c));
      set_send_timer(c, SendTimer::retransmit, c.rtt.rto());
      refresh(index);
    }
  }
  counters_.add(obeyed ? Counter::tcp_path_mtu_reduced : Counter::tcp_path_mtu_ignored);
}

// Of IP and TCP, with the options that every segment has.
uint16_t Stack::headers_of(const Connection& c) {
  return static_cast<uint16_t>((c.flow.remote.is_v4() ? 40 : 60) +
                               (c.timestamps ? timestamps_bytes : 0));
}

// For the connections that come after this one.
void Stack::learn_path(const Connection& c) {
  if (c.mss >= c.mss_max) {
    path_mtus_.forget(c.flow.remote);
  } else {
    path_mtus_.learn(now_, c.flow.remote, static_cast<uint16_t>(c.mss + headers_of(c)));
  }
}

// What others have learnt, before the first segment of a response leaves. RFC 8201 section 5.2.
void Stack::recall_path(Connection& c) {
  if (path_mtus_.empty()) return;
  const uint16_t mtu = path_mtus_.find(now_, c.flow.remote);
  if (mtu == 0 || mtu - headers_of(c) >= c.mss) return;
  c.mss = c.mss_high = static_cast<uint16_t>(mtu - headers_of(c));
  counters_.add(Counter::tcp_path_mtu_recalled);
}

// Requires: a sender.
void Stack::set_mss(Connection& c, uint16_t mss) {
  c.mss = mss;
  Sender& sender = senders_[c.sender];
  sender.congestion.set_mss(mss);
  // A train is a segment at least: one that was shorter would never leave.
  sender.pacer.set_train(sender.congestion.send_quantum());
}

// A large segment timed out once more. Smaller ones may come through.
void Stack::suspect_black_hole(Connection& c, uint32_t timeouts) {
  const uint16_t smaller = PathSearch::next_smaller(
      c.mss, {.headers = headers_of(c), .timeouts = timeouts, .is_v4 = c.flow.remote.is_v4()});
  if (smaller == 0 || c.in_flight <= smaller) return;
  set_mss(c, smaller);
  senders_[c.sender].path.lowered = true;
  senders_[c.sender].path.probe_mss = 0;
}

// The size of a segment to try the path with, or 0. `limit`: what may be sent now.
uint32_t Stack::larger_segment(Connection& c, const Sender& sender, uint64_t available,
                               uint32_t limit) const {
  if (c.mss >= c.mss_max) return 0;
  const PathSearch& path = sender.path;
  const bool early = static_cast<int32_t>(now_ms() - path.again_ms) < 0;
  if (early || path.probe_mss != 0 || path.lowered ||
      sender.recovery.mode() != RecoveryMode::open) {
    return 0;
  }
  if (c.mss >= c.mss_high) c.mss_high = c.mss_max;  // long ago: RFC 8899 section 5.2
  const uint16_t size = PathSearch::next_larger(c.mss, c.mss_high, c.mss_max);
  const uint64_t needed = size + uint64_t{c.mss} * PathSearch::segments_behind;
  return available >= needed && limit >= needed ? size : 0;
}

void Stack::note_path_probe(Connection& c, const Plan& planned, const StreamRange& sent) {
  PathSearch& path = senders_[c.sender].path;
  if (planned.kind == Plan::Kind::fresh) {
    counters_.add(Counter::tcp_path_probes);
    path.probe_begin = static_cast<uint32_t>(sent.begin.value());
    path.probe_end = static_cast<uint32_t>(sent.end.value());
    path.probe_mss = static_cast<uint16_t>(sent.end - sent.begin);
    return;
  }
  // Sent again: is it the probe?
  const auto begin = static_cast<uint32_t>(sent.begin.value());
  const auto end = static_cast<uint32_t>(sent.end.value());
  const bool apart = static_cast<int32_t>(end - path.probe_begin) <= 0 ||
                     static_cast<int32_t>(path.probe_end - begin) <= 0;
  if (path.probe_mss == 0 || apart) return;
  counters_.add(Counter::tcp_path_probes_lost);
  c.mss_high = std::min(c.mss_high, static_cast<uint16_t>(path.probe_mss - 1));
  path.probe_mss = 0;
  end_search_if_close(c);
  // RFC 4821 section 7.6.1: the loss of a probe is no sign of congestion.
  if (senders_[c.sender].recovery.mode() == RecoveryMode::fast) {
    Sender& sender = senders_[c.sender];
    sender.recovery.undo_window(recovery_pools_, now_, sender.congestion);
  }
}

// Something was acknowledged. Requires: a sender.
void Stack::judge_path(Connection& c) {
  PathSearch& path = senders_[c.sender].path;
  if (path.lowered) {
    counters_.add(Counter::tcp_path_black_holes);
    path.lowered = false;
    path.again_ms = now_ms();
    learn_path(c);
  }
  const auto una = static_cast<uint32_t>(c.snd_una.value());
  if (path.probe_mss == 0 || static_cast<int32_t>(una - path.probe_end) < 0) return;
  counters_.add(Counter::tcp_path_probes_good);
  set_mss(c, path.probe_mss);
  path.probe_mss = 0;
  learn_path(c);
  end_search_if_close(c);
}

void Stack::end_search_if_close(Connection& c) {
  PathSearch& path = senders_[c.sender].path;
  path.again_ms = now_ms();
  if (PathSearch::next_larger(c.mss, c.mss_high, c.mss_max) > 0) return;
  c.mss_high = c.mss;
  path.again_ms += static_cast<uint32_t>(PathSearch::raise_after.ms());
}

}  // namespace sluice::tcp
