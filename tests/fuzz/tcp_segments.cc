// Random segments, application calls and time against a Stack, over four flows.
//
// Whatever arrives: no ASSERT fails, the stack comes to rest, every byte that it sends or hands up
// is the right one, and after all connections are aborted every one of them has been told closed
// and every pool is full again.

#include <cstdlib>
#include <map>
#include <optional>

#include "../packet/bench.h"
#include "input.h"

namespace sluice::packet {
namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz tcp_segments: %s\n", what);
  std::abort();
}

using fuzz::Input;

// Mostly near 0, sometimes anywhere.
uint32_t distance(Input& in) {
  const uint8_t kind = in.byte();
  if (kind < 128) return 0;
  if (kind < 160) return in.byte();
  if (kind < 176) return static_cast<uint32_t>(-int32_t{in.byte()});
  if (kind < 208) return uint32_t{in.byte()} * 1000;
  if (kind < 240) return in.word();
  return uint32_t{in.word()} << 16 | in.word();
}

// The peer's stream is a function of the sequence number itself.
std::byte peer_byte(uint32_t sequence) {
  return received_pattern(sequence);
}

// What the peer's end of one flow has seen, and what must therefore hold.
struct Peer {
  uint32_t next = 0;      // the number that an honest peer would send next
  uint32_t acked = 0;     // what it would acknowledge
  uint32_t sent_end = 0;  // the highest that the stack has sent
  bool timestamps = false;
  uint32_t local_isn = 0;
  uint32_t irs = 0;
};

struct Session {
  uint32_t irs = 0;
  uint64_t received = 0;
  uint64_t queued = 0;
  bool open = false;
};

class Fuzz {
 public:
  static constexpr uint16_t first_port = 1000;
  static constexpr size_t flows = 4;

  explicit Fuzz(Input& input) : input_(input), bench_(make_config(input)) {}

  void run() {
    for (int turn = 0; turn < 400 && !input_.empty(); ++turn) {
      const uint8_t operation = input_.byte();
      Peer& peer = peers_[operation & 3];
      const auto port = static_cast<uint16_t>(first_port + (operation & 3));
      switch (operation >> 2 & 15) {
        case 0:
        case 1:
        case 2:
        case 3:
          segment(peer, port);
          break;
        case 4:
        case 5:
        case 14:
          plausible_segment(peer, port);
          break;
        case 6:
          polite_handshake(peer, port);
          break;
        case 7:
          garbage(port);
          break;
        case 8:
        case 9:
          bench_.run(bench_.now + Duration::from_us(int64_t{1} << (input_.byte() % 28)), false);
          break;
        case 10:
          path_mtu(peer, port);
          break;
        case 11:
          bench_.hold_pieces();
          break;
        case 12:
          bench_.give_pieces();
          break;
        default:
          application();
          break;
      }
      settle();
    }
    require(bench_.tear_down() == nullptr, "something is left after all connections were aborted");
    settle();
    for (const auto& [index, session] : sessions_) require(!session.open, "closed was not told");
  }

 private:
  static tcp::Config make_config(Input& input) {
    tcp::Config config;
    const uint8_t choice = input.byte();
    config.max_connections = 1 + choice % 4;
    config.max_half_open = 1 + choice / 4 % 3;
    config.time_wait_max = 1 + choice / 16 % 2;
    config.receive_buffers = 1 + choice / 32 % 2;
    config.send_queues = 1 + choice / 64 % 3;
    config.sent_runs = 1;
    config.recoveries = choice / 16 % 2;
    config.congestion = static_cast<tcp::CongestionAlgorithm>(choice % 4);
    config.keep_alive_after = Duration::from_s(5);
    config.keep_alive_interval = Duration::from_s(1);
    config.user_timeout = Duration::from_s(30);
    config.fast_open_pending_max = choice / 8 % 2;
    config.source_limits.connections_max = choice % 16 == 15 ? 2 : 0;
    config.key = {5, 6};
    ASSERT(config.ports.push_back(80));
    return config;
  }

