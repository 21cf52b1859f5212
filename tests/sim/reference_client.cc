#include "reference_client.h"

#include <algorithm>
#include <cstring>

namespace sluice::sim {
namespace {

constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;

uint16_t get16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] << 8 | p[1]);
}
uint32_t get32(const uint8_t* p) {
  return uint32_t{get16(p)} << 16 | get16(p + 2);
}
void put16(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
void put32(uint8_t* p, uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}

uint32_t sum16(const uint8_t* p, size_t n, uint32_t sum) {
  for (size_t i = 0; i + 1 < n; i += 2) {
    sum += get16(p + i);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  if (n % 2 == 1) sum += uint32_t{p[n - 1]} << 8;
  return (sum & 0xffff) + (sum >> 16);
}
uint16_t finish(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}
uint16_t transport_checksum(const uint8_t* ip, bool is_ipv6, uint8_t protocol, const uint8_t* l4,
                            size_t l4_bytes) {
  uint32_t sum = is_ipv6 ? sum16(ip + 8, 32, 0) : sum16(ip + 12, 8, 0);
  sum += protocol + static_cast<uint32_t>(l4_bytes);
  return finish(sum16(l4, l4_bytes, sum));
}

bool after(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b) > 0;
}

struct Parsed {
  const uint8_t* ip = nullptr;
  const uint8_t* tcp = nullptr;
  size_t tcp_bytes = 0;
};

// Returns false when the frame is not TCP from `server` to `self`.
bool parse_tcp(const HostAddress& self, const HostAddress& server, const Frame& frame, Parsed& out,
               std::vector<std::string>& violations) {
  if (frame.size() < 14 + 20) return false;
  const uint16_t type = get16(frame.data() + 12);
  const uint8_t* ip = frame.data() + 14;
  const size_t ip_bytes = frame.size() - 14;
  size_t header = 0, total = 0;
  if (!self.is_ipv6 && type == 0x0800) {
    header = size_t{ip[0] & 15u} * 4;
    total = get16(ip + 2);
    if (ip[9] != 6 || std::memcmp(ip + 12, server.ip.data() + 12, 4) != 0 ||
        std::memcmp(ip + 16, self.ip.data() + 12, 4) != 0) {
      return false;
    }
    if (header < 20 || header > ip_bytes || finish(sum16(ip, header, 0)) != 0) {
      violations.emplace_back("bad IPv4 header");
      return false;
    }
  } else if (self.is_ipv6 && type == 0x86dd && ip_bytes >= 40) {
    header = 40;
    total = 40u + get16(ip + 4);
    if (ip[6] != 6 || std::memcmp(ip + 8, server.ip.data(), 16) != 0 ||
        std::memcmp(ip + 24, self.ip.data(), 16) != 0) {
      return false;
    }
  } else {
    return false;
  }
  if (total > ip_bytes || total < header + 20) {
    violations.emplace_back("bad IP total length");
    return false;
  }
  out = {ip, ip + header, total - header};
  if (transport_checksum(ip, self.is_ipv6, 6, out.tcp, out.tcp_bytes) != 0) {
    violations.emplace_back("bad TCP checksum");
    return false;
  }
  return true;
}

}  // namespace

ReferenceClient::ReferenceClient(const HostAddress& self, const HostAddress& server, uint16_t port,
                                 uint16_t server_port, uint32_t initial_sequence,
                                 const ClientOptions& options)
    : self_(self),
      server_(server),
      port_(port),
      server_port_(server_port),
      options_(options),
      snd_una_(initial_sequence),
      snd_nxt_(initial_sequence) {}

uint32_t ReferenceClient::window() const {
  return unread_ >= options_.window_bytes ? 0 : options_.window_bytes - unread_;
}

