// A world of DataPlanes for tests: each with a whole Store, an Overlay and files in memory, joined
// by the simulation's fake mover, under one virtual clock.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "replica/data_plane.h"
#include "replica/node.h"
#include "replica/overlay.h"
#include "replication/fake_mover.h"
#include "replication/plain_digests.h"
#include "store/store.h"

namespace sluice::replica {

inline std::vector<std::byte> bytes_of(uint64_t seed, size_t size) {
  Prng random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

/// Files that do not change while they are read.
class MemoryDisk {
 public:
  explicit MemoryDisk(const content::ArenaView& arena) : arena_(arena) {}
  std::map<std::string, std::vector<std::byte>> files;
  uint32_t reads = 0;

  void submit(const store::IoRequest& request) {
    store::IoCompletion done{.kind = request.kind, .token = request.token};
    if (request.kind == store::IoKind::close) {
      open_.erase(request.file);
      return;
    }
    if (request.kind == store::IoKind::open) {
      const auto at = files.find(std::string(request.path));
      if (at == files.end()) {
        done.error = ENOENT;
      } else {
        open_[request.file] = at->first;
      }
    }
    if (done.error == 0) {
      const std::vector<std::byte>& file = files[open_.at(request.file)];
      done.has_facts = true;
      done.facts = {.kind = store::FileKind::regular,
                    .version = {1, std::hash<std::string>()(open_.at(request.file)), file.size(),
                                1'000'000'000, 1'000'000'000},
                    .links = 1,
                    .age_ns = 3'600'000'000'000};
      if (request.kind == store::IoKind::read) {
        ++reads;
        const size_t length =
            std::min<size_t>(request.extent.length_bytes, file.size() - request.offset_bytes);
        std::copy_n(file.begin() + static_cast<ptrdiff_t>(request.offset_bytes), length,
                    arena_.bytes(request.extent).begin());
        done.bytes = static_cast<uint32_t>(length);
      }
    }
    done_.push_back(done);
  }
  [[nodiscard]] bool poll(store::IoCompletion& out) {
    if (done_.empty()) return false;
    out = done_.front();
    done_.pop_front();
    return true;
  }

 private:
  content::ArenaView arena_;
  std::map<uint32_t, std::string> open_;
  std::deque<store::IoCompletion> done_;
};

struct PlaneHostOptions {
  uint32_t chunk_count = 64;
  uint32_t chunk_bytes = 16'384;
};

/// One node, whole or without its Directory: `Part` is Node or DataPlane.
template <typename Part>
class PlaneHost {
 public:
  PlaneHost(sim::FakeMover& mover, const std::string& name, const NodeConfig& given,
            const PlaneHostOptions& options)
      : config(given), mover_(mover), memory_(size_t{options.chunk_count} * options.chunk_bytes) {
    config.name = name;
    config.address = name + ":7000";
    config.chunk_count = options.chunk_count;
    config.chunk_bytes = options.chunk_bytes;
    config.fetches_max = reads_in_flight;
    if (config.hold_bytes_max == 0) config.hold_bytes_max = memory_.size() / 2;
    index = mover.add_host(config.address);
  }
  /// Its process begins; where there was one, that one is killed.
  void start() {
    if (plane) mover_.kill(index, false);
    plane.reset();
    arena = {memory_.data(), static_cast<uint32_t>(memory_.size() / config.chunk_bytes),
             config.chunk_bytes, nullptr, 0};
    config.chunk_count = arena.chunk_count;
    client_pins = std::make_unique<content::ChunkPins>(arena.chunk_count, 0);
    pins = std::make_unique<content::ChunkPins>(arena.chunk_count, 0);
    uses_ = {client_pins.get(), pins.get()};
    store::Config store_config{.workers = 2,
                               .chunk_count = arena.chunk_count,
                               .chunk_bytes = config.chunk_bytes,
                               .max_objects = 64,
                               .max_open_files = 16,
                               .lookups_max = 64,
                               .needs_max = node_pieces_max,
                               .reads_in_flight = reads_in_flight,
                               .opens_in_flight = 8};
    store_config.last_holds = true;
    store = std::make_unique<store::Store>(store_config, uses_, counters);
    overlay = std::make_unique<Overlay>(OverlayConfig{.generations_max = 64,
                                                      .max_open_files = 16,
                                                      .reads_in_flight = reads_in_flight,
                                                      .chunk_bytes = config.chunk_bytes});
    auto files = disk ? std::move(disk->files) : decltype(disk->files){};
    disk = std::make_unique<MemoryDisk>(arena);
    disk->files = std::move(files);
    mover_.start(index, arena);
    plane = std::make_unique<Part>(config, arena, *pins, counters);
  }

  /// All that can happen at this moment. Returns whether anything did.
  bool turn(Instant now) {
    bool worked = false;
    if (stopped) return false;
    for (LinkEvent event; mover_.poll(index, event); worked = true) plane->handle(now, event);
    if (plane->next_timeout() <= now) plane->handle_timeout(now);
    for (Post post; plane->poll_post(now, post); worked = true) mover_.post(index, post);
    for (ToOverlay message; plane->poll_overlay(message); worked = true) {
      if (const auto* ask = std::get_if<AskReaders>(&message)) {
        overlay->tell_readers(
            {ask->generation, store->is_read(internal_name(ask->generation).view())});
        continue;
      }
      const std::string changed(overlay->handle(now, message));
      if (!changed.empty()) store->handle_change(now, changed);
    }
    content::ToStore question;
    while (store->can_take(1) && plane->poll_message(question)) {
      store->handle_message(now, 1, question);
      worked = true;
    }
    store::IoCompletion done;
    while (disk->poll(done)) {
      if (overlay->handle_disk(now, done)) store->handle_completion(now, done);
      worked = true;
    }
    for (; overlay->poll_completion(done); worked = true) store->handle_completion(now, done);
    if (store->next_timeout() <= now) store->handle_timeout(now);
    store::IoRequest request;
    for (; overlay->poll_disk(request); worked = true) disk->submit(request);
    for (; store->poll_io(now, request); worked = true) {
      if (overlay->handle_request(now, request)) disk->submit(request);
    }
    for (FromOverlay message; overlay->poll_message(message); worked = true) {
      plane->handle(now, message);
    }
    for (content::ToWorker message; store->poll_message(1, message); worked = true) {
      plane->handle(now, message);
    }
    for (content::ToWorker message; store->poll_message(0, message); worked = true) {
      if (const auto* retire = std::get_if<content::Retire>(&message)) {
        store->handle_message(now, 0, content::Retired{retire->chunk});
      } else {
        for_client.push_back(message);
      }
    }
    if constexpr (std::is_same_v<Part, DataPlane>) worked |= take_events();
    return worked;
  }
  [[nodiscard]] uint64_t count(stats::Counter counter) const { return counters.get(counter); }

  static constexpr uint32_t reads_in_flight = 32;
  NodeConfig config;
  content::ArenaView arena;
  stats::Counters counters;
  std::unique_ptr<content::ChunkPins> client_pins;
  std::unique_ptr<content::ChunkPins> pins;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<Overlay> overlay;
  std::unique_ptr<MemoryDisk> disk;
  std::unique_ptr<Part> plane;
  sim::FakeMover::HostIndex index = 0;
  bool stopped = false;  // SIGSTOP

  std::map<GenerationId, HoldResult> results;
  std::map<GenerationId, uint32_t> answers;
  std::map<uint32_t, Manifest> manifests;
  std::map<uint32_t, std::string> failures;
  std::vector<GenerationId> lost;
  std::vector<SessionEvent> session_events;
  std::deque<content::ToWorker> for_client;

 private:
  bool take_events() {
    bool worked = false;
    for (Keeper::Event event; plane->poll_keeper_event(event); worked = true) {
      if (const auto* held = std::get_if<Keeper::Held>(&event)) {
        results[held->generation] = held->result;
        ++answers[held->generation];
      } else if (auto* ingested = std::get_if<Keeper::Ingested>(&event)) {
        manifests[ingested->ticket] = std::move(ingested->manifest);
      } else if (auto* failed = std::get_if<Keeper::IngestFailed>(&event)) {
        failures[failed->ticket] = failed->why;
      } else if (const auto* lost_one = std::get_if<Keeper::Lost>(&event)) {
        lost.push_back(lost_one->generation);
      }
    }
    for (SessionEvent event; plane->poll_session_event(event); worked = true) {
      session_events.push_back(std::move(event));
    }
    return worked;
  }

  sim::FakeMover& mover_;
  std::vector<std::byte> memory_;
  std::vector<const content::ChunkPins*> uses_;
};

template <typename Part>
class BasicWorld : public testing::Test {
 protected:
  NodeConfig config{.cluster_key = std::vector<std::byte>(32, std::byte{7}),
                    .nonce_key = {1, 2},
                    .digests = sim::plain_digests(),
                    .rate_bytes_per_s = 0};
  PlaneHostOptions host_options;
  sim::MoverOptions mover_options;
  std::vector<std::string> extra_peers;
  std::unique_ptr<sim::FakeMover> mover;
  std::vector<std::unique_ptr<PlaneHost<Part>>> hosts;
  Instant now = Instant::from_ns(1'000'000'000);
  uint32_t spins_ = 0;  // timeouts in a row that were due and led to nothing

  /// Nodes 1..count, each with the others in its list.
  void start(uint32_t count) {
    mover = std::make_unique<sim::FakeMover>(mover_options);
    mover->advance(now.ns());
    for (uint32_t i = 0; i < count; ++i) {
      NodeConfig each = config;
      each.self = {i + 1};
      each.epoch = 1;
      each.nonce_key.k0 = i + 100;
      for (uint32_t peer = 0; peer < count; ++peer) {
        if (peer != i) each.peers.push_back("node" + std::to_string(peer + 1) + ":7000");
      }
      each.peers.insert(each.peers.end(), extra_peers.begin(), extra_peers.end());
      hosts.push_back(std::make_unique<PlaneHost<Part>>(*mover, "node" + std::to_string(i + 1),
                                                        each, host_options));
    }
    for (auto& host : hosts) host->start();
  }
  void TearDown() override {
    if (mover) {
      EXPECT_EQ(mover->violation(), "");
    }
    for (auto& host : hosts) EXPECT_EQ(host->count(stats::Counter::replica_copied_bytes), 0u);
  }

  /// Time passes, from event to event.
  void pass(Duration time) {
    const Instant until = now + time;
    while (true) {
      for (int turns = 0; turns < 1000; ++turns) {
        bool worked = false;
        for (auto& host : hosts) worked |= host->turn(now);
        if (!worked) break;
      }
      Instant next = Instant::from_ns(mover->next_ns());
      for (auto& host : hosts) {
        if (host->stopped) continue;
        next = std::min({next, host->plane->next_timeout(), host->store->next_timeout()});
      }
      if (next > until) break;
      if (next <= now && ++spins_ > 1000) {
        ADD_FAILURE() << "a timeout that is over for good";
        spins_ = 0;
        now = until;
        break;
      }
      if (next > now) spins_ = 0;
      now = std::max(next, now + 1_us);
      mover->advance(now.ns());
    }
    now = until;
    mover->advance(now.ns());
  }
  template <typename Condition>
  [[nodiscard]] bool pass_until(Duration most, Condition condition) {
    const Instant until = now + most;
    while (now < until) {
      if (condition()) return true;
      pass(1_ms);
    }
    return condition();
  }

  PlaneHost<Part>& node(uint32_t number) { return *hosts[number - 1]; }
  /// What a client of the node would get; empty when it cannot be had.
  std::vector<std::byte> read(uint32_t number, GenerationId generation) {
    const InternalName name = internal_name(generation);
    return read_name(number, name.view());
  }
  std::vector<std::byte> read_path(uint32_t number, std::string_view path) {
    return read_name(number, node(number).overlay->redirect(path));
  }
  std::vector<std::byte> read_name(uint32_t number, std::string_view name) {
    PlaneHost<Part>& host = node(number);
    host.store->handle_message(now, 0, content::Lookup{0, name});
    content::ObjectInfo info;
    bool found = false;
    std::map<content::PieceNumber, content::Extent> pieces;
    bool failed = false;
    const auto take = [&] {
      for (; !host.for_client.empty(); host.for_client.pop_front()) {
        const content::ToWorker& message = host.for_client.front();
        if (const auto* answer = std::get_if<content::LookupAnswer>(&message)) {
          found = answer->status == content::LookupStatus::found;
          failed |= !found;
          info = answer->info;
        } else if (const auto* ready = std::get_if<content::PieceReady>(&message)) {
          pieces[ready->piece] = ready->extent;
        } else if (std::holds_alternative<content::PieceFailed>(message)) {
          failed = true;
        }
      }
    };
    host.for_client.clear();
    (void)pass_until(5_s, [&] {
      take();
      return found || failed;
    });
    if (failed || !found) return {};
    const auto count = static_cast<uint32_t>((info.size_bytes + host.config.chunk_bytes - 1) /
                                             host.config.chunk_bytes);
    std::vector<std::byte> out;
    for (uint32_t piece = 0; piece < count; ++piece) {
      host.store->handle_message(now, 0, content::NeedPiece{info.id, piece, false});
      const bool came = pass_until(60_s, [&] {
        take();
        return failed || pieces.contains(piece);
      });
      if (!came || failed) return {};
      const MutableBytes bytes = host.arena.bytes(pieces[piece]);
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
    return out;
  }
};

/// What the Directory would do is done by the test.
class PlaneWorld : public BasicWorld<DataPlane> {
 protected:
  bool is_linked(uint32_t a, uint32_t b) {
    return node(a).plane->sessions().data_link(now, {b}).has_value() &&
           node(b).plane->sessions().data_link(now, {a}).has_value();
  }
  void link_all() {
    ASSERT_TRUE(pass_until(5_s, [&] {
      for (uint32_t a = 1; a <= hosts.size(); ++a) {
        for (uint32_t b = 1; b < a; ++b) {
          if (!is_linked(a, b)) return false;
        }
      }
      return true;
    }));
  }
  /// The manifest of a file of this node.
  Manifest ingest(uint32_t number, const std::string& path, uint64_t generation = 1) {
    PlaneHost<DataPlane>& host = node(number);
    const uint32_t ticket = next_ticket_++;
    host.plane->handle_task(now, IngestTask{ticket, path}, nullptr);
    EXPECT_TRUE(pass_until(10_s, [&] { return host.manifests.contains(ticket); }));
    Manifest manifest = host.manifests[ticket];
    manifest.generation = {generation, {number}};
    manifest.digest = digest_of(manifest, config.digests);
    return manifest;
  }
  void hold(uint32_t number, const Manifest& manifest, std::vector<NodeId> upstreams) {
    node(number).results.erase(manifest.generation);
    node(number).plane->handle_task(now, HoldTask{manifest, std::move(upstreams), false}, nullptr);
  }
  /// As the Directory does some time after a hold failed.
  void hold_again(uint32_t number, const Manifest& manifest, std::vector<NodeId> upstreams) {
    const auto at = node(number).results.find(manifest.generation);
    if (at == node(number).results.end() || at->second == HoldResult::verified) return;
    hold(number, manifest, std::move(upstreams));
  }
  /// Where a piece lies at a node that has it.
  content::Extent find(uint32_t number, const Manifest& manifest, content::PieceNumber piece) {
    PlaneHost<DataPlane>& host = node(number);
    const InternalName name = internal_name(manifest.generation);
    host.for_client.clear();
    host.store->handle_message(now, 0, content::Lookup{0, name.view()});
    content::Extent extent;
    (void)pass_until(1_s, [&] {
      for (; !host.for_client.empty(); host.for_client.pop_front()) {
        const content::ToWorker message = host.for_client.front();
        if (const auto* answer = std::get_if<content::LookupAnswer>(&message)) {
          host.store->handle_message(now, 0, content::NeedPiece{answer->info.id, piece, false});
        } else if (const auto* ready = std::get_if<content::PieceReady>(&message)) {
          extent = ready->extent;
        }
      }
      return !extent.chunk.is_none();
    });
    return extent;
  }
  bool is_verified(uint32_t number, const Manifest& manifest) {
    const auto at = node(number).results.find(manifest.generation);
    return at != node(number).results.end() && at->second == HoldResult::verified;
  }

 private:
  uint32_t next_ticket_ = 1;
};

}  // namespace sluice::replica
