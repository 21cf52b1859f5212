#include "cluster.h"

#include <algorithm>
#include <cstring>

#include "cut.h"
#include "inside_engine.h"
#include "wire/dump.h"
#include "wire/flow_key.h"

namespace sluice::sim {
namespace {

constexpr uint64_t steering_seed = 7;

inet::Address inet_address(const HostAddress& address) {
  const auto* bytes = reinterpret_cast<const std::byte*>(address.ip.data());
  return address.is_ipv6 ? inet::Address::v6(bytes) : inet::Address::v4(load_be32(bytes + 12));
}

store::Config store_config(const ClusterOptions& options) {
  store::Config config;
  config.workers = options.workers;
  config.chunk_count = options.chunk_count;
  config.chunk_bytes = options.chunk_bytes;
  config.max_objects = 64;
  config.max_open_files = options.open_files_max;
  config.lookups_max = 16;
  config.needs_max = options.send_queues + 64;
  config.reads_in_flight = 8;
  config.opens_in_flight = 4;
  config.path_key = {options.seed, 4};
  return config;
}

engine::Config engine_config(const ClusterOptions& options, uint32_t worker,
                             const HostAddress& self, const http::MediaTypes& media_types) {
  engine::Config config;
  config.inet.mac.octets = self.mac;
  config.inet.mtu = options.mtu;
  (void)config.inet.addresses.push_back(
      {inet_address(self), self.is_ipv6 ? uint8_t{64} : uint8_t{24}});
  config.inet.answers_neighbors = worker == 0;
  config.inet.key = {options.seed, 10 + worker};
  config.tcp.max_connections = options.connections_max;
  config.tcp.max_half_open = options.connections_max;
  config.tcp.time_wait_max = 64;
  config.tcp.receive_buffers = options.connections_max;
  config.tcp.send_queues = options.send_queues;
  config.tcp.sent_runs = options.sent_runs;
  config.tcp.recoveries = options.recoveries;
  config.tcp.mtu = options.mtu;
  config.tcp.congestion = options.congestion;
  (void)config.tcp.ports.push_back(80);
  config.tcp.key = {options.seed, 20 + worker};
  config.catalog.objects_max = 64;
  config.catalog.pieces_max = options.send_queues + 64;
  config.catalog.readahead_pieces = 1;
  config.catalog.fresh_for = 1_s;
  config.session.lookups_max = 16;
  config.session.path_key = {options.seed, 3};
  config.session.media_types = &media_types;
  return config;
}

void pin_all(content::ChunkPins& pins, const wire::TxFrame& frame) {
  for (const content::Extent& extent : frame.payload) pins.pin(extent.chunk);
}

}  // namespace

std::string ClusterOptions::describe() const {
  std::string text = std::to_string(workers) + " workers, chunks " + std::to_string(chunk_count) +
                     " x " + std::to_string(chunk_bytes) + ", head slots " +
                     std::to_string(head_slots) + ", connections " +
                     std::to_string(connections_max) + ", send queues " +
                     std::to_string(send_queues) + ", files " + std::to_string(open_files_max) +
                     ", disk errors/10000 " + std::to_string(disk.open_error_per_10000) + " and " +
                     std::to_string(disk.read_error_per_10000);
  for (const PathOptions& path : paths) {
    text += "\n  down: " + path.down.describe() + "\n  up:   " + path.up.describe();
  }
  return text;
}

Cluster::Cluster(const ClusterOptions& options)
    : options_(options),
      prng_(options.seed),
      server_(make_host(options.ipv6, 1)),
      memory_(size_t{options.chunk_count} * options.chunk_bytes),
      workers_(options.workers),
      store_counters_(std::make_unique<stats::Counters>()),
      disk_(options.disk, prng_.next(), options.open_files_max,
            {memory_.data(), options.chunk_count, options.chunk_bytes, nullptr, 0}) {
  std::vector<const content::ChunkPins*> uses;
  for (uint32_t i = 0; i < options.workers; ++i) {
    Worker& worker = workers_[i];
    worker.counters = std::make_unique<stats::Counters>();
    worker.head_slots.resize(size_t{options.head_slots} * content::head_slot_bytes);
    worker.arena = {memory_.data(), options.chunk_count, options.chunk_bytes,
                    worker.head_slots.data(), options.head_slots};
    worker.pins = std::make_unique<content::ChunkPins>(options.chunk_count, options.head_slots);
    worker.engine =
        std::make_unique<engine::Engine>(engine_config(options, i, server_, media_types_),
                                         worker.arena, *worker.pins, *worker.counters);
    for (uint32_t c = 0; c < options.chunk_count + options.head_slots; ++c) {
      worker.pins_for_good += worker.pins->pins(content::ChunkIndex(c));
    }
    worker.engine->set_wall_clock({1'700'000'100'000'000'000});
    uses.push_back(worker.pins.get());
  }
  store_ = std::make_unique<store::Store>(store_config(options), uses, *store_counters_);
  for (size_t i = 0; i < options.paths.size(); ++i) {
    paths_.push_back(std::make_unique<Path>(options.paths[i], prng_.next(),
                                            make_host(options.ipv6, static_cast<uint8_t>(2 + i))));
  }
}

// What tests do
// ---------------------------------------------------------------------------------------------

void Cluster::put_file(const std::string& path, uint64_t size, uint64_t seed) {
  disk_.put(now_ns_, path, size, seed);
  in_engine([&] { store_->handle_change(instant(), path); });
  turn_store();
}

ReferenceClient& Cluster::connect(size_t path, const ClientOptions& options) {
  Path& at = *paths_[path];
  const auto port = static_cast<uint16_t>(20'000 + clients_.size());
  // Initial sequence numbers close to the wrap.
  const auto sequence = static_cast<uint32_t>(0xffff'ff00u + prng_.below(512));
  clients_.push_back(
      std::make_unique<ReferenceClient>(at.host, server_, port, 80, sequence, options));
  at.clients.push_back(clients_.back().get());
  clients_.back()->connect(now_ns_);
  pump(at);
  return *clients_.back();
}

void Cluster::begin_drain() {
  for (Worker& worker : workers_) {
    in_engine([&] { worker.engine->begin_drain(instant()); });
    turn(worker);
  }
}

bool Cluster::is_drained() const {
  return std::all_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.engine->is_drained() && worker.ring.empty() && worker.to_store.empty() &&
           worker.to_worker.empty();
  });
}

bool Cluster::knows(uint16_t client_port) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const Worker& worker) {
    const tcp::Stack& tcp = worker.engine->tcp();
    for (uint32_t i = 0; i < tcp.connections_max(); ++i) {
      const tcp::ConnectionIndex c(i);
      if (tcp.is_open(c) && tcp.info(c).flow.remote_port == client_port) return true;
    }
    return false;
  });
}