void ReferenceClient::emit(uint8_t flags, uint32_t sequence, std::string_view payload) {
  std::array<uint8_t, 40> options{};
  size_t used = 0;
  const auto option = [&](std::initializer_list<uint8_t> bytes) {
    for (const uint8_t byte : bytes) options[used++] = byte;
  };
  const bool is_syn = (flags & syn) != 0;
  if (is_syn) {
    option({2, 4, static_cast<uint8_t>(options_.mss >> 8), static_cast<uint8_t>(options_.mss)});
    option({1, 3, 3, options_.window_scale});
    if (options_.sack) option({1, 1, 4, 2});
  }
  if (is_syn ? options_.timestamps : timestamps_ok_) {
    option({1, 1, 8, 10});
    put32(options.data() + used, static_cast<uint32_t>(now_ns_ / 1'000'000) + 1);
    put32(options.data() + used + 4, ts_recent_);
    used += 8;
  }
  if (sack_ok_ && !out_of_order_.empty() && (flags & ack) != 0) {
    option({1, 1, 5, 0});
    const size_t length_at = used - 1;
    size_t blocks = 0;
    for (auto it = out_of_order_.begin(); it != out_of_order_.end() && blocks < 3; ++blocks) {
      const uint32_t left = it->first;
      uint32_t right = left;
      while (it != out_of_order_.end() && it->first <= right) {
        right = std::max(right, it->first + static_cast<uint32_t>(it->second.size()));
        ++it;
      }
      put32(options.data() + used, stream_start_ + left);
      put32(options.data() + used + 4, stream_start_ + right);
      used += 8;
    }
    options[length_at] = static_cast<uint8_t>(2 + 8 * blocks);
  }
  while (used % 4 != 0) options[used++] = 1;

  const size_t ip_header = self_.is_ipv6 ? 40 : 20;
  Frame frame(14 + ip_header + 20 + used + payload.size());
  std::copy(server_.mac.begin(), server_.mac.end(), frame.begin());
  std::copy(self_.mac.begin(), self_.mac.end(), frame.begin() + 6);
  put16(frame.data() + 12, self_.is_ipv6 ? 0x86dd : 0x0800);
  uint8_t* ip = frame.data() + 14;
  const size_t tcp_bytes = 20 + used + payload.size();
  if (self_.is_ipv6) {
    ip[0] = 0x60;
    put16(ip + 4, static_cast<uint32_t>(tcp_bytes));
    ip[6] = 6;
    ip[7] = 64;
    std::memcpy(ip + 8, self_.ip.data(), 16);
    std::memcpy(ip + 24, server_.ip.data(), 16);
  } else {
    ip[0] = 0x45;
    put16(ip + 2, static_cast<uint32_t>(20 + tcp_bytes));
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 6;
    std::memcpy(ip + 12, self_.ip.data() + 12, 4);
    std::memcpy(ip + 16, server_.ip.data() + 12, 4);
    put16(ip + 10, finish(sum16(ip, 20, 0)));
  }
  uint8_t* tcp = ip + ip_header;
  put16(tcp, port_);
  put16(tcp + 2, server_port_);
  put32(tcp + 4, sequence);
  put32(tcp + 8, (flags & ack) != 0 ? rcv_nxt_ : 0);
  tcp[12] = static_cast<uint8_t>((20 + used) / 4 << 4);
  tcp[13] = flags;
  const uint32_t scaled = is_syn ? window() : window() >> window_scale_ok_;
  put16(tcp + 14, std::min<uint32_t>(scaled, 0xffff));
  std::memcpy(tcp + 20, options.data(), used);
  if (!payload.empty()) std::memcpy(tcp + 20 + used, payload.data(), payload.size());
  put16(tcp + 16, transport_checksum(ip, self_.is_ipv6, 6, tcp, tcp_bytes));
  outbox_.push_back(std::move(frame));
}

void ReferenceClient::arm(int64_t now_ns) {
  retransmit_at_ns_ = now_ns + options_.retransmit_ns;
}

void ReferenceClient::connect(int64_t now_ns) {
  now_ns_ = now_ns;
  state_ = ClientState::syn_sent;
  emit(syn, snd_nxt_, {});
  unacknowledged_.push_back({snd_nxt_, {}, true, false});
  ++snd_nxt_;
  arm(now_ns);
}

