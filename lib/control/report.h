// Report: what sluicectl makes of the answers. Pure: JSON in, text out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/telemetry_client.h"

namespace sluice::control {

/// {"layer": {"counter": n}} -> {"counter": n}. Anything that is no number is left out.
[[nodiscard]] Json flatten(const Json& layers);

/// A list of dictionaries: DPDK's telemetry sends it as {"0": {...}, "1": {...}}.
[[nodiscard]] bool is_list(const Json& answer);
[[nodiscard]] Json as_list(const Json& answer);

struct StatsText {
  bool zeros = false;  // also counters that are 0
};
/// A table of counters, by layer; with `before` also the rate of each. Units of elapsed: seconds.
[[nodiscard]] std::string format_stats(const Json& layers, const StatsText& options);
[[nodiscard]] std::string format_rates(const Json& before, const Json& after, double elapsed_s);

/// Two lines for a connection, as ss -ti prints them.
[[nodiscard]] std::string format_connection(const Json& row);

/// "name: value" lines of a dictionary, aligned; inner values as JSON.
[[nodiscard]] std::string format_dictionary(const Json& dictionary);

}  // namespace sluice::control
