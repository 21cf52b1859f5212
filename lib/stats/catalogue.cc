#include "stats/catalogue.h"

#include <array>

namespace sluice::stats {
namespace {

constexpr std::array<CounterRow, counter_count> rows{{
#define SLUICE_ROW(name, unit, help) {#name, unit, help},
    SLUICE_COUNTERS(SLUICE_ROW)
#undef SLUICE_ROW
}};

}  // namespace

const CounterRow& row(Counter counter) {
  return rows[static_cast<size_t>(counter)];
}

}  // namespace sluice::stats