void ReferenceClient::send(int64_t now_ns, std::string_view bytes) {
  now_ns_ = now_ns;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, options_.mss - 12u);
    bytes.remove_prefix(part.size());
    unacknowledged_.push_back({snd_nxt_, std::string(part), false, false});
    if (state_ == ClientState::established) emit(ack | psh, snd_nxt_, part);
    snd_nxt_ += static_cast<uint32_t>(part.size());
  }
  ack_at_ns_ = INT64_MAX;
  unacked_segments_ = 0;
  arm(now_ns);
}

void ReferenceClient::close(int64_t now_ns) {
  now_ns_ = now_ns;
  unacknowledged_.push_back({snd_nxt_, {}, false, true});
  const bool established = state_ == ClientState::established;
  if (established) emit(ack | fin, snd_nxt_, {});
  ++snd_nxt_;
  if (established) state_ = ClientState::fin_sent;
  arm(now_ns);
}

void ReferenceClient::abort(int64_t now_ns) {
  now_ns_ = now_ns;
  emit(rst | ack, snd_nxt_, {});
  state_ = ClientState::reset;
  unacknowledged_.clear();
  retransmit_at_ns_ = ack_at_ns_ = INT64_MAX;
}

void ReferenceClient::resume(int64_t now_ns) {
  now_ns_ = now_ns;
  stalled_ = false;
  unread_ = 0;
  if (state_ == ClientState::established || state_ == ClientState::fin_sent) send_ack();
}

void ReferenceClient::send_ack() {
  emit(ack, snd_nxt_, {});
  ack_at_ns_ = INT64_MAX;
  unacked_segments_ = 0;
}

void ReferenceClient::deliver(uint32_t sequence, std::string_view payload, bool has_fin) {
  const uint32_t expected = rcv_nxt_ - stream_start_;
  uint32_t at = sequence - stream_start_;
  if (has_fin) {
    fin_seen_ = true;
    fin_sequence_ = sequence + static_cast<uint32_t>(payload.size());
  }
  if (static_cast<int32_t>(at - expected) < 0) {
    const uint32_t old = expected - at;
    payload.remove_prefix(std::min<size_t>(old, payload.size()));
    at = expected;
  }
  if (!payload.empty()) {
    std::string& slot = out_of_order_[at];
    if (slot.size() < payload.size()) slot.assign(payload);
  }
  for (auto it = out_of_order_.begin(); it != out_of_order_.end();) {
    const uint32_t next = rcv_nxt_ - stream_start_;
    if (static_cast<int32_t>(it->first - next) > 0) break;
    const uint32_t skip = next - it->first;
    if (skip < it->second.size()) {
      const size_t fresh = it->second.size() - skip;
      received_.append(it->second, skip);
      received_bytes_ += fresh;
      rcv_nxt_ += static_cast<uint32_t>(fresh);
      if (stalled_) unread_ += static_cast<uint32_t>(fresh);
    }
    it = out_of_order_.erase(it);
  }
  if (fin_seen_ && rcv_nxt_ == fin_sequence_ && !peer_closed_) {
    ++rcv_nxt_;
    peer_closed_ = true;
    if (state_ == ClientState::fin_sent && unacknowledged_.empty()) state_ = ClientState::done;
  }
}

