// Fuzz target: the whole engine. The input is a list of operations; whatever they are, no ASSERT
// fails, and after everything was reset nothing is held: no pin, no slot, no connection, no object.
//
// An operation is one byte, and what it needs:
//   0..99     a TCP segment from one of eight client ports: flags, small deltas to sequence and
//   acknowledgement
//             numbers that would be right, window, payload (a piece of an HTTP request, or raw
//             bytes)
//   100..139  a raw frame, as it is, checksums taken as good
//   140..179  time passes
//   180..219  the content source answers
//   220..255  frames are polled, and kept "in the NIC" for a while

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "content_source.h"
#include "engine/engine.h"
#include "input.h"

namespace {

using namespace sluice;

using fuzz::Input;

std::string text_of(Bytes bytes) {
  return std::string(as_text(bytes));
}

constexpr uint32_t chunk_count = 3, chunk_bytes = 4096, slots = 8, connections = 6;
constexpr std::array<std::string_view, 8> requests = {
    "GET /a HTTP/1.1\r\nHost: s\r\n\r\n",
    "GET /big HTTP/1.1\r\nHost: s\r\n\r\n",
    "HEAD /d HTTP/1.1\r\nHost: s\r\n\r\n",
    "GET /big HTTP/1.1\r\nHost: s\r\nRange: bytes=5000-\r\nConnection: close\r\n\r\n",
    "GET /none HTTP/1.0\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello",
    "GET /a HT",
    "OPTIONS * HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
};

struct Peer {
  uint32_t snd_nxt = 0xffff'fff0;
  uint32_t rcv_nxt = 0;
};

class Harness {
 public:
  Harness()
      : memory_(chunk_count * chunk_bytes + slots * content::head_slot_bytes),
        arena_{.chunks = memory_.data(),
               .chunk_count = chunk_count,
               .chunk_bytes = chunk_bytes,
               .head_slots = memory_.data() + chunk_count * chunk_bytes,
               .head_slot_count = slots},
        source_(arena_, pins_),
        media_types_(""),
        engine_(config(), arena_, pins_, counters_) {
    source_.add_file("a", 100, 1);
    source_.add_file("big", 10 * chunk_bytes + 7, 2);
    source_.add_directory("d");
    // The neighbour is known from the start: an ARP reply for the client.
    const std::array<uint8_t, 42> request = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0, 2, 8, 6, 0, 1, 8, 0,  6, 4, 0,
        1,    2,    0,    0,    0,    0,    2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    receive({request.begin(), request.end()});
  }

  void step(Input& in) {
    const uint8_t operation = in.byte();
    if (operation < 100) {
      segment(in);
    } else if (operation < 140) {
      const std::string raw = text_of(in.take(in.byte()));
      receive({raw.begin(), raw.end()});
    } else if (operation < 180) {
      const int64_t scale = operation < 150   ? 100'000
                            : operation < 170 ? 10'000'000
                                              : 3'000'000'000;
      now_ns_ += in.byte() * scale;
      engine_.handle_timeout(now());
    } else if (operation < 220) {
      exchange();
    } else {
      poll(operation - 219u);
    }
  }

  void end() {
    for (int i = 0; i < 50; ++i) {
      exchange();
      poll(1000);
    }
    engine_.begin_drain(now());  // half-open connections too
    engine_.abort_all(now());
    poll(1000);
    while (!in_nic_.empty()) complete();
    for (int i = 0; i < 50; ++i) {
      engine_.handle_timeout(now());
      exchange();
    }
    engine_.handle_timeout(now());
    const engine::Snapshot snapshot = engine_.snapshot();
    ASSERT(snapshot.connections == 0);
    ASSERT(snapshot.pins == 0);
    ASSERT(snapshot.head_slots_in_use == 0);
    ASSERT(snapshot.objects_in_use == 0);
    ASSERT(snapshot.lookups_open == 0);
  }

 private:
  engine::Config config() {
    engine::Config config;
    config.inet.mac.octets = {2, 0, 0, 0, 0, 1};
    (void)config.inet.addresses.push_back({inet::Address::v4(0x0a000001), 24});
    config.tcp.max_connections = connections;
    config.tcp.max_half_open = 4;
    config.tcp.time_wait_max = 4;
    config.tcp.receive_buffers = 3;
    config.tcp.send_queues = 4;
    config.tcp.sent_runs = 2;
    config.tcp.recoveries = 1;
    (void)config.tcp.ports.push_back(80);
    config.catalog.objects_max = 2;
    config.catalog.pieces_max = connections + 2;
    config.catalog.readahead_pieces = 2;
    config.catalog.fresh_for = 1_s;
    config.session.lookups_max = 2;
    config.session.media_types = &media_types_;
    return config;
  }
  [[nodiscard]] Instant now() const { return Instant::from_ns(now_ns_); }

