#include "tcp/connection_table.h"

#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"
#include "tcp/half_open_list.h"

namespace sluice::tcp {
namespace {

TEST(ConnectionTable, AgreesWithAMapUnderCollisions) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    ConnectionTable table(64);
    std::map<uint32_t, uint64_t> known;  // index -> hash
    for (int step = 0; step < 3000; ++step) {
      const auto index = static_cast<uint32_t>(prng.below(64));
      const auto it = known.find(index);
      if (it == known.end()) {
        // Few home slots, at the end of the array too, and equal tags.
        const uint64_t hash = prng.chance(1, 2) ? 120 + prng.below(12) : prng.next();
        table.insert(hash, index);
        known[index] = hash;
      } else {
        table.remove(it->second, index);
        known.erase(it);
      }
      ASSERT_EQ(table.size(), known.size());
      for (const auto& [i, hash] : known) {
        ASSERT_EQ(table.find(hash, [i = i](uint32_t found) { return found == i; }), i);
      }
      ASSERT_EQ(table.find(125, [](uint32_t) { return false; }), ConnectionTable::none);
    }
  }
}

TEST(HalfOpenList, TellsTheOldest) {
  HalfOpenList list(3);
  EXPECT_EQ(list.oldest(), HalfOpenList::none);
  const uint32_t first = list.add(10);
  const uint32_t second = list.add(20);
  const uint32_t third = list.add(30);
  EXPECT_TRUE(list.full());
  EXPECT_EQ(list.oldest(), 10u);
  list.remove(second);
  list.remove(first);
  EXPECT_EQ(list.oldest(), 30u);
  EXPECT_EQ(list.size(), 1u);
  list.remove(third);
  EXPECT_EQ(list.oldest(), HalfOpenList::none);
}

}  // namespace
}  // namespace sluice::tcp
