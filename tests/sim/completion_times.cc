// completion_times: how long a download takes in virtual time, over a table of RTT, rate, loss and
// buffer, for each congestion control. The tables are checked in (tests/sim/snapshots), so that a
// change in behaviour shows in review.
//
//   completion_times --check DIR    compares; ends with 1 where anything differs
//   completion_times --write DIR    takes them anew (scripts/dev snapshots)
//
// One client, one file from a disk without latency, the whole server of cluster.h. With loss, the
// median of three seeds. The same code gives the same table, to the microsecond.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "algorithms.h"
#include "cluster.h"

namespace sluice::sim {
namespace {

struct Cell {
  int64_t rtt_ms = 0;
  uint64_t rate_mbit = 0;
  uint32_t loss_per_10000 = 0;
  uint32_t buffer_percent = 0;  // of the bandwidth-delay product; never below buffer_frames_min
};
constexpr std::array<int64_t, 3> rtts_ms = {1, 20, 100};
constexpr std::array<uint64_t, 3> rates_mbit = {10, 100, 1000};
constexpr std::array<uint32_t, 4> losses_per_10000 = {0, 10, 100, 300};
constexpr std::array<uint32_t, 2> buffers_percent = {25, 100};
constexpr uint64_t buffer_frames_min = 8;
constexpr int64_t limit_ns = 1'000'000'000'000;

uint64_t file_bytes(const Cell& cell) {
  return std::min<uint64_t>(4'000'000, cell.rate_mbit * 100'000);  // at most 0.8 s of the line
}

struct Outcome {
  int64_t took_us = -1;  // -1: it did not end
  uint64_t sent_frames = 0;
  uint64_t queue_drops = 0;
};

Outcome download(const Cell& cell, const NamedAlgorithm& algorithm, uint64_t seed) {
  const uint64_t bytes_per_second = cell.rate_mbit * 125'000;
  const uint64_t bdp_frames = bytes_per_second * static_cast<uint64_t>(cell.rtt_ms) / 1000 / 1514;
  LinkOptions up{.delay_ns = cell.rtt_ms * 500'000};
  LinkOptions down = up;
  down.bytes_per_second = bytes_per_second;
  down.queue_frames =
      static_cast<uint32_t>(std::max(buffer_frames_min, bdp_frames * cell.buffer_percent / 100));
  down.loss_per_10000 = cell.loss_per_10000;
  // RFC 8257 section 4.1: K > (RTT * C) / 7.
  if (algorithm.wants_marks) down.mark_frames = std::max(2u, down.queue_frames / 5);
  Cluster cluster({.seed = seed,
                   .chunk_count = 80,
                   .connections_max = 4,
                   .send_queues = 4,
                   .congestion = algorithm.algorithm,
                   .mailbox_ns = 0,
                   .ring_ns = 0,
                   .disk = {.latency_ns_min = 0, .latency_ns_max = 0},
                   .paths = {{.down = down, .up = up}}});
  const uint64_t size = file_bytes(cell);
  cluster.put_file("f", size, 1);
  ReferenceClient& client = cluster.connect(0, {.window_scale = 9,
                                                .window_bytes = 16u << 20,
                                                .ecn = algorithm.wants_marks,
                                                .dctcp = algorithm.wants_marks});
  const int64_t began = cluster.now_ns();
  client.send(began, "GET /f HTTP/1.1\r\nHost: s\r\n\r\n");
  const bool done = cluster.run_until([&] { return client.received_bytes() > size; }, limit_ns);
  if (!done || !cluster.violations().empty()) {
    std::fprintf(stderr, "%s%s\n", cluster.failure().c_str(), cluster.violations().c_str());
    return {};
  }
  return {.took_us = (cluster.now_ns() - began) / 1000,
          .sent_frames = cluster.down(0).counts().offered,
          .queue_drops = cluster.down(0).counts().dropped_queue};
}

std::string row(const Cell& cell, const NamedAlgorithm& algorithm) {
  std::vector<Outcome> outcomes;
  for (uint64_t seed = 1; seed <= (cell.loss_per_10000 == 0 ? 1u : 3u); ++seed) {
    outcomes.push_back(download(cell, algorithm, seed));
  }
  std::sort(outcomes.begin(), outcomes.end(),
            [](const Outcome& a, const Outcome& b) { return a.took_us < b.took_us; });
  const Outcome& median = outcomes[outcomes.size() / 2];
  const double line_us =
      static_cast<double>(file_bytes(cell) * 8) / static_cast<double>(cell.rate_mbit);
  const double share = median.took_us < 0 ? 0 : 100 * line_us / static_cast<double>(median.took_us);
  char text[160];
  std::snprintf(text, sizeof text, "%6lld %9llu %6.1f %10u %12.3f %12.1f %11llu %11llu\n",
                static_cast<long long>(cell.rtt_ms),
                static_cast<unsigned long long>(cell.rate_mbit), cell.loss_per_10000 / 100.0,
                cell.buffer_percent, static_cast<double>(median.took_us) / 1000, share,
                static_cast<unsigned long long>(median.sent_frames),
                static_cast<unsigned long long>(median.queue_drops));
  return text;
}

std::string table(const NamedAlgorithm& algorithm) {
  std::string text = "# Completion of a download (1 or 4 MB) in virtual time, congestion control " +
                     std::string(algorithm.name) +
                     ".\n# Taken by: scripts/dev snapshots. Checked by: completion_times --check.\n"
                     "# buffer: percent of rate * RTT. share: of the line's rate.\n"
                     "rtt_ms rate_mbit  loss_%   buffer_%   took_ms      share_% frames_sent "
                     "queue_drops\n";
  for (const int64_t rtt : rtts_ms) {
    for (const uint64_t rate : rates_mbit) {
      for (const uint32_t loss : losses_per_10000) {
        for (const uint32_t buffer : buffers_percent) {
          text += row({rtt, rate, loss, buffer}, algorithm);
        }
      }
    }
  }
  return text;
}

// Prints the rows that differ. Returns: how many.
size_t compare(const std::string& path, const std::string& is) {
  std::ifstream file(path);
  std::ostringstream contents;
  contents << file.rdbuf();
  std::istringstream was_lines(contents.str()), is_lines(is);
  size_t differ = 0;
  std::string was_line, is_line;
  while (std::getline(is_lines, is_line)) {
    if (!std::getline(was_lines, was_line)) was_line.clear();
    if (was_line == is_line) continue;
    ++differ;
    std::printf("%s\n- %s\n+ %s\n", path.c_str(), was_line.c_str(), is_line.c_str());
  }
  return differ;
}

int run(bool write, const std::string& folder) {
  size_t differ = 0;
  for (const NamedAlgorithm& algorithm : algorithms) {
    const std::string path = folder + "/" + algorithm.name + ".txt";
    const std::string text = table(algorithm);
    if (write) {
      std::ofstream(path) << text;
      std::printf("wrote %s\n", path.c_str());
    } else {
      differ += compare(path, text);
    }
  }
  if (differ == 0) return 0;
  std::printf(
      "%zu rows differ: TCP behaves differently. If it is meant to, take the snapshots anew:\n"
      "  scripts/dev snapshots && git diff tests/sim/snapshots\n",
      differ);
  return 1;
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
  const bool write = argc == 3 && std::strcmp(argv[1], "--write") == 0;
  const bool check = argc == 3 && std::strcmp(argv[1], "--check") == 0;
  if (!write && !check) {
    std::fprintf(stderr, "completion_times --check|--write DIR\n");
    return 2;
  }
  return sluice::sim::run(write, argv[2]);
}