void ReferenceClient::handle_frame(int64_t now_ns, const Frame& frame) {
  now_ns_ = now_ns;
  Parsed parsed;
  if (!parse_tcp(self_, server_, frame, parsed, violations_)) return;
  const uint8_t* tcp = parsed.tcp;
  if (get16(tcp) != server_port_ || get16(tcp + 2) != port_) return;
  ++segments_received_;
  largest_frame_ = std::max<uint64_t>(largest_frame_, frame.size());
  const size_t header = size_t{tcp[12]} / 16 * 4;
  if (header < 20 || header > parsed.tcp_bytes) {
    violations_.emplace_back("bad TCP data offset");
    return;
  }
  const uint8_t flags = tcp[13];
  const uint32_t sequence = get32(tcp + 4);
  const uint32_t acknowledged = get32(tcp + 8);
  const std::string_view payload(reinterpret_cast<const char*>(tcp + header),
                                 parsed.tcp_bytes - header);
  if (payload.size() > options_.mss) violations_.emplace_back("segment larger than our MSS");

  bool saw_sack = false, saw_timestamp = false;
  uint8_t scale = 0;
  bool saw_scale = false;
  uint32_t ts_value = 0;
  for (size_t i = 20; i < header;) {
    if (tcp[i] == 0) break;
    if (tcp[i] == 1) {
      ++i;
      continue;
    }
    if (i + 1 >= header || tcp[i + 1] < 2 || i + tcp[i + 1] > header) {
      violations_.emplace_back("bad TCP option");
      return;
    }
    if (tcp[i] == 3) {
      saw_scale = true;
      scale = tcp[i + 2];
    }
    if (tcp[i] == 4) saw_sack = true;
    if (tcp[i] == 8) {
      saw_timestamp = true;
      ts_value = get32(tcp + i + 2);
    }
    i += tcp[i + 1];
  }
  (void)scale;

  if (state_ == ClientState::closed || state_ == ClientState::reset ||
      state_ == ClientState::done) {
    if (state_ == ClientState::done && (flags & fin) != 0) send_ack();
    return;
  }
  if ((flags & rst) != 0) {
    const bool acceptable = state_ == ClientState::syn_sent ? acknowledged == snd_nxt_ : true;
    if (acceptable) {
      state_ = ClientState::reset;
      unacknowledged_.clear();
      retransmit_at_ns_ = ack_at_ns_ = INT64_MAX;
    }
    return;
  }
  if (state_ == ClientState::syn_sent) {
    if ((flags & (syn | ack)) != (syn | ack)) return;
    if (acknowledged != unacknowledged_.front().sequence + 1) {
      violations_.emplace_back("SYN-ACK acknowledges something else");
      return;
    }
    if (saw_sack && !options_.sack) violations_.emplace_back("SACK permitted was not offered");
    if (saw_timestamp && !options_.timestamps) violations_.emplace_back("timestamps not offered");
    have_peer_ = true;
    sack_ok_ = saw_sack;
    timestamps_ok_ = saw_timestamp;
    window_scale_ok_ = saw_scale ? options_.window_scale : 0;
    ts_recent_ = ts_value;
    rcv_nxt_ = sequence + 1;
    stream_start_ = rcv_nxt_;
    snd_una_ = acknowledged;
    unacknowledged_.pop_front();
    state_ = ClientState::established;
    if (unacknowledged_.empty()) {
      send_ack();
      retransmit_at_ns_ = INT64_MAX;
    }
    for (const Segment& segment : unacknowledged_) {
      emit(static_cast<uint8_t>(ack | (segment.fin ? fin : psh)), segment.sequence, segment.bytes);
      if (segment.fin) state_ = ClientState::fin_sent;
      arm(now_ns);
    }
    return;
  }
  if (timestamps_ok_ && !saw_timestamp) violations_.emplace_back("timestamp missing");
  if (saw_timestamp && static_cast<int32_t>(ts_value - ts_recent_) >= 0) ts_recent_ = ts_value;
  if ((flags & syn) != 0) {
    send_ack();
    return;
  }
  if ((flags & ack) != 0) {
    if (after(acknowledged, snd_nxt_)) {
      violations_.emplace_back("acknowledges what was never sent");
      return;
    }
    if (after(acknowledged, snd_una_)) {
      snd_una_ = acknowledged;
      while (!unacknowledged_.empty()) {
        const Segment& first = unacknowledged_.front();
        const uint32_t end = first.sequence + static_cast<uint32_t>(first.bytes.size()) +
                             (first.syn || first.fin ? 1 : 0);
        if (after(end, acknowledged)) break;
        unacknowledged_.pop_front();
      }
      retransmit_at_ns_ = INT64_MAX;
      if (!unacknowledged_.empty()) arm(now_ns);
      if (state_ == ClientState::fin_sent && unacknowledged_.empty() && peer_closed_) {
        state_ = ClientState::done;
      }
    }
  }
  const bool has_fin = (flags & fin) != 0;
  if (payload.empty() && !has_fin) {
    // A keep-alive or window probe lies left of the window and wants an answer.
    if (sequence != rcv_nxt_) send_ack();
    return;
  }
  const uint32_t right = rcv_nxt_ + window();
  if (after(sequence + static_cast<uint32_t>(payload.size()), right + 1)) {
    violations_.emplace_back("data beyond our window");
  }
  const bool in_order = sequence == rcv_nxt_ && out_of_order_.empty();
  deliver(sequence, payload, has_fin);
  ++unacked_segments_;
  if (!in_order || unacked_segments_ >= 2 || peer_closed_) {
    send_ack();
  } else if (ack_at_ns_ == INT64_MAX) {
    ack_at_ns_ = now_ns + options_.delayed_ack_ns;
  }
}

