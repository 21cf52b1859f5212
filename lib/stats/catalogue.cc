#include "stats/catalogue.h"

#include <array>
#include <initializer_list>

#include "base/assert.h"

namespace sluice::stats {
namespace {

constexpr std::array<CounterRow, counter_count> make_rows() {
  std::array<CounterRow, counter_count> rows{};
  size_t next = 0;
  const auto add = [&](std::string_view layer, std::initializer_list<CounterRow> list) {
    for (CounterRow row : list) {
      row.layer = layer;
      rows[next++] = row;
    }
  };
#define SLUICE_ROW(name, unit, help) CounterRow{#name, unit, help, {}},
#define SLUICE_LAYER(layer, LIST) add(layer, {LIST(SLUICE_ROW)});
  SLUICE_COUNTER_LAYERS(SLUICE_LAYER)
#undef SLUICE_LAYER
#undef SLUICE_ROW
  return rows;
}

constexpr std::array<CounterRow, counter_count> rows = make_rows();

}  // namespace

const CounterRow& row(Counter counter) {
  ASSERT(static_cast<size_t>(counter) < counter_count);
  return rows[static_cast<size_t>(counter)];
}

}  // namespace sluice::stats
