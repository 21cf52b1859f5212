#include "scenario.h"

#include <algorithm>
#include <deque>

#include "algorithms.h"

namespace sluice::sim {
namespace {

constexpr int64_t limit_ns = 600'000'000'000;

LinkOptions draw_link(Prng& prng, bool down) {
  LinkOptions link;
  link.delay_ns = static_cast<int64_t>(10'000 + prng.below(30'000'000));
  if (prng.chance(3, 4)) {
    link.loss_per_10000 = static_cast<uint32_t>(prng.below(300));
    link.reorder_per_10000 = static_cast<uint32_t>(prng.below(300));
    link.duplicate_per_10000 = static_cast<uint32_t>(prng.below(200));
  }
  if (prng.chance(1, 3)) link.corrupt_per_10000 = static_cast<uint32_t>(prng.below(100));
  if (prng.chance(1, 4)) link.burst_begin_per_10000 = static_cast<uint32_t>(1 + prng.below(50));
  if (down && prng.chance(1, 2)) {
    link.bytes_per_second = 500'000 + prng.below(20'000'000);
    link.queue_frames = static_cast<uint32_t>(5 + prng.below(200));
    if (prng.chance(1, 2)) link.mark_frames = 1 + link.queue_frames / 4;
  }
  if (prng.chance(1, 8)) {
    const auto from = static_cast<int64_t>(1'000'000'000 + prng.below(5'000'000'000));
    link.partitions.push_back({from, from + static_cast<int64_t>(prng.below(12'000'000'000))});
  }
  return link;
}

ClusterOptions draw_cluster(uint64_t seed, Prng& prng) {
  ClusterOptions options;
  options.seed = seed;
  options.workers = static_cast<uint32_t>(1 + prng.below(3));
  options.ipv6 = prng.chance(1, 2);
  options.chunk_bytes = static_cast<uint32_t>(4096 << prng.below(5));
  options.chunk_count = static_cast<uint32_t>(3 + prng.below(12));
  options.head_slots = static_cast<uint32_t>(2 + prng.below(40));
  options.connections_max = static_cast<uint32_t>(12 + prng.below(30));
  options.send_queues = static_cast<uint32_t>(10 + prng.below(options.connections_max));
  options.sent_runs = static_cast<uint32_t>(4 + prng.below(400));
  options.open_files_max = static_cast<uint32_t>(1 + prng.below(8));
  options.congestion = algorithms[prng.below(algorithms.size())].algorithm;
  options.mailbox_ns = static_cast<int64_t>(prng.below(50'000));
  options.ring_ns = static_cast<int64_t>(prng.below(200'000));
  options.ring_trains = static_cast<uint32_t>(1 + prng.below(64));
  options.disk.latency_ns_max =
      options.disk.latency_ns_min +
      static_cast<int64_t>(prng.below(prng.chance(1, 4) ? 50'000'000 : 2'000'000));
  if (prng.chance(1, 4)) options.disk.open_error_per_10000 = 300;
  if (prng.chance(1, 4)) options.disk.read_error_per_10000 = 300;
  if (prng.chance(1, 2)) options.disk.short_read_per_10000 = 1'000;
  options.paths.clear();
  // Some paths swallow large packets. A draw of its own: the other worlds stay as they were.
  Prng silent(seed ^ 0x7061'7468);
  for (uint64_t i = 0, n = 1 + prng.below(3); i < n; ++i) {
    options.paths.push_back({draw_link(prng, true), draw_link(prng, false)});
    if (silent.chance(1, 6)) options.paths.back().down.carries_bytes = 1280 + silent.below(221);
  }
  Prng repairs(seed ^ 0x7265'7061);  // likewise
  options.recoveries = static_cast<uint32_t>(repairs.below(repairs.chance(1, 2) ? 3 : 40));
  return options;
}

class Scenario {
 public:
  Scenario(uint64_t seed, const std::function<void(const std::string&)>& log)
      : prng_(seed), options_(draw_cluster(seed, prng_)), cluster_(options_), seed_(seed) {
    cluster_.set_log(log);
  }

  ScenarioResult run() {
    ScenarioResult result;
    try {
      play();
    } catch (const Failure& failure) {
      result.failure = failure.what;
      result.details = details();
    }
    result.trace = cluster_.trace();
    result.virtual_ns = cluster_.now_ns();
    for (const Visitor& visitor : visitors_) result.responses += visitor.responses();
    return result;
  }

 private:
  void play() {
    changes_ = prng_.chance(1, 5);
    for (uint64_t i = 0, n = 1 + prng_.below(5); i < n; ++i) {
      const uint64_t size =
          prng_.chance(1, 8) ? 0 : prng_.below(prng_.chance(1, 2) ? 3000 : 150'000);
      put("f" + std::to_string(i), size);
    }
    const uint64_t count = 1 + prng_.below(8);
    for (uint64_t i = 0; i < count; ++i) {
      visitors_.emplace_back(cluster_, prng_, files_, draw_visitor());
    }
    change_at_ns_ = cluster_.now_ns() + static_cast<int64_t>(prng_.below(1'000'000'000));
    const bool finished = cluster_.run_until([this] { return step(); }, limit_ns);
    if (!cluster_.failure().empty()) throw Failure{cluster_.failure()};
    if (!finished) throw Failure{"no end in 600 s of virtual time"};
    come_to_rest();
  }

  VisitorOptions draw_visitor() {
    return {.path = prng_.below(options_.paths.size()),
            .client = {.mss = prng_.chance(1, 4) ? uint16_t{536} : uint16_t{1460},
                       .window_scale = static_cast<uint8_t>(prng_.below(9)),
                       .window_bytes = static_cast<uint32_t>(3000 + prng_.below(500'000)),
                       .sack = prng_.chance(3, 4),
                       .timestamps = prng_.chance(3, 4),
                       .dsack = prng_.chance(3, 4),
                       .ecn = prng_.chance(1, 2)},
            .unreliable_content = changes_ || options_.disk.open_error_per_10000 > 0 ||
                                  options_.disk.read_error_per_10000 > 0,
            // A request takes a head slot and a send queue; some slots are set aside.
            .may_be_refused = std::min(options_.head_slots, options_.send_queues) < 16};
  }

  void put(const std::string& path, uint64_t size) {
    FileHistory& file = files_[path];
    const auto taken = [&file](uint64_t s) {
      for (const auto& version : file.versions) {
        if (version.size == s) return true;
      }
      return false;
    };
    while (taken(size)) ++size;
    file.versions.push_back({size, seed_ * 1000 + ++contents_});
    cluster_.put_file(path, size, seed_ * 1000 + contents_);
  }

  bool step() {
    if (changes_ && cluster_.now_ns() >= change_at_ns_) {
      change_at_ns_ += 1 + static_cast<int64_t>(prng_.below(3'000'000'000));
      put("f" + std::to_string(prng_.below(files_.size())), prng_.below(100'000));
    }
    bool all = true;
    for (Visitor& visitor : visitors_) all = visitor.step() && all;
    return all;
  }

  // Nothing is held once everybody has gone.
  void come_to_rest() {
    const auto settled = [this] {
      return cluster_.is_drained() && cluster_.disk().in_flight() == 0;
    };
    const bool drained = cluster_.run_until(settled, limit_ns);
    if (!cluster_.failure().empty()) throw Failure{cluster_.failure()};
    if (!drained) throw Failure{"connections left open"};
    const int64_t end = cluster_.now_ns() + 1'000'000'000;
    static_cast<void>(cluster_.run_until([&] { return cluster_.now_ns() >= end; }, 2'000'000'000));
    if (!cluster_.leaks().empty()) throw Failure{cluster_.leaks()};
    bool corrupts = false;
    for (const PathOptions& path : options_.paths) {
      corrupts = corrupts || path.down.corrupt_per_10000 > 0;
    }
    if (!corrupts && !cluster_.violations().empty()) throw Failure{cluster_.violations()};
  }

  std::string details() {
    std::string text = "  " + options_.describe() + "\n";
    for (const Visitor& visitor : visitors_) text += "  " + visitor.describe() + "\n";
    for (uint32_t w = 0; w < cluster_.workers(); ++w) {
      const tcp::Stack& stack = cluster_.engine(w).tcp();
      for (uint32_t i = 0; i < stack.connections_max(); ++i) {
        if (!stack.is_open(tcp::ConnectionIndex(i))) continue;
        const tcp::Info info = stack.info(tcp::ConnectionIndex(i));
        text +=
            "  worker " + std::to_string(w) + ": port " + std::to_string(info.flow.remote_port) +
            " state " + std::to_string(static_cast<int>(info.state)) + " blocked " +
            std::to_string(info.blocked) + " parked " + std::to_string(info.parked) + " cwnd " +
            std::to_string(info.cwnd_bytes) + " in flight " + std::to_string(info.in_flight_bytes) +
            " window " + std::to_string(info.peer_window_bytes) + " queued " +
            std::to_string(info.bytes_queued) + " rto " + std::to_string(info.rto.ms()) + " ms\n";
      }
    }
    return text;
  }

  Prng prng_;
  ClusterOptions options_;
  Cluster cluster_;
  uint64_t seed_;
  Files files_;
  std::deque<Visitor> visitors_;
  bool changes_ = false;
  int64_t change_at_ns_ = 0;
  uint64_t contents_ = 0;
};

}  // namespace

ScenarioResult run_scenario(uint64_t seed, const std::function<void(const std::string&)>& log) {
  return Scenario(seed, log).run();
}

}  // namespace sluice::sim
