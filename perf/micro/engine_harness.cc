#include "engine_harness.h"

#include <algorithm>
#include <cstring>

namespace sluice::perf {
namespace {

constexpr uint32_t chunk_count = 64;
constexpr uint32_t chunk_bytes = 2 << 20;
constexpr uint32_t head_slots = 4096;
constexpr uint32_t server_ip = 0x0a000001;
constexpr uint32_t large_bytes = 100 << 20;

}  // namespace

engine::Config harness_config(const HarnessOptions& options, const http::MediaTypes& media_types) {
  engine::Config config;
  config.inet.mac.octets = {2, 0, 0, 0, 0, 1};
  (void)config.inet.addresses.push_back({inet::Address::v4(server_ip), 8});
  config.inet.neighbors_max = 64;
  config.tcp.max_connections = options.connections_max;
  config.tcp.receive_buffers = 64;
  config.tcp.max_half_open = std::min(options.connections_max, 16'384u);
  config.tcp.time_wait_max = 1024;
  config.tcp.send_queues = options.send_queues > 0 ? options.send_queues : options.connections_max;
  config.tcp.train_max_bytes = options.train_max_bytes;
  (void)config.tcp.ports.push_back(80);
  config.catalog.objects_max = 256;
  config.catalog.pieces_max = config.tcp.send_queues + 1024;
  config.catalog.readahead_pieces = 2;
  config.catalog.fresh_for = Duration::from_s(1'000'000);
  config.session.idle_timeout = Duration::from_s(1'000'000);
  config.session.media_types = &media_types;
  return config;
}

EngineHarness::EngineHarness(const HarnessOptions& options)
    : memory_(size_t{chunk_count} * chunk_bytes + size_t{head_slots} * content::head_slot_bytes),
      arena_{.chunks = memory_.data(),
             .chunk_count = chunk_count,
             .chunk_bytes = chunk_bytes,
             .head_slots = memory_.data() + size_t{chunk_count} * chunk_bytes,
             .head_slot_count = head_slots},
      pins_(std::make_unique<content::ChunkPins>(chunk_count, head_slots)),
      source_(arena_, *pins_),
      engine_(std::make_unique<engine::Engine>(harness_config(options, media_types_), arena_,
                                               *pins_, counters_)) {
  source_.add_file("small", 1024, 1);
  source_.add_file("large", large_bytes, 2);
  engine_->set_wall_clock({1'700'000'000'000'000'000});
}

EngineHarness::Frame EngineHarness::segment(Peer& peer, uint8_t flags, std::string_view payload) {
  const bool is_syn = (flags & syn) != 0;
  if (is_syn) peers_[peer.port] = &peer;
  const size_t options = is_syn ? 20 : 12;
  Frame frame(14 + 20 + 20 + options + payload.size());
  const std::array<uint8_t, 14> ethernet = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
  std::memcpy(frame.data(), ethernet.data(), ethernet.size());
  std::byte* ip = frame.data() + 14;
  store_u8(ip, 0x45);
  store_be16(ip + 2, static_cast<uint16_t>(frame.size() - 14));
  store_be16(ip + 6, 0x4000);
  store_u8(ip + 8, 64);
  store_u8(ip + 9, 6);
  store_be32(ip + 12, peer.address);
  store_be32(ip + 16, server_ip);
  std::byte* tcp = ip + 20;
  store_be16(tcp, peer.port);
  store_be16(tcp + 2, 80);
  store_be32(tcp + 4, peer.snd_nxt);
  store_be32(tcp + 8, is_syn ? 0 : peer.rcv_nxt);
  store_u8(tcp + 12, static_cast<uint8_t>((20 + options) / 4 << 4));
  store_u8(tcp + 13, flags);
  store_be16(tcp + 14, 0xffff);
  std::byte* option = tcp + 20;
  if (is_syn) {
    store_be32(option, 0x020405b4);       // MSS 1460
    store_be32(option + 4, 0x0402080a);   // SACK permitted, timestamps
    store_be32(option + 16, 0x0103030e);  // window scale 14
    option += 8;
  } else {
    store_be32(option, 0x0101080a);
    option += 4;
  }
  store_be32(option, static_cast<uint32_t>(now_.ns() / 1'000'000));
  if (!payload.empty()) std::memcpy(tcp + 20 + options, payload.data(), payload.size());
  peer.snd_nxt += static_cast<uint32_t>(payload.size()) + ((flags & (fin | syn)) != 0 ? 1 : 0);
  return frame;
}

void EngineHarness::complete(const wire::TxFrame& frame) {
  for (const content::Extent& extent : frame.payload) {
    pins_->pin(extent.chunk);
    pins_->unpin(extent.chunk);
  }
}

bool EngineHarness::send() {
  if (!poll()) return false;
  complete(frame_);
  if (frame_.l3_length == 0 && load_be32(frame_.header.data() + 38) == server_ip) return true;
  if (frame_.l3_length == 0) {  // ARP for the peer: everybody lives at one link address
    Frame reply(42);
    std::memcpy(reply.data(), frame_.header.data(), 42);
    const std::array<uint8_t, 14> ethernet = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6};
    std::memcpy(reply.data(), ethernet.data(), ethernet.size());
    store_be16(reply.data() + 20, 2);
    std::memcpy(reply.data() + 22, reply.data() + 6, 6);
    std::memcpy(reply.data() + 28, frame_.header.data() + 38, 4);
    std::memcpy(reply.data() + 32, reply.data(), 6);
    std::memcpy(reply.data() + 38, frame_.header.data() + 28, 4);
    receive(reply);
    return true;
  }
  if (frame_.l4_length == 0) return true;
  const std::byte* tcp = frame_.header.data() + frame_.l2_length + frame_.l3_length;
  Peer* peer = peers_[load_be16(tcp + 2)];
  if (peer == nullptr) return true;
  const uint8_t flags = load_u8(tcp + 13);
  peer->rcv_nxt = load_be32(tcp + 4) + frame_.payload_length + ((flags & (fin | syn)) != 0 ? 1 : 0);
  return true;
}

void EngineHarness::exchange() {
  for (content::ToStore message; engine_->poll_message(message);) source_.handle(message);
  for (content::ToWorker message; source_.poll(message);) engine_->handle_message(now_, message);
}

void EngineHarness::open(Peer& peer) {
  receive(segment(peer, syn));
  while (send()) {
  }
  receive(segment(peer, ack));
}

}  // namespace sluice::perf
