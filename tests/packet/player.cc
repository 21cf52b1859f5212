#include "player.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace sluice::packet {
namespace {

using namespace literals;

// A packet may come this much after its time: the timer wheel's tick, and the 1 ms floor of the
// RTO's variance.
constexpr Duration tolerance = 5_ms;
// A failure shows this many packets.
constexpr size_t log_lines_max = 60;
// Our timestamps count milliseconds; the script's times are exact.
constexpr int32_t timestamp_tolerance = 5;

}  // namespace

Player::Player(const Staging& staging) : staging_(staging), bench_(staging.config) {
  if (staging.hold_pieces) bench_.hold_pieces();
  due_ = bench_.now;
}

std::string Player::play(const Script& script) {
  for (const Step& one : script.steps) {
    step(one);
    if (failure_.empty()) continue;
    return "line " + std::to_string(one.line) + ": " + one.text + "\n  " + failure_ +
           "\nso far (time, direction, packet; < from the peer, > from the stack):\n" + history();
  }
  while (!bench_.sent.empty()) {
    log("> (never expected)", describe(bench_.sent.front()));
    bench_.sent.pop_front();
    fail("the script ends, and packets are left that it did not expect");
  }
  if (!failure_.empty()) return failure_ + "\n" + history();
  if (const char* leaked = bench_.tear_down()) {
    return std::string("after all connections were aborted there are left: ") + leaked + "\n" +
           history();
  }
  return {};
}

void Player::step(const Step& step) {
  const Instant earliest = due_ + step.earliest;
  if (const auto* outbound = std::get_if<Outbound>(&step.what)) {
    const Duration slack = step.latest == step.earliest ? tolerance : Duration();
    const Instant latest = due_ + step.latest + slack;
    bench_.run(latest, !outbound->packet.last_of_all);
    return expect(outbound->packet, earliest);
  }
  bench_.run(earliest, false);
  due_ = std::max(bench_.now, earliest);
  const auto* action = std::get_if<Action>(&step.what);
  const bool looks_at_packets =
      action != nullptr && (action->words[0] == "expect" || action->words[0] == "ignore");
  if (!bench_.sent.empty() && !looks_at_packets) {
    return fail("before this step the stack sent " + to_text(describe(bench_.sent.front())));
  }
  if (action != nullptr) {
    act(action->words);
  } else {
    inject(std::get<Inbound>(step.what).packet);
  }
}

// From the peer
// -------------------------------------------------------------------------------------------

void Player::inject(const PacketSpec& packet) {
  if (!packet.as_train) return inject_one(packet);
  const uint32_t size = 1000;
  for (uint32_t begin = 0; begin < packet.length; begin += size) {
    PacketSpec one = packet;
    one.begin += begin;
    one.length = std::min(size, packet.length - begin);
    inject_one(one);
  }
}

void Player::inject_one(const PacketSpec& packet) {
  log("<", packet);
  wire::TcpHeader header{.source_port = peer_.port,
                         .destination_port = peer_.local_port,
                         .sequence = peer_.isn + packet.begin,
                         .acknowledgment = packet.ack ? peer_.local_isn + *packet.ack : 0,
                         .flags = packet.flags,
                         .window = static_cast<uint16_t>(packet.window.value_or(0))};
  if ((header.flags & wire::tcp_flag::urg) != 0) header.urgent = 1;
  wire::TcpOptions options;
  if (packet.options) {
    const OptionsSpec& spec = *packet.options;
    options.has_mss = spec.mss.has_value();
    options.mss = spec.mss.value_or(0);
    options.has_window_scale = spec.window_scale.has_value();
    options.window_scale = spec.window_scale.value_or(0);
    options.sack_permitted = spec.sack_permitted;
    if (spec.timestamps) {
      options.has_timestamps = true;
      options.timestamp_value = spec.timestamps->value.value_or(0);
      const uint32_t echo = spec.timestamps->echo.value_or(0);
      const bool is_first = (header.flags & wire::tcp_flag::syn) != 0;
      options.timestamp_echo = is_first ? echo : peer_.timestamp_base + echo;
    }
    if (spec.fast_open) {
      options.has_fast_open = true;
      options.fast_open_length = spec.fast_open->empty() ? 0 : tcp::FastOpen::cookie_bytes;
      options.fast_open_cookie = cookie_;
      if (*spec.fast_open == "forged") options.fast_open_cookie[7] ^= std::byte{1};
    }
    for (const auto& [left, right] : spec.sack) {
      ASSERT(options.sack.push_back({peer_.local_isn + left, peer_.local_isn + right}));
    }
  }
  std::vector<std::byte> segment(wire::tcp_header_length(options) + packet.length);
  const size_t header_length = wire::emit_tcp(header, options, segment);
  for (uint32_t i = 0; i < packet.length; ++i) {
    // Data byte n of the stream has the relative sequence number n + 1; a SYN comes before its
    // data.
    const uint32_t first = (packet.flags & wire::tcp_flag::syn) != 0 ? 0 : packet.begin - 1;
    segment[header_length + i] = received_pattern(first + i);
  }
  const tcp::Flow from = flow();
  session_reads(bench_.stack.handle_segment(bench_.now,
                                            {.source = from.remote,
                                             .segment = segment,
                                             .local = from.local,
                                             .congestion_experienced = packet.congestion_marked}));
  after_call();
}

