// The movers' clock: the process's monotonic one.
#pragma once

#include <ctime>

#include "base/time.h"

namespace sluice::mover {

[[nodiscard]] inline Instant now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::from_ns(time.tv_sec * 1'000'000'000 + time.tv_nsec);
}

}  // namespace sluice::mover
