// goodput: what a long download gets in virtual time over one path, seed by seed: the cells of
// perf/macro/loss, without a machine that may be busy.
//
//   goodput [--congestion bbr] [--rtt-ms 100] [--mbit 200] [--loss 300] [--reorder 300]
//           [--queue-bytes N] [--window-bytes N] [--seconds 5] [--seeds 5] [--first 1]
//           [--trace-ms N]
//
// Loss and reordering (per 10,000 frames) come behind the bottleneck, as perf/link has them; the
// queue holds one bandwidth-delay product, at least 256 KiB. Prints a line a seed, then the median.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "algorithms.h"
#include "cluster.h"

namespace sluice::sim {
namespace {

struct Options {
  const char* congestion = "bbr";
  int64_t rtt_ms = 100;
  uint64_t mbit = 200;
  uint32_t loss_per_10000 = 300;
  uint32_t reorder_per_10000 = 0;
  uint64_t queue_bytes = 0;  // 0: one bandwidth-delay product
  uint32_t window_bytes = 16u << 20;
  int64_t seconds = 5;
  uint64_t seeds = 5;
  uint64_t first = 1;
  int64_t trace_ms = 100;
  bool trace = false;
};

constexpr uint64_t frame_bytes = 1514;
constexpr uint64_t queue_bytes_min = 256 << 10;
constexpr int64_t reorder_frames = 8;

// Where the sender stands.
void trace(Cluster& cluster, uint64_t received) {
  const tcp::Stack& stack = cluster.engine(0).tcp();
  for (uint32_t i = 0; i < stack.connections_max(); ++i) {
    if (!stack.is_open(tcp::ConnectionIndex(i))) continue;
    const tcp::Info info = stack.info(tcp::ConnectionIndex(i));
    const auto mbit = [](uint64_t bytes_per_s) { return static_cast<double>(bytes_per_s) * 8e-6; };
    std::printf(
        "%6.1f s %8.1f MB | bw %5.1f pacing %5.1f rate %5.1f Mbit/s | cwnd %5u pipe %5u flight %5u "
        "lost %5u kB | srtt %5.1f ms | %s, %u runs\n",
        static_cast<double>(cluster.now_ns()) * 1e-9 - 1, static_cast<double>(received) * 1e-6,
        mbit(info.bandwidth_bytes_per_s), mbit(info.pacing_bytes_per_s), mbit(info.delivery_rate),
        info.cwnd_bytes / 1000, info.pipe_bytes / 1000, info.in_flight_bytes / 1000,
        info.lost_bytes / 1000, static_cast<double>(info.srtt.us()) * 1e-3,
        info.recovery == tcp::RecoveryMode::open ? "open" : "recovering", info.sent_runs);
  }
}

double download(const Options& options, const NamedAlgorithm& algorithm, uint64_t seed) {
  const uint64_t bytes_per_second = options.mbit * 125'000;
  const uint64_t product = bytes_per_second * static_cast<uint64_t>(options.rtt_ms) / 1000;
  const uint64_t queue =
      options.queue_bytes > 0 ? options.queue_bytes : std::max(product, queue_bytes_min);
  LinkOptions up{.delay_ns = options.rtt_ms * 500'000};
  LinkOptions down = up;
  down.bytes_per_second = bytes_per_second;
  down.queue_frames = static_cast<uint32_t>(std::max<uint64_t>(queue / frame_bytes, 1));
  down.loss_per_10000 = options.loss_per_10000;
  down.loss_behind_line = true;
  down.reorder_per_10000 = options.reorder_per_10000;
  down.reorder_ns =
      static_cast<int64_t>(reorder_frames * frame_bytes * 1'000'000'000 / bytes_per_second);
  Cluster cluster({.seed = seed,
                   .chunk_count = 64,
                   .chunk_bytes = 1u << 20,
                   .connections_max = 4,
                   .send_queues = 4,
                   .congestion = algorithm.algorithm,
                   .mailbox_ns = 0,
                   .ring_ns = 0,
                   .disk = {.latency_ns_min = 0, .latency_ns_max = 0},
                   .paths = {{.down = down, .up = up}}});
  cluster.put_file("f", 1ull << 31, 1);
  ReferenceClient& client =
      cluster.connect(0, {.window_scale = 10, .window_bytes = options.window_bytes});
  const int64_t began = cluster.now_ns();
  client.send(began, "GET /f HTTP/1.1\r\nHost: s\r\n\r\n");
  for (int64_t at = 0; at < options.seconds * 1'000; at += options.trace_ms) {
    static_cast<void>(cluster.run_until([] { return false; }, options.trace_ms * 1'000'000));
    if (!cluster.failure().empty()) break;
    client.forget_received();
    if (options.trace) trace(cluster, client.received_bytes());
  }
  if (!cluster.failure().empty() || !cluster.violations().empty()) {
    std::fprintf(stderr, "%s%s\n", cluster.failure().c_str(), cluster.violations().c_str());
    return -1;
  }
  const double got = static_cast<double>(client.received_bytes()) * 8e3 /
                     static_cast<double>(cluster.now_ns() - began);
  const stats::Counters& counters = cluster.counters(0);
  const LinkCounts& counts = cluster.down(0).counts();
  std::printf(
      " | seed %llu: %.1f Mbit/s, queue drops %llu, lost %llu, timeouts %llu, exhausted %llu\n",
      static_cast<unsigned long long>(seed), got,
      static_cast<unsigned long long>(counts.dropped_queue),
      static_cast<unsigned long long>(counts.dropped_loss),
      static_cast<unsigned long long>(counters.get(stats::Counter::tcp_rto)),
      static_cast<unsigned long long>(counters.get(stats::Counter::tcp_sent_runs_exhausted)));
  return got;
}

int run(const Options& options) {
  const auto algorithm =
      std::find_if(algorithms.begin(), algorithms.end(), [&](const NamedAlgorithm& named) {
        return std::strcmp(named.name, options.congestion) == 0;
      });
  if (algorithm == algorithms.end() || options.seeds == 0) return 2;
  std::vector<double> goodputs;
  for (uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    goodputs.push_back(download(options, *algorithm, seed));
    if (goodputs.back() < 0) return 1;
  }
  std::sort(goodputs.begin(), goodputs.end());
  std::printf("median %.1f least %.1f most %.1f Mbit/s\n", goodputs[goodputs.size() / 2],
              goodputs.front(), goodputs.back());
  return 0;
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
  sluice::sim::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
    const auto number = std::strtoull(argv[i + 1], nullptr, 10);
    if (is("--congestion")) options.congestion = argv[i + 1];
    if (is("--rtt-ms")) options.rtt_ms = static_cast<int64_t>(number);
    if (is("--mbit")) options.mbit = number;
    if (is("--loss")) options.loss_per_10000 = static_cast<uint32_t>(number);
    if (is("--reorder")) options.reorder_per_10000 = static_cast<uint32_t>(number);
    if (is("--queue-bytes")) options.queue_bytes = number;
    if (is("--window-bytes")) options.window_bytes = static_cast<uint32_t>(number);
    if (is("--seconds")) options.seconds = static_cast<int64_t>(number);
    if (is("--seeds")) options.seeds = number;
    if (is("--trace-ms")) options.trace_ms = static_cast<int64_t>(number);
    if (is("--trace-ms")) options.trace = true;
    if (is("--first")) options.first = number;
  }
  return sluice::sim::run(options);
}
