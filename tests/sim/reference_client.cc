#include "reference_client.h"

#include <algorithm>
#include <cstring>

namespace sluice::sim {
namespace {

constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, ece = 64, cwr = 128;

bool after(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b) > 0;
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
  if (sack_ok_ && (flags & ack) != 0) {
    const std::vector<Block> blocks = sack_blocks((options.size() - used - 4) / 8);
    if (!blocks.empty()) {
      option({1, 1, 5, static_cast<uint8_t>(2 + 8 * blocks.size())});
      for (const Block& block : blocks) {
        put32(options.data() + used, stream_start_ + block.left);
        put32(options.data() + used + 4, stream_start_ + block.right);
        used += 8;
      }
    }
  }
  while (used % 4 != 0) options[used++] = 1;

  const size_t tcp_bytes = 20 + used + payload.size();
  Frame frame(14 + (self_.is_ipv6 ? 40u : 20u) + tcp_bytes);
  uint8_t* tcp = put_headers(self_, server_, tcp_bytes, frame);
  put16(tcp, port_);
  put16(tcp + 2, server_port_);
  put32(tcp + 4, sequence);
  put32(tcp + 8, (flags & ack) != 0 ? rcv_nxt_ : 0);
  tcp[12] = static_cast<uint8_t>((20 + used) / 4 << 4);
  tcp[13] = static_cast<uint8_t>(flags | ecn_flags(flags));
  const uint32_t scaled = is_syn ? window() : window() >> window_scale_ok_;
  put16(tcp + 14, std::min<uint32_t>(scaled, 0xffff));
  std::memcpy(tcp + 20, options.data(), used);
  if (!payload.empty()) std::memcpy(tcp + 20 + used, payload.data(), payload.size());
  put16(tcp + 16, transport_checksum(frame.data() + 14, self_.is_ipv6, 6, tcp, tcp_bytes));
  outbox_.push_back(std::move(frame));
}

// RFC 2018 section 4: the block of the segment that caused this ACK first, then those reported
// before. RFC 2883 section 4: a duplicate goes in front of all, once.
std::vector<ReferenceClient::Block> ReferenceClient::sack_blocks(size_t most) {
  std::vector<Block> blocks;
  if (duplicate_.left != duplicate_.right && options_.dsack) blocks.push_back(duplicate_);
  duplicate_ = {};
  std::vector<Block> kept;
  for (const auto& [left, bytes] : out_of_order_) {
    const uint32_t right = left + static_cast<uint32_t>(bytes.size());
    if (!kept.empty() && left <= kept.back().right) {
      kept.back().right = std::max(kept.back().right, right);
    } else {
      kept.push_back({left, right});
    }
  }
  for (const uint32_t recent : recent_) {
    if (blocks.size() >= most) break;
    const auto holds = [recent](const Block& b) { return b.left <= recent && recent < b.right; };
    const auto block = std::find_if(kept.begin(), kept.end(), holds);
    if (block == kept.end()) continue;
    blocks.push_back(*block);
    kept.erase(block);
  }
  if (blocks.size() > most) blocks.resize(most);
  return blocks;
}

// RFC 3168 section 6.1; RFC 8257 section 3.2 where `dctcp` is set.
uint8_t ReferenceClient::ecn_flags(uint8_t flags) const {
  if ((flags & syn) != 0) return options_.ecn ? ece | cwr : 0;
  return ecn_ok_ && echo_congestion_ && (flags & ack) != 0 ? ece : 0;
}

void ReferenceClient::note_congestion(bool marked, bool window_reduced) {
  marks_received_ += marked;
  if (!ecn_ok_) return;
  if (options_.dctcp) {
    if (marked != echo_congestion_ && unacked_segments_ > 0) send_ack();
    echo_congestion_ = marked;
    return;
  }
  if (window_reduced) echo_congestion_ = false;
  if (marked) echo_congestion_ = true;
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

void ReferenceClient::note_duplicate(uint32_t at, uint32_t length) {
  const uint32_t expected = rcv_nxt_ - stream_start_;
  if (length == 0) return;
  if (static_cast<int32_t>(at - expected) < 0) {
    duplicate_ = {at, std::min(at + length, expected)};
    return;
  }
  const auto held = out_of_order_.find(at);
  if (held != out_of_order_.end() && held->second.size() >= length) duplicate_ = {at, at + length};
}

void ReferenceClient::deliver(uint32_t sequence, std::string_view payload, bool has_fin) {
  const uint32_t expected = rcv_nxt_ - stream_start_;
  uint32_t at = sequence - stream_start_;
  if (has_fin) {
    fin_seen_ = true;
    fin_sequence_ = sequence + static_cast<uint32_t>(payload.size());
  }
  note_duplicate(at, static_cast<uint32_t>(payload.size()));
  if (static_cast<int32_t>(at - expected) < 0) {
    const uint32_t old = expected - at;
    payload.remove_prefix(std::min<size_t>(old, payload.size()));
    at = expected;
  }
  if (!payload.empty()) {
    std::string& slot = out_of_order_[at];
    if (slot.size() < payload.size()) slot.assign(payload);
    recent_.push_front(at);
    if (recent_.size() > 8) recent_.pop_back();
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
  ParsedTcp parsed;
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
    ecn_ok_ = options_.ecn && (flags & (ece | cwr)) == ece;
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
  note_congestion(parsed.ecn == 3, (flags & cwr) != 0);
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

}  // namespace sluice::sim
