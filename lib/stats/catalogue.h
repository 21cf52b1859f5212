// The counter catalogue: every counter of a worker and of the store, once.
//
// A row is (name, unit, help). The CLI, the telemetry socket, the metrics, the documentation and
// the tests are all generated from these rows; a drop without a row here cannot be counted, and a
// drop that is not counted is a defect. Names are <layer>_<noun>_<what>; rows stand by layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "stats/rows.h"

namespace sluice::stats {

enum class Counter : uint16_t {
#define SLUICE_ROW(name, unit, help) name,
  SLUICE_COUNTERS(SLUICE_ROW)
#undef SLUICE_ROW
      count_
};

inline constexpr size_t counter_count = static_cast<size_t>(Counter::count_);

struct CounterRow {
  std::string_view name;
  std::string_view unit;
  std::string_view help;
  std::string_view layer;
};

/// Row n is row(counter_at(n)), for loops over the whole catalogue. Requires: n < counter_count.
[[nodiscard]] constexpr Counter counter_at(size_t n) {
  return static_cast<Counter>(n);
}

/// The row of a counter: for printing and for documentation.
[[nodiscard]] const CounterRow& row(Counter counter);

}  // namespace sluice::stats