void Player::session_reads(const tcp::Received& received) {
  if (received.connection.is_none()) return;
  verify(received.readable);
  const size_t count = staging_.consume_manually ? 0 : received.readable.size();
  bench_.stack.consume(received.connection, count);
  peer_.received += count;
}

void Player::verify(Bytes readable) {
  for (size_t i = 0; i < readable.size(); ++i) {
    if (readable[i] == received_pattern(peer_.received + i)) continue;
    return fail("byte " + std::to_string(peer_.received + i) + " handed to the session is wrong");
  }
}

void Player::after_call() {
  // Answers leave at once; so their time is that of the step.
  bench_.drain();
}

// From the stack
// ------------------------------------------------------------------------------------------

Sent Player::take_sent() {
  Sent sent = bench_.sent.front();
  bench_.sent.pop_front();
  log(">", describe(sent));
  check_payload(sent);
  const bool is_syn = sent.header.has(wire::tcp_flag::syn);
  peer_.window_bytes =
      is_syn ? sent.header.window : uint32_t{sent.header.window} << peer_.window_scale;
  return sent;
}

void Player::check_payload(const Sent& sent) {
  const uint32_t begin = sent.header.sequence - peer_.local_isn - 1;
  for (size_t i = 0; i < sent.payload.size(); ++i) {
    if (sent.payload[i] == sent_pattern(begin + i)) continue;
    return fail("byte " + std::to_string(begin + i) + " of the stream is sent wrong");
  }
}

PacketSpec Player::describe(const Sent& sent) {
  const bool is_syn = sent.header.has(wire::tcp_flag::syn);
  if (is_syn && !peer_.local_isn_known) {
    peer_.local_isn = sent.header.sequence;
    peer_.local_isn_known = true;
    peer_.window_scale = sent.options.window_scale;
  }
  if (sent.options.has_timestamps && !peer_.timestamp_base_known) {
    peer_.timestamp_base = sent.options.timestamp_value;
    peer_.timestamp_base_known = true;
  }
  PacketSpec packet;
  packet.flags = sent.header.flags;
  packet.ecn = sent.ecn;
  packet.begin = sent.header.sequence - peer_.local_isn;
  packet.length = static_cast<uint32_t>(sent.payload.size());
  if (sent.header.has(wire::tcp_flag::ack)) packet.ack = sent.header.acknowledgment - peer_.isn;
  packet.window = sent.header.window;
  OptionsSpec options;
  if (sent.options.has_mss) options.mss = sent.options.mss;
  if (sent.options.has_window_scale) options.window_scale = sent.options.window_scale;
  options.sack_permitted = sent.options.sack_permitted;
  if (sent.options.has_timestamps) {
    options.timestamps = {sent.options.timestamp_value - peer_.timestamp_base,
                          sent.options.timestamp_echo};
  }
  if (sent.options.has_fast_open) {
    options.fast_open = "*";
    cookie_ = sent.options.fast_open_cookie;
  }
  for (const wire::SackBlock& block : sent.options.sack) {
    options.sack.emplace_back(block.left - peer_.isn, block.right - peer_.isn);
  }
  packet.options = options;
  return packet;
}

