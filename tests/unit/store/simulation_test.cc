// Thousands of worlds, each a function of its seed. SLUICE_SEED=n runs one alone, for debugging;
// SLUICE_SEEDS=n runs more (some 400 a second).
#include "simulation.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace sluice::store {
namespace {

TEST(StoreSimulation, HoldsInEveryWorld) {
  const char* one = std::getenv("SLUICE_SEED");
  const char* many = std::getenv("SLUICE_SEEDS");
  const uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const uint64_t count = one != nullptr    ? 1
                         : many != nullptr ? std::strtoull(many, nullptr, 10)
                                           : 500;
  uint64_t ready = 0, stale = 0, io_errors = 0, declined = 0, revalidates = 0, settles = 0,
           revocations = 0, joins = 0, short_reads = 0, discards = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
    Simulation simulation({.seed = seed});
    simulation.run();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
    ready += simulation.ready;
    stale += simulation.stale;
    io_errors += simulation.io_errors;
    declined += simulation.declined;
    revalidates += simulation.revalidates;
    settles += simulation.counters.get(stats::Counter::store_settles);
    revocations += simulation.counters.get(stats::Counter::store_revocations);
    joins += simulation.counters.get(stats::Counter::store_piece_joins);
    discards += simulation.counters.get(stats::Counter::store_discards);
    short_reads += simulation.counters.get(stats::Counter::store_reads_short);
  }
  if (one != nullptr) return;
  // The worlds are worth something only if all of this happens in them.
  EXPECT_GT(ready, count);
  EXPECT_GT(stale, count / 2);
  EXPECT_GT(io_errors, count / 2);
  EXPECT_GT(declined, count / 2);
  EXPECT_GT(revalidates, count);
  EXPECT_GT(settles, count / 10);
  EXPECT_GT(revocations, count / 10);
  EXPECT_GT(joins, count / 2);
  EXPECT_GT(discards, count / 2);
  EXPECT_GT(short_reads, count / 2);
}

}  // namespace
}  // namespace sluice::store