  void receive(const std::vector<uint8_t>& frame) {
    // Exactly its size on the heap, so that a byte read beyond it is found.
    engine_.handle_frame(now(),
                         {.bytes = {reinterpret_cast<const std::byte*>(frame.data()), frame.size()},
                          .ip_checksum = wire::RxChecksum::good,
                          .l4_checksum = wire::RxChecksum::good});
  }

  void segment(Input& in) {
    const uint8_t who = in.byte() % 8;
    Peer& peer = peers_[who];
    const uint8_t flags = in.byte();
    const auto delta = static_cast<int8_t>(in.byte());
    const auto ack_delta = static_cast<int8_t>(in.byte());
    const uint8_t window = in.byte();
    const uint8_t what = in.byte();
    std::string payload;
    if (what < 64) payload = requests[what % requests.size()];
    if (what >= 64 && what < 80) payload = text_of(in.take(what));
    std::string options;
    if ((flags & 2) != 0)
      options = std::string("\x02\x04\x05\xb4\x04\x02\x03\x03\x07\x00\x00\x00", 12);
    if (what >= 200) options = text_of(in.take((what - 200u) / 4 * 4 % 44));
    options.resize((options.size() + 3) / 4 * 4);

    std::vector<uint8_t> frame(14 + 20 + 20 + options.size() + payload.size());
    const std::array<uint8_t, 14> ethernet = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    std::memcpy(frame.data(), ethernet.data(), ethernet.size());
    auto* ip = reinterpret_cast<std::byte*>(frame.data() + 14);
    store_u8(ip, 0x45);
    store_be16(ip + 2, static_cast<uint16_t>(frame.size() - 14));
    store_u8(ip + 8, 64);
    store_u8(ip + 9, 6);
    store_be32(ip + 12, 0x0a000002);
    store_be32(ip + 16, 0x0a000001);
    std::byte* tcp = ip + 20;
    store_be16(tcp, static_cast<uint16_t>(1000 + who));
    store_be16(tcp + 2, 80);
    const uint32_t sequence = peer.snd_nxt + static_cast<uint32_t>(delta / 16);
    store_be32(tcp + 4, sequence);
    store_be32(tcp + 8, peer.rcv_nxt + static_cast<uint32_t>(ack_delta / 16));
    store_u8(tcp + 12, static_cast<uint8_t>((20 + options.size()) / 4 << 4));
    store_u8(tcp + 13, flags);
    store_be16(tcp + 14, static_cast<uint16_t>(window * 257));
    std::memcpy(tcp + 20, options.data(), options.size());
    std::memcpy(tcp + 20 + options.size(), payload.data(), payload.size());
    peer.snd_nxt = sequence + static_cast<uint32_t>(payload.size()) + ((flags & 3) != 0 ? 1 : 0);
    receive(frame);
  }

  void exchange() {
    for (content::ToStore message; engine_.poll_message(message);) source_.handle(message);
    for (content::ToWorker message; source_.poll(message);) engine_.handle_message(now(), message);
  }

  void poll(uint32_t most) {
    wire::TxFrame frame;
    for (uint32_t i = 0; i < most && engine_.poll_frame(now(), frame); ++i) {
      for (const content::Extent& extent : frame.payload) {
        pins_.pin(extent.chunk);
        (void)arena_.bytes(extent);  // in bounds
      }
      in_nic_.push_back(frame.payload);
      note(frame);
      if (in_nic_.size() > 4) complete();
    }
  }
  // What the peer would acknowledge next.
  void note(const wire::TxFrame& frame) {
    if (frame.l4_length == 0) return;
    const std::byte* tcp = frame.header.data() + frame.l2_length + frame.l3_length;
    const uint32_t port = load_be16(tcp + 2);
    if (port < 1000 || port >= 1008) return;
    const uint8_t flags = load_u8(tcp + 13);
    peers_[port - 1000].rcv_nxt =
        load_be32(tcp + 4) + frame.payload_length + ((flags & 3) != 0 ? 1 : 0);
  }
  void complete() {
    for (const content::Extent& extent : in_nic_.front()) pins_.unpin(extent.chunk);
    in_nic_.pop_front();
  }

  int64_t now_ns_ = 1'000'000'000;
  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  content::ChunkPins pins_{chunk_count, slots};
  sim::ContentSource source_;
  http::MediaTypes media_types_;
  stats::Counters counters_;
  engine::Engine engine_;
  std::array<Peer, 8> peers_{};
  std::deque<FixedVector<content::Extent, wire::TxFrame::extents_max>> in_nic_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Harness harness;
  for (int i = 0; i < 2000 && !in.empty(); ++i) harness.step(in);
  harness.end();
  return 0;
}
