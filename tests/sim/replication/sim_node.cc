#include "sim_node.h"

#include <algorithm>

namespace sluice::sim {

using namespace content;
using namespace replica;

namespace {

constexpr uint32_t reader_worker = 0;
constexpr uint32_t node_worker = 1;
// Turns in which a timer may say that it is due and nothing comes of it.
constexpr uint32_t idle_turns_max = 100;
// Outputs of one kind in one turn: more is a loop.
constexpr uint32_t outputs_max = 20'000;
constexpr uint32_t files_max = 32;
constexpr int64_t load_every_ns = 100'000'000;
constexpr int64_t wall_start_ns = 1'700'000'000'000'000'000;

store::Config store_config(const SimNodeOptions& options) {
  store::Config config;
  config.workers = 2;
  config.last_holds = true;
  config.chunk_count = options.chunk_count;
  config.chunk_bytes = options.chunk_bytes;
  config.max_objects = 256;
  config.max_open_files = files_max;
  config.lookups_max = 64;
  config.needs_max = 1'024;
  config.reads_in_flight = options.fetches_max;
  config.opens_in_flight = 8;
  config.path_key = {options.seed, 4};
  return config;
}

}  // namespace

SimNode::SimNode(const SimNodeOptions& options, FakeMover& mover, SimulatedEtcd& etcd)
    : options_(options),
      prng_(options.seed),
      mover_(mover),
      etcd_(etcd),
      host_(mover.add_host(host_address(options.index))),
      id_{siphash24({1, 2}, as_byte_span(host_name(options.index)))},
      disk_(std::make_unique<SimulatedDisk>(options.disk, options.seed + 1, 2 * files_max,
                                            ArenaView{})) {}

// Its life
// -----------------------------------------------------------------------------------------------

void SimNode::start(int64_t now_ns) {
  next_known_ = false;
  ASSERT(!process_);
  process_ = std::make_unique<Process>();
  Process& p = *process_;
  started_ns_ = now_ns;
  stopped_ = false;
  ++epoch_;
  p.memory.resize(size_t{options_.chunk_count} * options_.chunk_bytes);
  arena_ = {p.memory.data(), options_.chunk_count, options_.chunk_bytes, nullptr, 0};
  disk_->restart(arena_);
  p.counters = std::make_unique<stats::Counters>();
  p.store_counters = std::make_unique<stats::Counters>();
  p.pins = std::make_unique<ChunkPins>(options_.chunk_count, 0);
  ReaderOptions reader;
  reader.seed = prng_.next();
  reader.arena = arena_;
  reader.paths = options_.paths;
  p.reader = std::make_unique<Reader>(reader, *p.counters);
  p.reader->set_idle(!options_.has_reader);
  p.reader->on_wrong = [this](const std::string& what) { wrong(what); };
  p.reader->is_rotten = [this](uint32_t chunk, uint32_t offset) {
    return is_rotten(chunk, offset);
  };

  NodeConfig config;
  config.self = id_;
  config.epoch = epoch_;
  config.name = host_name(options_.index);
  config.address = host_address(options_.index);
  config.peers = options_.peers;
  const Bytes key = as_byte_span(options_.key);
  config.cluster_key.assign(key.begin(), key.end());
  config.nonce_key = {prng_.next(), prng_.next()};
  config.digests = options_.digests;
  config.chunk_count = options_.chunk_count;
  config.chunk_bytes = options_.chunk_bytes;
  config.hold_bytes_max = options_.hold_bytes_max;
  config.fetches_max = options_.fetches_max;
  config.fetch_window = options_.fetch_window;
  config.rate_bytes_per_s = options_.rate_bytes_per_s;
  config.scrub_bytes_per_s = uint64_t{options_.chunk_count} * options_.chunk_bytes / 16;
  config.ping_every = options_.ping_every;
  config.peer_patience = options_.peer_patience;
  config.fetch_patience = options_.fetch_patience;
  config.prefer_rdma = options_.prefer_rdma;
  config.has_registry = options_.has_registry;
  p.node = std::make_unique<Node>(config, arena_, *p.pins, *p.counters);
  p.overlay = std::make_unique<Overlay>(OverlayConfig{.generations_max = 256,
                                                      .max_open_files = files_max,
                                                      .reads_in_flight = options_.fetches_max,
                                                      .chunk_bytes = options_.chunk_bytes,
                                                      .path_key = {options_.seed, 5}});
  const std::array<const ChunkPins*, 2> uses{&p.reader->pins(), p.pins.get()};
  p.store = std::make_unique<store::Store>(store_config(options_), uses, *p.store_counters);
  mover_.start(host_, arena_);
  if (options_.has_registry) {
    etcd_.start(now_ns, options_.index,
                NodeSeen{id_, epoch_, config.name, config.address, options_.hold_bytes_max});
  }
  note(now_ns, "starts, epoch " + std::to_string(epoch_));
}

void SimNode::kill(int64_t now_ns, bool silently) {
  next_known_ = false;
  note(now_ns, silently ? "loses its power" : "is killed");
  mover_.kill(host_, silently);
  if (options_.has_registry) etcd_.kill(options_.index);
  process_ = nullptr;
  stopped_ = false;
}

void SimNode::set_stopped(int64_t now_ns, bool stopped) {
  next_known_ = false;
  note(now_ns, stopped ? "is stopped" : "goes on");
  stopped_ = stopped;
  mover_.set_stopped(host_, stopped);
  if (options_.has_registry) etcd_.set_stopped(now_ns, options_.index, stopped);
}

// What tests do
// -----------------------------------------------------------------------------------------------

void SimNode::put_file(int64_t now_ns, const std::string& path, uint64_t size, uint64_t seed) {
  next_known_ = false;
  note(now_ns, "has another " + path + ", " + std::to_string(size) + " bytes");
  disk_->put(now_ns, path, size, seed);
  files_[path] = seed;
  if (process_) process_->store->handle_change(Instant::from_ns(now_ns), path);
}

uint32_t SimNode::publish(int64_t now_ns, const std::string& path, uint8_t copies) {
  next_known_ = false;
  note(now_ns, "is told to publish " + path + ", copies " + std::to_string(copies));
  return process_->node->publish(Instant::from_ns(now_ns), wall_start_ns + now_ns + wall_offset_ns_,
                                 path, copies);
}

uint32_t SimNode::unpublish(int64_t now_ns, const std::string& path) {
  next_known_ = false;
  note(now_ns, "is told to unpublish " + path);
  return process_->node->unpublish(Instant::from_ns(now_ns), path);
}

bool SimNode::rot(Prng& prng) {
  std::vector<Extent> held;
  for (const auto& [name, pieces] : process_->pieces) {
    if (name.front() != '\x01') continue;  // of a file nobody knows what it should be
    for (const auto& [number, extent] : pieces) {
      if (process_->pins->pins(extent.chunk) > 0) held.push_back(extent);
    }
  }
  if (held.empty()) return false;
  const Extent& extent = held[prng.below(held.size())];
  const auto at = static_cast<uint32_t>(prng.below(extent.length_bytes));
  arena_.bytes(extent)[at] ^= static_cast<std::byte>(1 + prng.below(255));
  process_->rotten.emplace_back(extent.chunk.value(), extent.offset_bytes + at);
  return true;
}

bool SimNode::is_rotten(uint32_t chunk, uint32_t offset) const {
  return std::find(process_->rotten.begin(), process_->rotten.end(), std::pair{chunk, offset}) !=
         process_->rotten.end();
}

// New bytes come to where the bad ones were.
void SimNode::forget_rot(const Extent& extent) {
  std::erase_if(process_->rotten, [&](const auto& place) {
    return place.first == extent.chunk.value() && place.second >= extent.offset_bytes &&
           place.second < extent.offset_bytes + extent.length_bytes;
  });
}

bool SimNode::is_being_fetched(const Extent& extent) const {
  return std::any_of(process_->fetches.begin(), process_->fetches.end(), [&](const auto& open) {
    const Extent& place = open.second.fetch.extent;
    return place.chunk == extent.chunk && extent.offset_bytes >= place.offset_bytes &&
           extent.offset_bytes + extent.length_bytes <= place.offset_bytes + place.length_bytes;
  });
}

// Time
// -----------------------------------------------------------------------------------------------

int64_t SimNode::own_next_ns() const {
  if (!process_ || stopped_) return INT64_MAX;
  const Process& p = *process_;
  int64_t next = INT64_MAX;
  for (uint32_t w = 0; w < 2; ++w) {
    next = std::min({next, p.to_store[w].next_ns(), p.to_worker[w].next_ns()});
  }
  return std::min({next, p.to_overlay.next_ns(), p.from_overlay.next_ns(), disk_->next_ns(),
                   p.reader->next_ns(), p.node->next_timeout().ns(), p.store->next_timeout().ns(),
                   p.load_due_ns});
}

bool SimNode::has_mail() const {
  const Process& p = *process_;
  return !p.to_store[0].mail.empty() || !p.to_store[1].mail.empty() ||
         !p.to_worker[0].mail.empty() || !p.to_worker[1].mail.empty() ||
         !p.to_overlay.mail.empty() || !p.from_overlay.mail.empty() || disk_->in_flight() > 0;
}

void SimNode::turn(int64_t now_ns) {
  if (!process_ || stopped_) return;
  next_known_ = false;
  turn_node(now_ns);
  turn_reader(now_ns);
  turn_store(now_ns);
}

void SimNode::turn_node(int64_t now_ns) {
  Process& p = *process_;
  const Instant now = Instant::from_ns(now_ns);
  LinkEvent event;
  while (mover_.poll(host_, event)) {
    if (log) note_link(now_ns, event);
    p.node->handle(now, event);
  }
  ToWorker message;
  while (p.to_worker[node_worker].receive(now_ns, message)) {
    watch_to_node(message);
    p.node->handle(now, message);
  }
  FromOverlay from_overlay;
  while (p.from_overlay.receive(now_ns, from_overlay)) p.node->handle(now, from_overlay);
  RegistryEvent registry_event;
  while (options_.has_registry && etcd_.poll(now_ns, options_.index, registry_event)) {
    p.node->handle(now, registry_event);
  }
  if (p.load_due_ns <= now_ns) {
    p.load_due_ns = now_ns + load_every_ns;
    p.node->handle_load(now, 0);
  }
  if (p.node->next_timeout() <= now) p.node->handle_timeout(now);

  uint32_t outputs = 0;
  Post post;
  while (outputs++ < outputs_max && p.node->poll_post(now, post)) {
    trace_ = (trace_ ^ static_cast<uint64_t>(now_ns) ^ (post.index() << 60)) * 0x100000001b3;
    mover_.post(host_, post);
  }
  ToStore to_store;
  while (outputs++ < outputs_max && p.node->poll_message(to_store)) {
    watch_to_store(to_store);
    p.to_store[node_worker].send(mail_due(now_ns), to_store);
  }
  ToOverlay to_overlay;
  while (outputs++ < outputs_max && p.node->poll_overlay(to_overlay)) {
    watch_to_overlay(to_overlay);
    p.to_overlay.send(mail_due(now_ns), to_overlay);
  }
  RegistryRequest request;
  while (outputs++ < outputs_max && p.node->poll_registry(request)) {
    if (options_.has_registry) {
      etcd_.submit(now_ns, options_.index, request);
    } else {
      wrong("a request to a registry that there is not");
    }
  }
  if (outputs >= outputs_max) wrong("says no end of things");
  watch_timeout(now_ns);
}

void SimNode::turn_reader(int64_t now_ns) {
  Process& p = *process_;
  ToWorker message;
  while (p.to_worker[reader_worker].receive(now_ns, message)) p.reader->handle(now_ns, message);
  p.reader->turn(now_ns);
  ToStore to_store;
  while (p.reader->poll_message(to_store)) {
    p.to_store[reader_worker].send(mail_due(now_ns), to_store);
  }
}

void SimNode::turn_store(int64_t now_ns) {
  Process& p = *process_;
  const Instant now = Instant::from_ns(now_ns);
  ToOverlay to_overlay;
  while (p.to_overlay.receive(now_ns, to_overlay)) {
    if (const auto* ask = std::get_if<AskReaders>(&to_overlay)) {
      const bool are_there = p.store->is_read(internal_name(ask->generation).view());
      p.overlay->tell_readers({ask->generation, are_there});
      continue;
    }
    const std::string_view changed = p.overlay->handle(now, to_overlay);
    if (!changed.empty()) p.store->handle_change(now, changed);
  }
  for (uint32_t worker = 0; worker < 2; ++worker) {
    ToStore message;
    while (p.store->can_take(worker) && p.to_store[worker].receive(now_ns, message)) {
      auto* lookup = std::get_if<Lookup>(&message);
      if (lookup != nullptr && worker == reader_worker) {
        lookup->path = p.overlay->redirect(lookup->path);
      }
      p.store->handle_message(now, worker, message);
    }
  }
  if (p.store->next_timeout() <= now) p.store->handle_timeout(now);
  do_io(now_ns);
  for (uint32_t worker = 0; worker < 2; ++worker) {
    ToWorker message;
    while (p.store->poll_message(worker, message)) {
      p.to_worker[worker].send(mail_due(now_ns), message);
    }
  }
  FromOverlay from_overlay;
  while (p.overlay->poll_message(from_overlay)) {
    watch_fetch(now_ns, from_overlay);
    p.from_overlay.send(mail_due(now_ns), from_overlay);
  }
}

void SimNode::do_io(int64_t now_ns) {
  Process& p = *process_;
  const Instant now = Instant::from_ns(now_ns);
  const auto submit = [&](const store::IoRequest& request) {
    if (request.kind == store::IoKind::read) forget_rot(request.extent);
    disk_->submit(now_ns, request);
  };
  for (uint32_t round = 0; round < outputs_max; ++round) {
    bool idle = true;
    store::IoRequest request;
    while (p.overlay->poll_disk(request)) {
      idle = false;
      submit(request);
    }
    while (p.store->poll_io(now, request)) {
      idle = false;
      if (p.overlay->handle_request(now, request)) submit(request);
    }
    store::IoCompletion completion;
    while (p.overlay->poll_completion(completion)) {
      idle = false;
      p.store->handle_completion(now, completion);
    }
    while (disk_->poll(now_ns, completion)) {
      idle = false;
      if (p.overlay->handle_disk(now, completion)) p.store->handle_completion(now, completion);
    }
    if (idle) return;
  }
  wrong("store, overlay and disk come to no rest");
}

// What goes by
// -----------------------------------------------------------------------------------------------

void SimNode::note_link(int64_t now_ns, const LinkEvent& event) {
  const auto name = [](const LinkId& id) {
    return std::string(id.transport == Transport::rdma ? "rdma " : "tcp ") +
           std::to_string(id.slot) + "." + std::to_string(id.serial);
  };
  if (const auto* up = std::get_if<LinkUp>(&event)) {
    note(now_ns, "link " + name(up->link) + (up->dialled ? " up, dialled" : " up"));
  } else if (const auto* down = std::get_if<LinkDown>(&event)) {
    note(now_ns, "link " + name(down->link) + " down, reason " +
                     std::to_string(static_cast<int>(down->reason)));
  } else if (const auto* failed = std::get_if<DialFailed>(&event)) {
    note(now_ns, std::string("dial failed: ") + failed->why);
  }
}

void SimNode::watch_to_store(const ToStore& message) {
  if (const auto* lookup = std::get_if<Lookup>(&message)) {
    process_->lookups[lookup->ticket] = std::string(lookup->path);
  }
}

void SimNode::watch_to_node(const ToWorker& message) {
  Process& p = *process_;
  if (const auto* answer = std::get_if<LookupAnswer>(&message)) {
    if (answer->status == LookupStatus::found) {
      p.objects[answer->info.id] = p.lookups[answer->ticket];
    }
  } else if (const auto* ready = std::get_if<PieceReady>(&message)) {
    p.pieces[p.objects[ready->object]][ready->piece] = ready->extent;
  } else if (const auto* retire = std::get_if<Retire>(&message)) {
    for (auto& [name, pieces] : p.pieces) {
      std::erase_if(pieces, [&](const auto& piece) { return piece.second.chunk == retire->chunk; });
    }
  }
}

void SimNode::watch_fetch(int64_t now_ns, const FromOverlay& message) {
  const auto* fetch = std::get_if<Fetch>(&message);
  if (fetch == nullptr) return;
  forget_rot(fetch->extent);
  if (!process_->fetches.emplace(fetch->fetch, OpenFetch{*fetch, now_ns}).second) {
    wrong("a fetch number that is in use");
  }
}

void SimNode::watch_to_overlay(const ToOverlay& message) {
  Process& p = *process_;
  if (const auto* describe = std::get_if<Describe>(&message)) {
    if (on_describe) on_describe(*describe);
  }
  if (const auto* redirect = std::get_if<Redirect>(&message)) {
    if (on_redirect) on_redirect(*redirect);
    if (redirect->generation.is_none()) {
      p.redirects.erase(std::string(redirect->path.view()));
    } else {
      p.redirects[std::string(redirect->path.view())] = redirect->generation;
    }
  }
  const auto* fetched = std::get_if<Fetched>(&message);
  if (fetched == nullptr) return;
  const auto open = p.fetches.find(fetched->fetch);
  if (open == p.fetches.end()) return wrong("ended a fetch that is not open");
  // The extent is the Store's again: no peer may be able to write there.
  const Extent& extent = open->second.fetch.extent;
  for (const Extent& granted : mover_.granted(host_)) {
    if (granted.chunk == extent.chunk &&
        granted.offset_bytes < extent.offset_bytes + extent.length_bytes &&
        extent.offset_bytes < granted.offset_bytes + granted.length_bytes) {
      wrong("gave back memory that a peer can still write");
    }
  }
  if (fetched->error != 0) {
    ++p.fetches_failed;
  } else if (on_fetched) {
    on_fetched(open->second);
  }
  p.fetches.erase(open);
}

void SimNode::watch_timeout(int64_t now_ns) {
  Process& p = *process_;
  const Instant timeout = p.node->next_timeout();
  const bool stuck = timeout.ns() <= now_ns && timeout == p.timeout_seen;
  p.timeout_repeats = stuck ? p.timeout_repeats + 1 : 0;
  p.timeout_seen = timeout;
  if (p.timeout_repeats > idle_turns_max) wrong("a timer is due and never handled");
}

}  // namespace sluice::sim
