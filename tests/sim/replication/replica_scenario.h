// A ReplicaWorld, its files, publications and misfortunes, all drawn from one seed, run to rest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace sluice::sim {

struct ReplicaResult {
  std::string failure;  // empty: all is well
  std::string details;  // with a failure: what was drawn and how it stood
  uint64_t trace = 0;   // equal for equal runs
  uint64_t commits = 0;
  uint64_t readings = 0;
  uint64_t readings_complete = 0;
  uint64_t faults = 0;  // injected and done
  int64_t virtual_ns = 0;
};

/// Runs the scenario of this seed. `log`, if given, gets every event of the run.
[[nodiscard]] ReplicaResult run_replica_scenario(
    uint64_t seed, const std::function<void(const std::string&)>& log = nullptr);

}  // namespace sluice::sim
