// The process's monotonic clock: the processor's time stamp counter, scaled once at start.
//
// One clock for all threads: the store compares the times at which workers used chunks. Where the
// counter stops or changes its rate, CLOCK_MONOTONIC is read instead (a few times slower).
#pragma once

#include <cstdint>

#include "base/time.h"

namespace sluice::app {

/// Measures the counter against CLOCK_MONOTONIC; takes 20 ms. Call once, before any thread starts.
void start_clock();

/// Never goes backwards on one thread. Any thread, after start_clock().
[[nodiscard]] Instant clock_now();

[[nodiscard]] WallTime wall_clock_now();

/// "TSC at 2.4 GHz" or "CLOCK_MONOTONIC", for the log.
[[nodiscard]] const char* clock_description();

}  // namespace sluice::app
