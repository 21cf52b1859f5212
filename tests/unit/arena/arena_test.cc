#include "arena/arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::arena {
namespace {

constexpr uint32_t chunk_bytes = 64u << 10;

TEST(Arena, ViewsShareChunksAndHaveTheirOwnHeadSlots) {
  auto arena = Arena::create({.content_bytes = 10 * chunk_bytes - 1,
                              .chunk_bytes = chunk_bytes,
                              .workers = 3,
                              .head_slots_per_worker = 5,
                              .hugepages = Hugepages::never});
  ASSERT_TRUE(arena) << arena.error().message;
  EXPECT_EQ(arena->chunk_count(), 10u);
  const content::ArenaView first = arena->view(0);
  const content::ArenaView last = arena->view(2);
  EXPECT_EQ(first.chunks, last.chunks);
  EXPECT_GE(last.head_slots - first.head_slots, 2 * 5 * ptrdiff_t{content::head_slot_bytes});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(last.head_slots) % 4096, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first.chunks) % (2u << 20), 0u);
  const MutableBytes region = arena->region();
  EXPECT_GE(region.data() + region.size(), last.head_slots + 5 * content::head_slot_bytes);
  // All of it is there.
  region.front() = region.back() = std::byte{1};
}

TEST(Arena, IsWholeWithOrWithoutHugepages) {
  auto arena = Arena::create({.content_bytes = 4u << 20, .workers = 1});
  ASSERT_TRUE(arena) << arena.error().message;
  EXPECT_FALSE(arena->description().empty());
  EXPECT_EQ(arena->page_bytes(), arena->uses_hugepages() ? 2u << 20 : 4096u);
  Arena moved = std::move(*arena);
  moved.region().back() = std::byte{7};
}

TEST(Arena, BindsToANumaNodeWhereThereIsOne) {
  auto arena = Arena::create({.content_bytes = 4u << 20, .workers = 1, .numa_node = 0});
  ASSERT_TRUE(arena) << arena.error().message;
}

TEST(Arena, SaysWhatDoesNotFit) {
  const auto message = [](const Options& options) {
    auto arena = Arena::create(options);
    return arena ? std::string() : arena.error().message;
  };
  EXPECT_THAT(message({.content_bytes = uint64_t{1} << 50}), testing::HasSubstr("lower the cache"));
  EXPECT_THAT(message({.content_bytes = uint64_t{1} << 50, .hugepages = Hugepages::required}),
              testing::HasSubstr("nr_hugepages"));
  EXPECT_THAT(message({.content_bytes = 1, .chunk_bytes = 3000}), testing::HasSubstr("power of"));
  EXPECT_THAT(message({.content_bytes = 1, .numa_node = 4'000}), testing::HasSubstr("NUMA node"));
  EXPECT_FALSE(message({.content_bytes = 0}).empty());
}

}  // namespace
}  // namespace sluice::arena