std::string Player::mismatch(const PacketSpec& expected, const PacketSpec& actual) const {
  constexpr uint8_t optional_flags = wire::tcp_flag::psh;
  const auto must = static_cast<uint8_t>(expected.flags & ~optional_flags);
  if (must != (actual.flags & ~optional_flags)) return "flags";
  if ((expected.flags & optional_flags & ~actual.flags) != 0) return "PSH";
  if (!expected.any_sequence &&
      (expected.begin != actual.begin || expected.length != actual.length)) {
    return "sequence numbers";
  }
  if (expected.ecn && expected.ecn != actual.ecn) return "ECN";
  if (expected.ack && expected.ack != actual.ack) return "acknowledgment";
  if (expected.window && expected.window != actual.window) return "window";
  if (!expected.options) return {};
  const OptionsSpec& want = *expected.options;
  const OptionsSpec& have = *actual.options;
  if (want.mss != have.mss) return "mss";
  if (want.any_window_scale ? !have.window_scale : want.window_scale != have.window_scale) {
    return "wscale";
  }
  if (want.sack_permitted != have.sack_permitted) return "sackOK";
  if (want.sack != have.sack) return "sack";
  if (want.fast_open.has_value() != have.fast_open.has_value()) return "FO";
  if (want.timestamps.has_value() != have.timestamps.has_value()) return "TS";
  if (!want.timestamps) return {};
  if (want.timestamps->echo && want.timestamps->echo != have.timestamps->echo) return "TS ecr";
  if (!want.timestamps->value) return {};
  const auto off = static_cast<int32_t>(*have.timestamps->value - *want.timestamps->value);
  return std::abs(off) > timestamp_tolerance ? "TS val" : "";
}

void Player::expect(const PacketSpec& packet, Instant earliest) {
  if (bench_.sent.empty()) return fail("nothing was sent");
  if (packet.as_train) {
    due_ = std::max(earliest, bench_.sent.front().at);
    return expect_train(packet);
  }
  while (packet.last_of_all && bench_.sent.size() > 1) static_cast<void>(take_sent());
  const Sent sent = take_sent();
  if (!failure_.empty()) return;
  const PacketSpec actual = describe(sent);
  const std::string what = mismatch(packet, actual);
  if (!what.empty()) return fail("differs in " + what + ": the stack sent " + to_text(actual));
  if (sent.at < earliest && !packet.last_of_all) {
    return fail("was sent too early, by " + std::to_string((earliest - sent.at).us()) + " us");
  }
  due_ = sent.at;
}

// A run of segments that follow on one another and together are what is expected.
void Player::expect_train(const PacketSpec& packet) {
  uint32_t done = 0;
  while (done < packet.length) {
    if (bench_.sent.empty()) {
      return fail("the run ends after " + std::to_string(done) + " bytes");
    }
    const Sent sent = take_sent();
    if (!failure_.empty()) return;
    PacketSpec actual = describe(sent);
    if (actual.begin != packet.begin + done || actual.length == 0 ||
        actual.length > packet.length - done) {
      return fail("does not belong to the run: " + to_text(actual));
    }
    done += actual.length;
    PacketSpec part = packet;
    part.begin = actual.begin;
    part.length = actual.length;
    if (done < packet.length) {
      // PSH and FIN belong on the last one only; what is in between may push.
      constexpr uint8_t last_only = wire::tcp_flag::fin | wire::tcp_flag::psh;
      part.flags = static_cast<uint8_t>(part.flags & ~last_only);
    }
    const std::string what = mismatch(part, actual);
    if (!what.empty()) return fail("differs in " + what + ": the stack sent " + to_text(actual));
  }
}

tcp::Flow Player::flow() const {
  return {.remote = staging_.ipv6 ? inet::Address::words(0x2001'0db8'0000'0000, 0x99)
                                  : inet::Address::v4(0xc000'0263),
          .remote_port = peer_.port,
          .local_port = peer_.local_port,
          .local = 0};
}

void Player::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why;
}

void Player::log(const char* direction, const PacketSpec& packet) {
  char time[32];
  const double since = static_cast<double>(bench_.now.ns() - 1'000'000'000'000) * 1e-9;
  std::snprintf(time, sizeof time, "%11.6f ", since);
  log_.push_back(time + std::string(direction) + " " + to_text(packet) + "\n");
  if (log_.size() > log_lines_max) log_.pop_front();
}

std::string Player::history() const {
  std::string text;
  for (const std::string& line : log_) text += line;
  return text;
}

}  // namespace sluice::packet