void ReferenceClient::handle_timeout(int64_t now_ns) {
  now_ns_ = now_ns;
  if (now_ns >= ack_at_ns_) send_ack();
  if (now_ns < retransmit_at_ns_) return;
  if (unacknowledged_.empty()) {
    retransmit_at_ns_ = INT64_MAX;
    return;
  }
  for (const Segment& segment : unacknowledged_) {
    const uint8_t flags = segment.syn ? syn : static_cast<uint8_t>(ack | (segment.fin ? fin : psh));
    emit(flags, segment.sequence, segment.bytes);
    if (segment.syn) break;
  }
  arm(now_ns);
}

int64_t ReferenceClient::next_timeout_ns() const {
  return std::min(retransmit_at_ns_, ack_at_ns_);
}

bool ReferenceClient::poll_frame(Frame& out) {
  if (outbox_.empty()) return false;
  out = std::move(outbox_.front());
  outbox_.pop_front();
  return true;
}

bool answer_neighbor(const HostAddress& self, const Frame& frame, Frame& reply) {
  if (frame.size() < 42) return false;
  const uint16_t type = get16(frame.data() + 12);
  if (!self.is_ipv6 && type == 0x0806 && get16(frame.data() + 20) == 1 &&
      std::memcmp(frame.data() + 38, self.ip.data() + 12, 4) == 0) {
    reply.assign(frame.begin(), frame.begin() + 42);
    std::memcpy(reply.data(), frame.data() + 6, 6);
    std::memcpy(reply.data() + 6, self.mac.data(), 6);
    put16(reply.data() + 20, 2);
    std::memcpy(reply.data() + 22, self.mac.data(), 6);
    std::memcpy(reply.data() + 28, self.ip.data() + 12, 4);
    std::memcpy(reply.data() + 32, frame.data() + 22, 10);
    return true;
  }
  if (self.is_ipv6 && type == 0x86dd && frame.size() >= 14 + 40 + 24 && frame[20] == 58 &&
      frame[54] == 135 && std::memcmp(frame.data() + 62, self.ip.data(), 16) == 0) {
    reply.assign(14 + 40 + 32, 0);
    std::memcpy(reply.data(), frame.data() + 6, 6);
    std::memcpy(reply.data() + 6, self.mac.data(), 6);
    put16(reply.data() + 12, 0x86dd);
    uint8_t* ip = reply.data() + 14;
    ip[0] = 0x60;
    put16(ip + 4, 32);
    ip[6] = 58;
    ip[7] = 255;
    std::memcpy(ip + 8, self.ip.data(), 16);
    std::memcpy(ip + 24, frame.data() + 22, 16);
    uint8_t* icmp = ip + 40;
    icmp[0] = 136;
    icmp[4] = 0x60;  // solicited, override
    std::memcpy(icmp + 8, self.ip.data(), 16);
    icmp[24] = 2;
    icmp[25] = 1;
    std::memcpy(icmp + 26, self.mac.data(), 6);
    put16(icmp + 2, transport_checksum(ip, true, 58, icmp, 32));
    return true;
  }
  return false;
}

}  // namespace sluice::sim
