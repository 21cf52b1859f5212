// Flows: a few long downloads side by side, and what each got in every interval.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace sluice::perf {

struct FlowPlan {
  sockaddr_in server{};
  std::string path;
  Duration start;  // after the first
};

struct FlowResult {
  std::vector<uint64_t> bytes;  // read in each interval, heads included
  std::string failure;          // empty: it ran to the end of the time
};

/// Reads all flows for `time`, in one thread. A download that ends is asked for again on its
/// connection.
[[nodiscard]] std::vector<FlowResult> run_flows(const std::vector<FlowPlan>& plans, Duration time,
                                                Duration interval);

}  // namespace sluice::perf
