// engine_seeds: seeded simulations of one engine with many clients on a bad link. Each seed draws
// the link, the arena, the files and what every client does; every response is checked byte for
// byte, and in the end nothing is held.
//
//   engine_seeds [--first N] [--count M]      a failing seed prints itself: replay it with --first
//   SEED --count 1

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "world.h"

namespace sluice::sim {
namespace {

struct Failure {
  std::string what;
};

struct FileSpec {
  uint64_t size = 0;
  uint64_t seed = 0;
};

// One client and its plan.
class Visitor {
 public:
  Visitor(World& world, Prng& prng, const std::map<std::string, FileSpec>& files)
      : world_(world), files_(files), requests_left_(1 + prng.below(6)), prng_(prng.next()) {
    client_ = &world.connect({.mss = prng_.chance(1, 4) ? uint16_t{536} : uint16_t{1460},
                              .window_scale = static_cast<uint8_t>(prng_.below(9)),
                              .window_bytes = static_cast<uint32_t>(3000 + prng_.below(500'000)),
                              .sack = prng_.chance(3, 4),
                              .timestamps = prng_.chance(3, 4)});
  }

  // Returns true once it is done.
  bool step() {
    if (done_) return true;
    const int64_t now = world_.now_ns();
    if (client_->state() == ClientState::reset) {
      if (!aborted_) throw Failure{"the server reset a good connection"};
      return done_ = true;
    }
    if (stalled_until_ns_ != 0 && now >= stalled_until_ns_) {
      stalled_until_ns_ = 0;
      client_->resume(now);
    }
    if (!waiting_ && requests_left_ > 0) {
      ask();
    } else if (waiting_ && judge()) {
      waiting_ = false;
      if (requests_left_ == 0) client_->close(now);
    } else if (waiting_ && client_->received_bytes() > trouble_at_) {
      trouble_at_ = UINT64_MAX;
      if (prng_.chance(1, 3)) {
        aborted_ = true;
        client_->abort(now);
      } else {
        client_->stall();
        stalled_until_ns_ = now + static_cast<int64_t>(prng_.below(4'000'000'000)) + 1;
      }
    }
    if (!waiting_ && requests_left_ == 0 && client_->state() == ClientState::done) done_ = true;
    return done_;
  }
  [[nodiscard]] std::string describe() const {
    return path_ + " waiting=" + std::to_string(waiting_) +
           " received=" + std::to_string(client_->received().size()) +
           " expected=" + std::to_string(expected_.size()) +
           " state=" + std::to_string(static_cast<int>(client_->state()));
  }

 private:
  void ask() {
    auto it = files_.begin();
    std::advance(it, static_cast<int64_t>(prng_.below(files_.size())));
    path_ = it->first;
    const FileSpec& file = it->second;
    std::string fields = "Host: s\r\n";
    uint64_t from = 0, length = file.size;
    status_ = "200";
    if (file.size > 0 && prng_.chance(1, 3)) {
      from = prng_.below(file.size);
      length = 1 + prng_.below(file.size - from);
      fields +=
          "Range: bytes=" + std::to_string(from) + "-" + std::to_string(from + length - 1) + "\r\n";
      status_ = "206";
    }
    expected_ = pattern(file.seed, from, length);
    if (prng_.chance(1, 10)) {
      path_ = "nothing/here";
      status_ = "404";
    }
    client_->forget_received();
    client_->send(world_.now_ns(), "GET /" + path_ + " HTTP/1.1\r\n" + fields + "\r\n");
    trouble_at_ =
        prng_.chance(1, 5) ? client_->received_bytes() + prng_.below(length + 1) : UINT64_MAX;
    waiting_ = true;
    --requests_left_;
  }

  // Returns true when the response is whole and right.
  bool judge() {
    const std::string& got = client_->received();
    const size_t end = got.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    if (got.compare(0, 12, "HTTP/1.1 " + status_) != 0) {
      throw Failure{"wrong status: " + got.substr(0, 40) + " wanted " + status_};
    }
    const size_t field = got.find("Content-Length: ");
    if (field == std::string::npos || field > end) throw Failure{"no Content-Length"};
    const uint64_t length = std::strtoull(got.c_str() + field + 16, nullptr, 10);
    const size_t have = got.size() - end - 4;
    if (have > length) throw Failure{"more bytes than Content-Length"};
    if (status_ != "404" && have > 0 &&
        std::memcmp(got.data() + end + 4, expected_.data(), std::min(have, expected_.size())) !=
            0) {
      throw Failure{"wrong bytes"};
    }
    if (have < length) {
      if (client_->peer_closed()) throw Failure{"response cut short"};
      return false;
    }
    if (status_ != "404" && length != expected_.size()) throw Failure{"wrong length"};
    return true;
  }

  World& world_;
  const std::map<std::string, FileSpec>& files_;
  uint64_t requests_left_;
  Prng prng_;
  ReferenceClient* client_;
  std::string path_, status_, expected_;
  bool waiting_ = false, aborted_ = false, done_ = false;
  uint64_t trouble_at_ = UINT64_MAX;
  int64_t stalled_until_ns_ = 0;
};

void run_seed(uint64_t seed) {
  Prng prng(seed);
  WorldOptions options;
  options.seed = seed;
  options.congestion = static_cast<tcp::CongestionAlgorithm>(seed % 4);
  options.ipv6 = prng.chance(1, 2);
  options.chunk_bytes = static_cast<uint32_t>(4096 << prng.below(5));
  options.chunk_count = static_cast<uint32_t>(2 + prng.below(12));
  options.head_slots = static_cast<uint32_t>(2 + prng.below(40));
  options.connections_max = static_cast<uint32_t>(12 + prng.below(30));
  options.content_delay_ns = static_cast<int64_t>(prng.below(3'000'000));
  options.link.delay_ns = static_cast<int64_t>(10'000 + prng.below(30'000'000));
  if (prng.chance(3, 4)) {
    options.link.loss_per_10000 = static_cast<uint32_t>(prng.below(300));
    options.link.reorder_per_10000 = static_cast<uint32_t>(prng.below(300));
    options.link.duplicate_per_10000 = static_cast<uint32_t>(prng.below(200));
    options.link.corrupt_per_10000 = static_cast<uint32_t>(prng.below(100));
  }
  if (prng.chance(1, 3)) {
    options.link.bytes_per_second = 500'000 + prng.below(20'000'000);
    options.link.queue_frames = static_cast<uint32_t>(5 + prng.below(200));
  }
  // Some paths swallow large packets. A draw of its own: the other worlds stay as they were.
  Prng path(seed ^ 0x7061'7468);
  if (path.chance(1, 6)) options.link.carries_bytes = 1280 + path.below(221);
  World world(options);
  std::map<std::string, FileSpec> files;
  for (uint64_t i = 0, n = 1 + prng.below(5); i < n; ++i) {
    const uint64_t size = prng.chance(1, 8) ? 0 : prng.below(prng.chance(1, 2) ? 3000 : 150'000);
    files["f" + std::to_string(i)] = {size, seed * 10 + i};
    world.content().add_file("f" + std::to_string(i), size, seed * 10 + i);
  }
  std::vector<Visitor> visitors;
  const uint64_t count = 1 + prng.below(8);
  for (uint64_t i = 0; i < count; ++i) visitors.emplace_back(world, prng, files);
  const bool finished = world.run_until(
      [&] {
        bool all = true;
        for (Visitor& visitor : visitors) all = visitor.step() && all;
        return all;
      },
      400'000'000'000);
  if (!finished) {
    for (const Visitor& visitor : visitors) std::printf("  %s\n", visitor.describe().c_str());
    std::printf("  store: %zu waiting; %s\n", world.content().waiting(),
                options.describe().c_str());
    for (uint32_t i = 0; i < options.connections_max; ++i) {
      const tcp::ConnectionIndex c(i);
      if (!world.engine().tcp().is_open(c)) continue;
      const tcp::Info info = world.engine().tcp().info(c);
      std::printf(
          "  server: port %u state %d blocked %d parked %d cwnd %u in flight %u window %u queued "
          "%llu rto %lld ms\n",
          info.flow.remote_port, static_cast<int>(info.state), info.blocked, info.parked,
          info.cwnd_bytes, info.in_flight_bytes, info.peer_window_bytes,
          static_cast<unsigned long long>(info.bytes_queued),
          static_cast<long long>(info.rto.ms()));
    }
    throw Failure{"no end in 400 s of virtual time"};
  }
  if (!world.run_until([&] { return world.engine().is_drained(); }, 400'000'000'000)) {
    throw Failure{"connections left open"};
  }
  world.run_for(1'000'000);
  const engine::Snapshot snapshot = world.engine().snapshot();
  if (snapshot.pins != 0) throw Failure{"pins left"};
  if (snapshot.head_slots_in_use != 0) throw Failure{"head slots left"};
  if (snapshot.objects_in_use != 0) throw Failure{"object references left"};
  if (snapshot.lookups_open != 0) throw Failure{"lookups left"};
  if (snapshot.send_queues != 0) throw Failure{"send queues left"};
  if (snapshot.receive_buffers != 0) throw Failure{"receive buffers left"};
  if (options.link.corrupt_per_10000 == 0 && !world.violations().empty()) {
    throw Failure{world.violations()};
  }
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
  uint64_t first = 1, count = 500;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--first") == 0) first = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--count") == 0) count = std::strtoull(argv[i + 1], nullptr, 10);
  }
  uint64_t failed = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    try {
      sluice::sim::run_seed(seed);
    } catch (const sluice::sim::Failure& failure) {
      ++failed;
      std::printf("seed %" PRIu64 " failed: %s\n  replay: engine_seeds --first %" PRIu64
                  " --count 1\n",
                  seed, failure.what.c_str(), seed);
      if (failed == 10) break;
    }
  }
  std::printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", count, failed);
  return failed == 0 ? 0 : 1;
}
