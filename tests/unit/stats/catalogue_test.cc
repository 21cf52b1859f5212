#include "stats/catalogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "stats/counters.h"

namespace sluice::stats {
namespace {

TEST(Catalogue, EveryRowStandsWhereItsEnumeratorPoints) {
#define SLUICE_ROW(counter, units, helps) EXPECT_EQ(row(Counter::counter).name, #counter);
  SLUICE_COUNTERS(SLUICE_ROW)
#undef SLUICE_ROW
}

TEST(Catalogue, NamesAreUniqueAndFitForEveryListing) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < counter_count; ++i) {
    const CounterRow& each = row(counter_at(i));
    EXPECT_TRUE(names.insert(each.name).second) << each.name;
    // DPDK's telemetry takes names of less than 64 letters, digits and underscores.
    EXPECT_LT(each.name.size(), 64u) << each.name;
    EXPECT_TRUE(std::all_of(each.name.begin(), each.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    })) << each.name;
    EXPECT_FALSE(each.unit.empty()) << each.name;
    EXPECT_FALSE(each.help.empty()) << each.name;
    EXPECT_FALSE(each.layer.empty()) << each.name;
    EXPECT_EQ(each.help.find('|'), std::string_view::npos) << each.name << ": breaks a table";
  }
}

TEST(Catalogue, ALayersRowsFitIntoOneTelemetryAnswer) {
  // RTE_TEL_MAX_DICT_ENTRIES
  std::set<std::string_view> layers;
  size_t run = 0;
  for (size_t i = 0; i < counter_count; ++i) {
    run = i > 0 && row(counter_at(i)).layer == row(counter_at(i - 1)).layer ? run + 1 : 1;
    if (run == 1) {
      EXPECT_TRUE(layers.insert(row(counter_at(i)).layer).second) << "a layer stands twice";
    }
    EXPECT_LE(run, 256u);
  }
}

TEST(Counters, AddAndSet) {
  Counters counters;
  counters.add(Counter::rx_frames);
  counters.add(Counter::rx_frames, 4);
  EXPECT_EQ(counters.get(Counter::rx_frames), 5u);
  counters.set(Counter::rx_frames, 2);
  EXPECT_EQ(counters.get(Counter::rx_frames), 2u);
  EXPECT_EQ(counters.get(Counter::tx_frames), 0u);
}

}  // namespace
}  // namespace sluice::stats