std::string Cluster::violations() const {
  std::string all;
  for (const auto& client : clients_) {
    for (const std::string& violation : client->violations()) all += violation + "\n";
  }
  return all;
}

// Time
// ---------------------------------------------------------------------------------------------

int64_t Cluster::next_event_ns() const {
  int64_t next = std::min(disk_.next_ns(), store_->next_timeout().ns());
  for (const Worker& worker : workers_) {
    next = std::min(next, worker.engine->next_timeout().ns());
    if (!worker.ring.empty()) next = std::min(next, worker.ring.front().due_ns);
    if (!worker.to_worker.empty()) next = std::min(next, worker.to_worker.front().due_ns);
    // A worker whose messages the Store cannot take now is tried again when it gave answers.
    if (!worker.to_store.empty() && worker.to_store.front().due_ns > now_ns_) {
      next = std::min(next, worker.to_store.front().due_ns);
    }
  }
  for (const auto& path : paths_) {
    next = std::min({next, path->down.next_ns(), path->up.next_ns()});
  }
  for (const auto& client : clients_) next = std::min(next, client->next_timeout_ns());
  return next;
}

void Cluster::step(int64_t end_ns) {
  for (const auto& path : paths_) pump(*path);
  for (Worker& worker : workers_) turn(worker);
  turn_store();
  check();
  now_ns_ = std::max(now_ns_ + 1, std::min(end_ns, next_event_ns()));
  for (const auto& path : paths_) {
    for (Frame frame; path->up.poll(now_ns_, frame);) arrive_at_server(frame);
    for (Frame frame; path->down.poll(now_ns_, frame);) arrive_at_client(*path, frame);
  }
  for (const auto& client : clients_) {
    if (client->next_timeout_ns() <= now_ns_) client->handle_timeout(now_ns_);
  }
}

// Frames
// ---------------------------------------------------------------------------------------------

void Cluster::give(Worker& worker, const Frame& frame, bool neighbor) {
  ++worker.frames_in;
  worker.neighbor_frames_in += neighbor;
  const Bytes bytes(reinterpret_cast<const std::byte*>(frame.data()), frame.size());
  in_engine([&] { worker.engine->handle_frame(instant(), {.bytes = bytes}); });
}

// As nic::Receiver steers where the port cannot.
void Cluster::arrive_at_server(const Frame& frame) {
  note("up", 0, frame.data(), frame.size());
  const Bytes bytes(reinterpret_cast<const std::byte*>(frame.data()), frame.size());
  const wire::FlowKey key = wire::flow_key(bytes, steering_seed);
  switch (key.kind) {
    case wire::FlowKind::tcp:
    case wire::FlowKind::icmp_error:
      return give(workers_[key.hash % workers_.size()], frame, false);
    case wire::FlowKind::neighbor:
      for (Worker& worker : workers_) give(worker, frame, true);
      return;
    case wire::FlowKind::other:
      return give(workers_[0], frame, false);
  }
}

