// replica_seeds: seeded simulations of whole nodes that replicate (seeds.h). Each seed draws nodes,
// links, disks, a registry, what is published and everything that goes wrong; bytes, ETags, grants,
// pins and marks are checked at every step, and that all is well again in the end
// (replica_world.h).

#include "replica_scenario.h"
#include "seeds.h"

int main(int argc, char** argv) {
  using namespace sluice::sim;
  return run_seeds(
      argc, argv,
      {.replay = "scripts/dev replica-seed",
       .counted = {"publications", "readings", "complete readings", "changes and faults"},
       .run = [](uint64_t seed, const auto& log) {
         const ReplicaResult result = run_replica_scenario(seed, log);
         return SeedResult{
             .failure = result.failure,
             .details = result.details,
             .virtual_ns = result.virtual_ns,
             .counts = {result.commits, result.readings, result.readings_complete, result.faults}};
       }});
}
