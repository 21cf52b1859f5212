// engine_seeds: seeded simulations of whole servers with many clients on bad links (seeds.h). Each
// seed draws the workers, tables, links, disk, files and what every client does; every byte is
// checked, and the invariants of cluster_checks.cc at every step; in the end nothing is held.

#include "scenario.h"
#include "seeds.h"

int main(int argc, char** argv) {
  using namespace sluice::sim;
  return run_seeds(argc, argv,
                   {.replay = "scripts/dev seed",
                    .counted = {"responses"},
                    .run = [](uint64_t seed, const auto& log) {
                      const ScenarioResult result = run_scenario(seed, log);
                      return SeedResult{.failure = result.failure,
                                        .details = result.details,
                                        .virtual_ns = result.virtual_ns,
                                        .counts = {result.responses}};
                    }});
}