  void inject(Bytes bytes) {
    const tcp::Received received =
        bench_.stack.handle_segment(bench_.now, {.source = inet::Address::v4(0xc000'0205),
                                                 .segment = bytes,
                                                 .local = 0,
                                                 .congestion_experienced = bytes.size() % 3 == 0});
    if (received.connection.is_none()) return;
    consume(received.connection, received.readable);
  }

  void consume(tcp::ConnectionIndex connection, Bytes readable) {
    learn_of_new_connections();
    Session& session = sessions_[connection.value()];
    for (size_t i = 0; i < readable.size(); ++i) {
      const auto sequence = static_cast<uint32_t>(session.irs + 1 + session.received + i);
      require(readable[i] == peer_byte(sequence), "a wrong byte was handed to the session");
    }
    const uint8_t choice = input_.byte();
    const size_t count = choice < 128   ? readable.size()
                         : choice < 192 ? 0
                                        : std::min<size_t>(readable.size(), input_.byte());
    bench_.stack.consume(connection, count);
    session.received += count;
  }

  // The connection may be handed over with its first bytes before its `accepted` is polled: it is
  // the one whose SYN-ACK is in the record of its flow.
  void learn_of_new_connections() {
    for (uint32_t i = 0; i < bench_.stack.connections_max(); ++i) {
      const tcp::ConnectionIndex connection(i);
      if (!bench_.stack.is_open(connection) || sessions_[i].open) continue;
      const tcp::Flow& flow = bench_.stack.flow(connection);
      Session fresh;
      fresh.irs = peers_[flow.remote_port - first_port].irs;
      fresh.open = true;
      sessions_[i] = fresh;
    }
  }

  void segment(Peer& peer, uint16_t port) {
    wire::TcpHeader header{.source_port = port, .destination_port = 80};
    const uint8_t flags = input_.byte();
    // Mostly ACKs, as on any wire.
    header.flags = flags < 128   ? wire::tcp_flag::ack
                   : flags < 160 ? wire::tcp_flag::syn
                   : flags < 180 ? wire::tcp_flag::fin | wire::tcp_flag::ack
                   : flags < 190 ? wire::tcp_flag::rst
                                 : input_.byte();
    header.sequence = peer.next + distance(input_);
    header.acknowledgment = peer.acked + distance(input_);
    header.window = input_.byte() < 64 ? static_cast<uint16_t>(input_.byte()) : input_.word();
    if (header.has(wire::tcp_flag::syn) && !header.has(wire::tcp_flag::ack)) {
      header.sequence = peer.next = peer.next + distance(input_);
    }
    wire::TcpOptions options = make_options(peer, header);
    const uint8_t size = input_.byte();
    const size_t length = size < 64 ? 0 : size < 192 ? size : input_.word() % 2000;
    std::vector<std::byte> bytes(wire::tcp_header_length(options) + length);
    const size_t header_length = wire::emit_tcp(header, options, bytes);
    for (size_t i = 0; i < length; ++i) {
      const uint32_t syn = header.has(wire::tcp_flag::syn) ? 1 : 0;
      bytes[header_length + i] = peer_byte(header.sequence + syn + static_cast<uint32_t>(i));
    }
    inject(bytes);
  }

  // Such as an honest peer on a bad network sends: partial and selective acknowledgments, data in
  // and out of order.
  void plausible_segment(Peer& peer, uint16_t port) {
    const uint8_t choice = input_.byte();
    const uint32_t flight = peer.sent_end - peer.acked;
    wire::TcpHeader header{.source_port = port,
                           .destination_port = 80,
                           .sequence = peer.next,
                           .flags = wire::tcp_flag::ack,
                           .window = static_cast<uint16_t>((choice & 1) != 0 ? 60'000 : 3'000)};
    if ((choice & 2) != 0) peer.acked += flight / 256 * input_.byte() + flight % 256;
    header.acknowledgment = peer.acked;
    wire::TcpOptions options;
    options.has_timestamps = peer.timestamps;
    options.timestamp_value = timestamp_ += choice >> 6;
    options.timestamp_echo = echo_;
    const uint32_t left_over = peer.sent_end - peer.acked;
    for (int i = 0; i < (choice >> 2 & 3); ++i) {
      const uint32_t left = peer.acked + left_over / 256 * input_.byte();
      const uint32_t right =
          left + std::min<uint32_t>(uint32_t{input_.byte()} * 100, peer.sent_end - left);
      if (right != left) static_cast<void>(options.sack.push_back({left, right}));
    }
    size_t length = 0;
    if ((choice & 16) != 0) {
      length = 1 + size_t{input_.byte()} * 8;
      if ((choice & 32) != 0) header.sequence += uint32_t{input_.byte()} * 64;
    }
    std::vector<std::byte> bytes(wire::tcp_header_length(options) + length);
    const size_t header_length = wire::emit_tcp(header, options, bytes);
    for (size_t i = 0; i < length; ++i) {
      bytes[header_length + i] = peer_byte(header.sequence + static_cast<uint32_t>(i));
    }
    inject(bytes);
  }

  wire::TcpOptions make_options(const Peer& peer, const wire::TcpHeader& header) {
    wire::TcpOptions options;
    const uint8_t choice = input_.byte();
    if (header.has(wire::tcp_flag::syn)) {
      options.has_mss = (choice & 1) != 0;
      options.mss = options.has_mss ? input_.word() : 0;
      options.sack_permitted = (choice & 2) != 0;
      options.has_window_scale = (choice & 4) != 0;
      options.window_scale = choice >> 4;
    }
    if (header.has(wire::tcp_flag::syn) ? (choice & 8) != 0
                                        : peer.timestamps != ((choice & 8) != 0)) {
      options.has_timestamps = true;
      options.timestamp_value = timestamp_ += distance(input_);
      options.timestamp_echo = echo_ + distance(input_);
    }
    for (int i = 0; i < (choice >> 4 & 3); ++i) {
      const uint32_t left = peer.acked + distance(input_);
      static_cast<void>(options.sack.push_back({left, left + distance(input_)}));
    }
    return options;
  }

  // Gets a connection going, so that the random part is not spent in LISTEN.
  void polite_handshake(Peer& peer, uint16_t port) {
    wire::TcpHeader header{.source_port = port,
                           .destination_port = 80,
                           .sequence = peer.next += 100'000,
                           .flags = wire::tcp_flag::syn,
                           .window = 65535};
    wire::TcpOptions options;
    const uint8_t choice = input_.byte();
    options.has_mss = true;
    options.mss = 1000;
    options.sack_permitted = (choice & 1) != 0;
    options.has_window_scale = (choice & 2) != 0;
    options.window_scale = 7;
    options.has_timestamps = (choice & 4) != 0;
    options.timestamp_value = timestamp_ += 10;
    std::vector<std::byte> bytes(wire::tcp_header_length(options));
    wire::emit_tcp(header, options, bytes);
    inject(bytes);
    settle();
    header.flags = wire::tcp_flag::ack;
    header.sequence = peer.next = header.sequence + 1;
    header.acknowledgment = peer.acked;
    options.has_mss = options.sack_permitted = options.has_window_scale = false;
    options.timestamp_echo = echo_;
    bytes.resize(wire::tcp_header_length(options));
    wire::emit_tcp(header, options, bytes);
    inject(bytes);
  }

  void garbage(uint16_t port) {
    std::vector<std::byte> bytes(20 + input_.byte() % 64);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(input_.byte());
    store_be16(&bytes[0], port);
    store_be16(&bytes[2], 80);
    // What it holds past its header would not be the pattern: header only.
    const size_t header_length = std::max<size_t>(20, bytes.size() / 4 * 4);
    bytes.resize(std::min<size_t>(header_length, 60));
    bytes[12] = static_cast<std::byte>(bytes.size() / 4 << 4);
    inject(bytes);
  }

  void path_mtu(const Peer& peer, uint16_t port) {
    std::array<std::byte, 8> quoted{};
    store_be16(&quoted[0], 80);
    store_be16(&quoted[2], port);
    store_be32(&quoted[4], peer.acked + distance(input_));
    bench_.stack.handle_path_mtu(bench_.now, {.remote = inet::Address::v4(0xc000'0205),
                                              .quoted_tcp = quoted,
                                              .mtu = input_.word(),
                                              .local = 0});
  }

  void application() {
    learn_of_new_connections();
    const uint8_t choice = input_.byte();
    const tcp::ConnectionIndex connection(choice % bench_.stack.connections_max());
    if (!bench_.stack.is_open(connection)) return;
    Session& session = sessions_[connection.value()];
    switch (choice >> 3 & 7) {
      case 0:
        return bench_.stack.abort(bench_.now, connection);
      case 1:
        return bench_.stack.close(bench_.now, connection);
      case 2:
      case 3:
        return consume(connection, bench_.stack.readable(connection));
      case 4: {
        const auto length = 1 + input_.word() % content::head_slot_bytes;
        if (session.queued + length > Bench::object_bytes) return;
        if (bench_.send_from_slot(connection, session.queued, length)) session.queued += length;
        return;
      }
      default: {
        const uint64_t length = 1 + uint64_t{input_.word()} * 4;
        if (session.queued + length > Bench::object_bytes) return;
        if (bench_.send(connection, session.queued, length)) session.queued += length;
      }
    }
  }

  // Takes in what the stack sent and told.
  void settle() {
    bench_.drain();
    for (const Sent& sent : bench_.sent) look_at(sent);
    bench_.sent.clear();
    learn_of_new_connections();
    for (const tcp::Event& event : bench_.events) {
      Session& session = sessions_[event.connection.value()];
      if (event.kind != tcp::EventKind::closed) continue;
      session.open = false;
    }
    bench_.events.clear();
    // An index may have been closed and given out again within one call.
    learn_of_new_connections();
  }

  void look_at(const Sent& sent) {
    require(sent.flow.remote_port >= first_port && sent.flow.remote_port < first_port + flows,
            "a segment to nobody");
    Peer& peer = peers_[sent.flow.remote_port - first_port];
    const wire::TcpHeader& header = sent.header;
    if (sent.options.has_timestamps) echo_ = sent.options.timestamp_value;
    if (header.has(wire::tcp_flag::syn)) {
      peer.local_isn = header.sequence;
      peer.irs = header.acknowledgment - 1;
      peer.acked = header.sequence + 1;
      peer.next = header.acknowledgment;
      peer.sent_end = peer.acked;
      peer.timestamps = sent.options.has_timestamps;
      return;
    }
    for (size_t i = 0; i < sent.payload.size(); ++i) {
      const uint32_t offset = header.sequence - peer.local_isn - 1 + static_cast<uint32_t>(i);
      require(offset < Bench::object_bytes && sent.payload[i] == sent_pattern(offset),
              "a wrong byte was sent");
    }
    if (header.has(wire::tcp_flag::rst)) return;
    const auto length = static_cast<uint32_t>(sent.payload.size());
    const uint32_t end = header.sequence + length + (header.has(wire::tcp_flag::fin) ? 1 : 0);
    if (static_cast<int32_t>(end - peer.sent_end) > 0) peer.sent_end = end;
    peer.next = header.acknowledgment;
  }

  Input& input_;
  Bench bench_;
  std::array<Peer, flows> peers_{};
  std::map<uint32_t, Session> sessions_;
  uint32_t timestamp_ = 1000;
  uint32_t echo_ = 0;
};

}  // namespace
}  // namespace sluice::packet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::Input input(data, size);
  sluice::packet::Fuzz(input).run();
  return 0;
}
