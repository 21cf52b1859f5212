// The clock of the measuring programs.
#pragma once

#include <ctime>

#include "base/time.h"

namespace sluice::perf {

inline Instant monotonic_now() {
  timespec value{};
  clock_gettime(CLOCK_MONOTONIC, &value);
  return Instant::from_ns(value.tv_sec * 1'000'000'000 + value.tv_nsec);
}

}  // namespace sluice::perf
