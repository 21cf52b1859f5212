#include "replica_scenario.h"

#include <algorithm>

#include "replica_world.h"

namespace sluice::sim {
namespace {

using replica::LinkEnd;

constexpr int64_t second_ns = 1'000'000'000;
// After the last fault: longest patience of anything, several times over.
constexpr int64_t heal_ns_max = 200 * second_ns;

MoverFaults draw_faults(Prng& prng) {
  MoverFaults faults;
  const auto sometimes = [&](uint32_t ppm) {
    return prng.chance(1, 3) ? static_cast<uint32_t>(prng.below(ppm)) : 0;
  };
  faults.frame_corrupt_ppm = sometimes(3'000);
  faults.write_corrupt_ppm = sometimes(80'000);
  faults.wrong_key_ppm = sometimes(20'000);
  faults.error_ppm = sometimes(10'000);
  faults.silent_ppm = sometimes(3'000);
  faults.stall_ppm = sometimes(10'000);
  faults.stall_ns_max = static_cast<int64_t>(prng.below(8 * second_ns));
  return faults;
}

ReplicaWorldOptions draw_world(uint64_t seed, Prng& prng) {
  ReplicaWorldOptions options;
  options.seed = seed;
  options.nodes = static_cast<uint32_t>(2 + prng.below(4));
  options.gentle = prng.chance(1, 6);
  options.paths.clear();
  for (uint64_t i = 0, n = 1 + prng.below(3); i < n; ++i) {
    options.paths.push_back("f" + std::to_string(i));
  }
  options.mover.latency_ns = static_cast<int64_t>(1'000 + prng.below(200'000));
  options.mover.jitter_ns = static_cast<int64_t>(prng.below(100'000));
  options.mover.grant_ns_max = static_cast<int64_t>(prng.below(50'000));
  options.mover.fence_ns_max =
      static_cast<int64_t>(prng.below(prng.chance(1, 4) ? second_ns : 50'000));
  options.mover.drain_ns_max =
      static_cast<int64_t>(prng.below(prng.chance(1, 4) ? second_ns : 1'000'000));
  options.mover.lanes = static_cast<uint32_t>(1 + prng.below(3));
  if (prng.chance(2, 3)) options.bytes_per_s = 100'000 + prng.below(20'000'000);
  SimNodeOptions& node = options.node;
  node.has_registry = prng.chance(1, 2);
  node.chunk_bytes = prng.chance(1, 3) ? 8192 : 4096;
  node.chunk_count = static_cast<uint32_t>(48 + prng.below(80));
  node.hold_bytes_max = uint64_t{node.chunk_count} * node.chunk_bytes * 2 / 3;
  if (prng.chance(1, 6)) node.hold_bytes_max = (1 + prng.below(16)) * node.chunk_bytes;
  node.fetches_max = static_cast<uint32_t>(1 + prng.below(24));
  node.fetch_window = static_cast<uint32_t>(1 + prng.below(16));
  if (prng.chance(1, 5)) node.rate_bytes_per_s = 200'000 + prng.below(2'000'000);
  node.mailbox_ns_max = static_cast<int64_t>(prng.below(50'000));
  node.prefer_rdma = prng.chance(4, 5);
  node.disk.latency_ns_max =
      node.disk.latency_ns_min +
      static_cast<int64_t>(prng.below(prng.chance(1, 4) ? 20'000'000 : 1'000'000));
  if (prng.chance(1, 2)) node.disk.short_read_per_10000 = 1'000;
  if (options.gentle) return options;
  options.mover.faults = draw_faults(prng);
  if (prng.chance(1, 4)) node.disk.open_error_per_10000 = 300;
  if (prng.chance(1, 4)) node.disk.read_error_per_10000 = 300;
  if (prng.chance(1, 3)) options.etcd.lost_answer_ppm = 50'000;
  if (prng.chance(1, 4)) options.etcd.delay_ns_max = 500'000'000;
  if (options.nodes > 2 && prng.chance(1, 12)) {
    options.odd_node = static_cast<uint32_t>(1 + prng.below(options.nodes - 1));
  }
  return options;
}

class Scenario {
 public:
  Scenario(uint64_t seed, const std::function<void(const std::string&)>& log)
      : prng_(seed), options_(draw_world(seed, prng_)), world_(options_), log_(log) {
    world_.set_log(log);
  }

  ReplicaResult run() {
    play();
    ReplicaResult result;
    result.failure = failure_.empty() ? world_.failure() : failure_;
    if (!result.failure.empty()) result.details = world_.describe();
    result.trace = world_.trace();
    result.commits = world_.commits();
    result.readings = world_.readings();
    result.readings_complete = world_.readings_complete();
    result.faults = world_.mover().faults_injected() + done_;
    result.virtual_ns = world_.now_ns();
    return result;
  }

 private:
  [[nodiscard]] uint32_t any_node() { return static_cast<uint32_t>(prng_.below(options_.nodes)); }
  [[nodiscard]] const std::string& any_path() {
    return options_.paths[prng_.below(options_.paths.size())];
  }
  [[nodiscard]] bool acts(uint32_t node) {
    return world_.node(node).is_alive() && !world_.node(node).is_stopped();
  }
  [[nodiscard]] uint64_t draw_size() {
    const uint64_t chunk = options_.node.chunk_bytes;
    if (prng_.chance(1, 12)) return prng_.below(3);
    if (prng_.chance(1, 4)) return chunk * (1 + prng_.below(6));
    return prng_.below(chunk * (prng_.chance(1, 4) ? 14 : 6));
  }
  void note(const std::string& what) {
    if (log_) log_(std::to_string(world_.now_ns()) + " " + what);
  }

  void put_somewhere(const std::string& path) {
    const uint32_t node = any_node();
    const ReplicaWorld::Version& version = world_.put(node, path, draw_size());
    for (uint32_t other = 0; other < options_.nodes; ++other) {
      if (other != node && prng_.chance(1, 4)) world_.put_same(other, version);
    }
    publisher_[path] = node;
  }
  void publish_somewhere(const std::string& path) {
    const uint32_t node =
        publisher_.contains(path) && !prng_.chance(1, 6) ? publisher_[path] : any_node();
    if (!acts(node)) return;
    world_.publish(node, path, static_cast<uint8_t>(1 + prng_.below(options_.nodes)));
  }

  void play() {
    for (const std::string& path : options_.paths) {
      put_somewhere(path);
      if (prng_.chance(3, 4)) publish_somewhere(path);
    }
    const int64_t end_ns =
        world_.now_ns() + static_cast<int64_t>(second_ns + prng_.below(25 * second_ns));
    while (world_.now_ns() < end_ns && world_.failure().empty()) {
      world_.run_for(
          static_cast<int64_t>(prng_.below(prng_.chance(1, 2) ? 20'000'000 : 3 * second_ns)));
      undo(world_.now_ns());
      ++done_;
      if (prng_.chance(1, 2) || options_.gentle) {
        change();
      } else {
        misfortune();
      }
    }
    if (world_.failure().empty()) come_to_rest();
  }

  // What operators and their files do.
  void change() {
    const std::string& path = any_path();
    const uint64_t kind = prng_.below(8);
    if (kind < 3) {
      put_somewhere(path);
      publish_somewhere(path);
    } else if (kind < 5) {
      publish_somewhere(path);
    } else if (kind == 5) {
      put_somewhere(path);
    } else if (kind == 6 && acts(publisher_[path])) {
      world_.unpublish(publisher_[path], path);
    } else if (kind == 7) {
      world_.node(any_node()).jump_wall_clock(-static_cast<int64_t>(prng_.below(100 * second_ns)));
    }
  }

  void later(std::function<void()> call, int64_t ns_max) {
    undo_.emplace(
        world_.now_ns() + static_cast<int64_t>(prng_.below(static_cast<uint64_t>(ns_max))),
        std::move(call));
  }
  void undo(int64_t until_ns) {
    while (!undo_.empty() && undo_.begin()->first <= until_ns) {
      const std::function<void()> call = std::move(undo_.begin()->second);
      undo_.erase(undo_.begin());
      world_.note_fault();
      call();
    }
  }

  void misfortune() {
    world_.note_fault();
    const uint32_t node = any_node();
    const uint32_t other = any_node();
    const bool acts_now = acts(node);
    switch (prng_.below(11)) {
      case 0:
        if (!acts_now) break;
        world_.kill(node, prng_.chance(1, 2));
        later([this, node] { world_.start(node); }, 15 * second_ns);
        break;
      case 1:
        if (!acts_now) break;
        world_.set_stopped(node, true);
        later([this, node] { world_.set_stopped(node, false); }, 15 * second_ns);
        break;
      case 2:
        if (node == other) break;
        note(host_name(node) + " and " + host_name(other) + " are cut off from each other");
        world_.mover().set_cut(node, other, true);
        later([this, node, other] { world_.mover().set_cut(node, other, false); }, 20 * second_ns);
        break;
      case 3:
        isolate(node);
        break;
      case 4:
        note(host_name(node) + " loses its RDMA device");
        world_.mover().set_rdma(node, false);
        later([this, node] { world_.mover().set_rdma(node, true); }, 10 * second_ns);
        break;
      case 5:
        if (acts_now) world_.rot(node);
        break;
      case 6:
        note("the links between " + host_name(node) + " and " + host_name(other) + " fail");
        world_.mover().end_links(node, other,
                                 prng_.chance(1, 2) ? LinkEnd::unreachable : LinkEnd::device_error);
        break;
      case 7:
        world_.mover().end_at_write(node, other, static_cast<uint32_t>(1 + prng_.below(8)));
        break;
      case 8:
        note(host_name(node) + " does not reach etcd");
        world_.etcd().set_cut(node, true);
        later([this, node] { world_.etcd().set_cut(node, false); }, 20 * second_ns);
        break;
      case 9:
        note("etcd hangs");
        world_.etcd().set_available(false);
        later([this] { world_.etcd().set_available(true); }, 15 * second_ns);
        break;
      case 10:
        put_somewhere(any_path());
        break;
      default:
        break;
    }
  }

  void isolate(uint32_t node) {
    note(host_name(node) + " is cut off");
    for (uint32_t i = 0; i < options_.nodes; ++i) {
      if (i == node) continue;
      world_.mover().set_cut(node, i, true);
    }
    world_.etcd().set_cut(node, true);
    later(
        [this, node] {
          for (uint32_t i = 0; i < options_.nodes; ++i) {
            if (i != node) world_.mover().set_cut(node, i, false);
          }
          world_.etcd().set_cut(node, false);
        },
        20 * second_ns);
  }

  // Everything is mended; soon nodes agree, every file is served everywhere, nothing is held.
  void come_to_rest() {
    undo(INT64_MAX);
    world_.note_fault();
    world_.mover().set_faults({});
    for (uint32_t i = 0; i < options_.nodes; ++i) {
      DiskOptions sound = options_.node.disk;
      sound.open_error_per_10000 = sound.read_error_per_10000 = 0;
      world_.node(i).disk().set_options(sound);
    }
    note("nothing is wrong any more");
    const int64_t end_ns = world_.now_ns() + heal_ns_max;
    std::string why;
    do {
      world_.run_for(second_ns);
      why = world_.disagreement();
    } while (!why.empty() && world_.failure().empty() && world_.now_ns() < end_ns);
    if (!world_.failure().empty()) return;
    if (!why.empty()) return fail("no agreement: " + why);
    world_.set_readers_idle(true);
    // Of the only copy a byte is rotten: that it may be mended yet, from a file that is open still
    // though its name leads elsewhere, is no promise.
    for (uint32_t i = 0; i < options_.nodes; ++i) {
      for (const std::string& path : options_.paths) {
        const replica::GenerationId current = world_.current(i, path);
        if (!current.is_none() && world_.is_lost(current)) lost_.insert(current);
      }
    }
    for (uint32_t i = 0; i < options_.nodes; ++i) read_all(i);
    world_.run_for(8 * second_ns);  // what is superseded is kept for a while
    if (!world_.failure().empty() || !failure_.empty()) return;
    // What seemed lost may have been found meanwhile, and is being copied.
    for (uint32_t i = 0; i < 60 && !at_peace(); ++i) world_.run_for(second_ns);
    if (!world_.failure().empty()) return;
    if (!world_.disagreement().empty()) return fail("agreement ended: " + world_.disagreement());
    if (!world_.leaks().empty()) fail(world_.leaks());
  }

  [[nodiscard]] bool at_peace() { return world_.disagreement().empty() && world_.leaks().empty(); }

  void read_all(uint32_t node) {
    if (node == options_.odd_node) return;
    for (const std::string& path : options_.paths) {
      const replica::GenerationId current = world_.current(node, path);
      if (current.is_none() || lost_.contains(current)) continue;
      Reading reading = world_.read(node, path);
      // A source whose bytes were wrong three times is not asked again for a while.
      for (uint32_t i = 0; i < 8 && !reading.complete; ++i) {
        world_.run_for(10 * second_ns);
        reading = world_.read(node, path);
      }
      if (!world_.failure().empty()) return;
      // Of two publications the later one may be committed only now.
      const ReplicaWorld::Version* version = world_.version_of(current);
      const ReplicaWorld::Version* later = world_.version_of(world_.current(node, path));
      const bool is_it = (version != nullptr && reading.info.etag == version->etag) ||
                         (later != nullptr && reading.info.etag == later->etag);
      if (!reading.complete || !is_it) {
        return fail(host_name(node) + " does not serve " + path + " when all is quiet: status " +
                    std::to_string(static_cast<int>(reading.status)) +
                    (reading.complete ? ", complete" : ", cut"));
      }
    }
  }

  void fail(const std::string& why) {
    if (failure_.empty()) failure_ = why + ", at " + std::to_string(world_.now_ns()) + " ns";
  }

  Prng prng_;
  ReplicaWorldOptions options_;
  ReplicaWorld world_;
  std::function<void(const std::string&)> log_;
  std::map<std::string, uint32_t> publisher_;
  std::multimap<int64_t, std::function<void()>> undo_;
  std::set<replica::GenerationId> lost_;
  uint64_t done_ = 0;
  std::string failure_;
};

}  // namespace

ReplicaResult run_replica_scenario(uint64_t seed,
                                   const std::function<void(const std::string&)>& log) {
  return Scenario(seed, log).run();
}

}  // namespace sluice::sim
