// Flood: SYNs from random addresses, bounded in number, in rate and in time.
//
// They are sent on a packet socket in bursts. Sources are drawn from 198.18.0.0/15 (RFC 2544:
// benchmarks), so that an answer that escapes goes nowhere; options are those of Linux's SYN. The
// seed makes a run repeatable.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace sluice::perf {

struct FloodOptions {
  std::string interface;
  std::array<uint8_t, 6> server_mac{};
  sockaddr_in server{};
  uint64_t rate_per_s = 10'000;
  uint64_t count_max = 0;
  Duration time_max;
  uint64_t seed = 1;
};

struct FloodResult {
  uint64_t sent = 0;
  uint64_t not_sent = 0;  // the interface's queue was full
  Duration taken;
};

[[nodiscard]] Result<FloodResult> run_flood(const FloodOptions& options);

}  // namespace sluice::perf
