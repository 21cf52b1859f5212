// engine_seeds: seeded simulations of whole servers with many clients on bad links. Each seed draws
// the workers, tables, links, disk, files and what every client does; every byte is checked, and
// the invariants of cluster_checks.cc at every step; in the end nothing is held.
//
//   engine_seeds [--first N] [--count M] [--log]   --log: every event, for one seed
//
// A failing seed prints itself and the command that replays it exactly.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "scenario.h"

int main(int argc, char** argv) {
  uint64_t first = 1, count = 500;
  bool log = false;
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (std::strcmp(argv[i], "--log") == 0) log = true;
    if (std::strcmp(argv[i], "--first") == 0 && more) first = std::strtoull(argv[++i], nullptr, 10);
    if (std::strcmp(argv[i], "--count") == 0 && more) count = std::strtoull(argv[++i], nullptr, 10);
  }
  const std::function<void(const std::string&)> print = [](const std::string& line) {
    std::puts(line.c_str());
  };
  uint64_t failed = 0, responses = 0;
  double virtual_s = 0;
  for (uint64_t seed = first; seed < first + count && failed < 10; ++seed) {
    const sluice::sim::ScenarioResult result =
        sluice::sim::run_scenario(seed, log ? print : nullptr);
    responses += result.responses;
    virtual_s += static_cast<double>(result.virtual_ns) * 1e-9;
    if (result.failure.empty()) continue;
    ++failed;
    std::printf("seed %" PRIu64 " failed: %s\n%s  replay: scripts/dev seed %" PRIu64
                "    (--log for every event)\n",
                seed, result.failure.c_str(), result.details.c_str(), seed);
  }
  std::printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " failed; %" PRIu64
              " responses in %.0f s of virtual time\n",
              count, first, failed, responses, virtual_s);
  return failed == 0 ? 0 : 1;
}
