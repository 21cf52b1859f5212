// Cycles: time-stamp counter ticks, as a benchmark counter.
#pragma once

#include <benchmark/benchmark.h>
#include <x86intrin.h>

#include <cstdint>

namespace sluice::perf {

/// Sums the ticks of the stretches between start() and stop(). A pair costs some 40 ticks, so a
/// stretch should hold many operations.
class Cycles {
 public:
  void start() { started_ = __rdtsc(); }
  void stop() { total_ += __rdtsc() - started_; }
  /// Adds "cycles/<what>" to the report.
  void report(benchmark::State& state, const char* name, double operations) const {
    state.counters[name] = static_cast<double>(total_) / operations;
  }

 private:
  uint64_t started_ = 0;
  uint64_t total_ = 0;
};

}  // namespace sluice::perf
