// Scenario: a Cluster, files and visitors, all drawn from one seed, run to its end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "visitor.h"

namespace sluice::sim {

struct ScenarioResult {
  std::string failure;  // empty: all is well
  std::string details;  // with a failure: what was drawn and how it stood
  uint64_t trace = 0;   // equal for equal runs
  uint64_t responses = 0;
  int64_t virtual_ns = 0;
};

/// Runs the scenario of this seed. `log`, if given, gets every event of the run.
[[nodiscard]] ScenarioResult run_scenario(
    uint64_t seed, const std::function<void(const std::string&)>& log = nullptr);

}  // namespace sluice::sim
