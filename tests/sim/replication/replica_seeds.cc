// replica_seeds: seeded simulations of whole nodes that replicate. Each seed draws nodes, links,
// disks, a registry, what is published and everything that goes wrong; bytes, ETags, grants, pins
// and marks are checked at every step, and that all is well again in the end (replica_world.h).
//
//   replica_seeds [--first N] [--count M] [--log]   --log: every event, for one seed
//
// A failing seed prints itself and the command that replays it exactly.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "replica_scenario.h"

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
  uint64_t failed = 0, done = 0, commits = 0, readings = 0, complete = 0, faults = 0;
  double virtual_s = 0;
  for (uint64_t seed = first; seed < first + count && failed < 10; ++seed) {
    const sluice::sim::ReplicaResult result =
        sluice::sim::run_replica_scenario(seed, log ? print : nullptr);
    ++done;
    commits += result.commits;
    readings += result.readings;
    complete += result.readings_complete;
    faults += result.faults;
    virtual_s += static_cast<double>(result.virtual_ns) * 1e-9;
    if (result.failure.empty()) continue;
    ++failed;
    std::printf("seed %" PRIu64 " failed: %s\n%s  replay: scripts/dev replica-seed %" PRIu64
                "    (--log for every event)\n",
                seed, result.failure.c_str(), result.details.c_str(), seed);
    std::fflush(stdout);
  }
  std::printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " failed; %" PRIu64
              " publications, %" PRIu64 " readings (%" PRIu64 " complete), %" PRIu64
              " changes and faults in %.0f s of virtual time\n",
              done, first, failed, commits, readings, complete, faults, virtual_s);
  return failed == 0 ? 0 : 1;
}