void Cluster::arrive_at_client(Path& path, const Frame& frame) {
  note("down", path.host.mac[5], frame.data(), frame.size());
  Frame reply;
  if (answer_neighbor(path.host, frame, reply)) {
    path.up.send(now_ns_, std::move(reply));
    return;
  }
  for (ReferenceClient* client : path.clients) client->handle_frame(now_ns_, frame);
}

void Cluster::pump(Path& path) {
  for (ReferenceClient* client : path.clients) {
    for (Frame frame; client->poll_frame(frame);) path.up.send(now_ns_, std::move(frame));
  }
}

// The NIC's ring: a train's bytes are read when its turn comes, and only then let go.
void Cluster::transmit(Worker& worker) {
  while (!worker.ring.empty() && worker.ring.front().due_ns <= now_ns_) {
    const wire::TxFrame& frame = worker.ring.front().frame;
    put_on_wire(worker, frame);
    for (const content::Extent& extent : frame.payload) worker.pins->unpin(extent.chunk);
    worker.ring.pop_front();
  }
}

void Cluster::put_on_wire(const Worker& worker, const wire::TxFrame& frame) {
  for (const Frame& out : cut(frame, worker.arena)) {
    for (const auto& path : paths_) {
      const bool to_all = (out[0] & 1) != 0;
      if (to_all || std::equal(path->host.mac.begin(), path->host.mac.end(), out.begin())) {
        path->down.send(now_ns_, out);
      }
    }
  }
}

// Turns
// ---------------------------------------------------------------------------------------------

void Cluster::turn(Worker& worker) {
  engine::Engine& engine = *worker.engine;
  while (!worker.to_worker.empty() && worker.to_worker.front().due_ns <= now_ns_) {
    note("message", worker.to_worker.front().message.index(), nullptr, 0);
    in_engine([&] { engine.handle_message(instant(), worker.to_worker.front().message); });
    worker.to_worker.pop_front();
  }
  transmit(worker);
  in_engine([&] { engine.handle_timeout(instant()); });
  Train train;
  while (worker.ring.size() < options_.ring_trains &&
         in_engine([&] { return engine.poll_frame(instant(), train.frame); })) {
    pin_all(*worker.pins, train.frame);
    const auto wait =
        static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.ring_ns) + 1));
    train.due_ns = std::max(now_ns_ + wait, worker.ring.empty() ? 0 : worker.ring.back().due_ns);
    worker.ring.push_back(train);
  }
  for (content::ToStore message; in_engine([&] { return engine.poll_message(message); });) {
    const auto wait =
        static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.mailbox_ns) + 1));
    const int64_t last = worker.to_store.empty() ? 0 : worker.to_store.back().due_ns;
    worker.to_store.push_back({std::max(now_ns_ + wait, last), message});
  }
}

void Cluster::turn_store() {
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    auto& mail = workers_[i].to_store;
    while (!mail.empty() && mail.front().due_ns <= now_ns_ && store_->can_take(i)) {
      in_engine([&] { store_->handle_message(instant(), i, mail.front().message); });
      mail.pop_front();
    }
  }
  for (store::IoCompletion completion; disk_.poll(now_ns_, completion);) {
    note("disk", completion.token, nullptr, 0);
    in_engine([&] { store_->handle_completion(instant(), completion); });
  }
  if (store_->next_timeout() <= instant()) {
    in_engine([&] { store_->handle_timeout(instant()); });
  }
  store::IoRequest request;
  while (in_engine([&] { return store_->poll_io(instant(), request); })) {
    disk_.submit(now_ns_, request);
  }
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    auto& mail = workers_[i].to_worker;
    content::ToWorker message;
    while (in_engine([&] { return store_->poll_message(i, message); })) {
      const auto wait =
          static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.mailbox_ns) + 1));
      mail.push_back({std::max(now_ns_ + wait, mail.empty() ? 0 : mail.back().due_ns), message});
    }
  }
}

// FNV-1a, eight bytes at a time.
void Cluster::note(const char* what, uint64_t where, const uint8_t* data, size_t size) {
  const auto mix = [this](uint64_t word) {
    trace_ = (trace_ ^ word) * 0x100000001b3;
    trace_ ^= trace_ >> 29;
  };
  mix(static_cast<uint64_t>(now_ns_));
  mix(static_cast<uint8_t>(what[0]) + where * 256);
  mix(size);
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + at, std::min<size_t>(8, size - at));
    mix(word);
  }
  if (!log_) return;
  const Bytes frame(reinterpret_cast<const std::byte*>(data), size);
  std::array<char, wire::dump_line_bytes> line{};
  log_(std::to_string(now_ns_) + " " + what + " " + std::to_string(where) + " " +
       std::string(size == 0 ? std::string_view() : wire::dump_frame(frame, line)));
}

}  // namespace sluice::sim
