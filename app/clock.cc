#include "clock.h"

#include <rte_cycles.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>

namespace sluice::app {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr int64_t ns_per_second = 1'000'000'000;
constexpr int64_t measure_ns = 20'000'000;

struct Scale {
  bool use_counter = false;
  uint64_t counter_at_start = 0;
  int64_t ns_at_start = 0;
  uint64_t ns_per_tick_q32 = 0;  // nanoseconds per tick, times 2^32
  char description[64] = "CLOCK_MONOTONIC";
};

Scale scale;  // written by start_clock() alone

int64_t read_clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return time.tv_sec * ns_per_second + time.tv_nsec;
}

// Does the counter run at one rate, in every sleep state, the same on every core?
bool counter_is_steady() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    return line.find(" constant_tsc") != std::string::npos &&
           line.find(" nonstop_tsc") != std::string::npos;
  }
  return false;
}

}  // namespace

void start_clock() {
  if (!counter_is_steady()) return;
  const int64_t first_ns = read_clock(CLOCK_MONOTONIC);
  const uint64_t first = rte_rdtsc();
  int64_t ns = first_ns;
  uint64_t counter = first;
  while (ns - first_ns < measure_ns) {
    ns = read_clock(CLOCK_MONOTONIC);
    counter = rte_rdtsc();
  }
  if (counter <= first) return;
  const auto elapsed_ns = static_cast<uint64_t>(ns - first_ns);
  scale.ns_per_tick_q32 = static_cast<uint64_t>((Wide{elapsed_ns} << 32) / (counter - first));
  scale.counter_at_start = counter;
  scale.ns_at_start = ns;
  scale.use_counter = true;
  const double gigahertz = static_cast<double>(counter - first) / static_cast<double>(elapsed_ns);
  std::snprintf(scale.description, sizeof scale.description, "TSC at %.2f GHz", gigahertz);
}

Instant clock_now() {
  if (!scale.use_counter) return Instant::from_ns(read_clock(CLOCK_MONOTONIC));
  const uint64_t ticks = rte_rdtsc() - scale.counter_at_start;
  const auto ns = static_cast<int64_t>((Wide{ticks} * scale.ns_per_tick_q32) >> 32);
  return Instant::from_ns(scale.ns_at_start + ns);
}

WallTime wall_clock_now() {
  return {.unix_ns = read_clock(CLOCK_REALTIME)};
}

const char* clock_description() {
  return scale.description;
}

}  // namespace sluice::app
