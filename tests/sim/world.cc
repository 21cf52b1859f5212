#include "world.h"

#include <algorithm>

#include "cut.h"
#include "inside_engine.h"

namespace sluice::sim {

namespace {

inet::Address inet_address(const HostAddress& address) {
  const auto* bytes = reinterpret_cast<const std::byte*>(address.ip.data());
  return address.is_ipv6 ? inet::Address::v6(bytes) : inet::Address::v4(load_be32(bytes + 12));
}

engine::Config engine_config(const WorldOptions& options, const HostAddress& self,
                             const http::MediaTypes& media_types) {
  engine::Config config;
  config.inet.mac.octets = self.mac;
  config.inet.mtu = options.mtu;
  (void)config.inet.addresses.push_back(
      {inet_address(self), self.is_ipv6 ? uint8_t{64} : uint8_t{24}});
  config.inet.key = {options.seed, 1};
  config.tcp.max_connections = options.connections_max;
  config.tcp.max_half_open = options.connections_max;
  config.tcp.time_wait_max = 64;
  const auto or_all = [&](uint32_t n) { return n > 0 ? n : options.connections_max; };
  config.tcp.receive_buffers = or_all(options.receive_buffers);
  config.tcp.send_queues = or_all(options.send_queues);
  config.session.slot_patience = Duration::from_ns(options.slot_patience_ns);
  config.tcp.mtu = options.mtu;
  config.tcp.congestion = options.congestion;
  (void)config.tcp.ports.push_back(80);
  config.tcp.key = {options.seed, 2};
  config.catalog.objects_max = 64;
  config.catalog.pieces_max = options.connections_max + 64;
  config.catalog.readahead_pieces = 1;
  config.catalog.fresh_for = 1_s;
  config.session.lookups_max = 16;
  config.session.path_key = {options.seed, 3};
  config.session.media_types = &media_types;
  return config;
}

LinkOptions upward(LinkOptions link) {
  link.bytes_per_second = 0;
  link.carries_bytes = 0;
  return link;
}

}  // namespace

World::World(const WorldOptions& options)
    : options_(options),
      prng_(options.seed),
      down_(options.link, prng_.next()),
      up_(upward(options.link), prng_.next()),
      client_address_(make_host(options.ipv6, 2)),
      server_address_(make_host(options.ipv6, 1)),
      memory_(size_t{options.chunk_count} * options.chunk_bytes +
              size_t{options.head_slots} * content::head_slot_bytes),
      arena_{.chunks = memory_.data(),
             .chunk_count = options.chunk_count,
             .chunk_bytes = options.chunk_bytes,
             .head_slots = memory_.data() + size_t{options.chunk_count} * options.chunk_bytes,
             .head_slot_count = options.head_slots},
      counters_(std::make_unique<stats::Counters>()),
      pins_(std::make_unique<content::ChunkPins>(options.chunk_count, options.head_slots)),
      content_(arena_, *pins_),
      media_types_(std::make_unique<http::MediaTypes>("text/html html\n")),
      engine_(std::make_unique<engine::Engine>(
          engine_config(options, server_address_, *media_types_), arena_, *pins_, *counters_)) {
  engine_->set_wall_clock({1'700'000'100'000'000'000});
}

ReferenceClient& World::connect(const ClientOptions& options) {
  const auto port = static_cast<uint16_t>(20'000 + clients_connected_++);
  // Initial sequence numbers close to the wrap.
  const auto sequence = static_cast<uint32_t>(0xffff'ff00u + prng_.below(512));
  clients_.push_back(std::make_unique<ReferenceClient>(client_address_, server_address_, port, 80,
                                                       sequence, options));
  clients_.back()->connect(now_ns_);
  pump_clients();
  return *clients_.back();
}

void World::deliver_later(Frame frame, bool to_server) {
  if (partitioned_) return;
  (to_server ? up_ : down_).send(now_ns_, std::move(frame));
}

void World::arrive(const Frame& frame, bool to_server) {
  if (to_server) {
    const Bytes bytes(reinterpret_cast<const std::byte*>(frame.data()), frame.size());
    in_engine([&] { engine_->handle_frame(instant(), {.bytes = bytes}); });
    return;
  }
  Frame reply;
  if (answer_neighbor(client_address_, frame, reply)) {
    if (options_.clients_answer_neighbors) deliver_later(std::move(reply), true);
    return;
  }
  bool taken = false;
  for (const auto& client : clients_) {
    const uint64_t before = client->segments_received();
    client->handle_frame(now_ns_, frame);
    taken = taken || client->segments_received() != before;
  }
  if (!taken && strays_.size() < 1000) strays_.push_back(frame);
}

void World::pump_clients() {
  for (const auto& client : clients_) {
    for (Frame frame; client->poll_frame(frame);) deliver_later(std::move(frame), true);
  }
}

void World::emit(const wire::TxFrame& frame) {
  for (const content::Extent& extent : frame.payload) pins_->pin(extent.chunk);
  for (Frame& one : cut(frame, arena_)) {
    ++frames_sent_;
    deliver_later(std::move(one), false);
  }
  for (const content::Extent& extent : frame.payload) pins_->unpin(extent.chunk);
}

// One turn of a worker's loop.
void World::turn() {
  for (content::ToWorker message; content_.poll(message);) {
    in_engine([&] { engine_->handle_message(instant(), message); });
  }
  in_engine([&] { engine_->handle_timeout(instant()); });
  wire::TxFrame frame;
  while (in_engine([&] { return engine_->poll_frame(instant(), frame); })) emit(frame);
  for (content::ToStore message; in_engine([&] { return engine_->poll_message(message); });) {
    asked_.emplace(now_ns_ + options_.content_delay_ns, message);
  }
}

void World::step(int64_t end_ns) {
  pump_clients();
  turn();
  int64_t next = std::min(end_ns, engine_->next_timeout().ns());
  next = std::min({next, down_.next_ns(), up_.next_ns()});
  if (!asked_.empty()) next = std::min(next, asked_.begin()->first);
  if (content_.waiting() > 0) next = std::min(next, now_ns_ + 1'000'000);
  for (const auto& client : clients_) next = std::min(next, client->next_timeout_ns());
  now_ns_ = std::max(now_ns_ + 1, next);
  while (!asked_.empty() && asked_.begin()->first <= now_ns_) {
    content_.handle(asked_.begin()->second);
    asked_.erase(asked_.begin());
  }
  for (Frame frame; up_.poll(now_ns_, frame);) arrive(frame, true);
  for (Frame frame; down_.poll(now_ns_, frame);) arrive(frame, false);
  for (const auto& client : clients_) client->handle_timeout(now_ns_);
}

void World::forget_clients() {
  violations_before_ = violations();
  clients_.clear();
}

std::string World::violations() const {
  std::string all = violations_before_;
  for (const auto& client : clients_) {
    for (const std::string& violation : client->violations()) all += violation + "\n";
  }
  return all;
}

}  // namespace sluice::sim
