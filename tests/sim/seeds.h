// What engine_seeds and replica_seeds share: their command line, the run over the seeds, the
// report.
//
//   PROGRAM [--first N] [--count M] [--jobs J] [--log]   --log: every event, for one seed
//
// A failing seed prints itself and the command that replays it exactly. After ten it stops.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sluice::sim {

struct SeedResult {
  std::string failure;  // empty: all is well
  std::string details;  // with a failure: what was drawn and how it stood
  int64_t virtual_ns = 0;
  std::vector<uint64_t> counts;  // one for each of SeedProgram::counted
};

struct SeedProgram {
  std::string replay;                // the command that takes the number of a seed
  std::vector<std::string> counted;  // what of the runs is summed up in the last line
  /// `log`, if given, gets every event of the run.
  std::function<SeedResult(uint64_t seed, const std::function<void(const std::string&)>& log)> run;
};

/// Returns the exit code: 0 when no seed failed.
[[nodiscard]] int run_seeds(int argc, char** argv, const SeedProgram& program);

}  // namespace sluice::sim
