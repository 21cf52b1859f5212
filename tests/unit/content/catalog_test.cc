#include "content/catalog.h"

#include <gtest/gtest.h>

namespace sluice::content {
namespace {

constexpr uint32_t chunk_bytes = 1000;

struct CatalogTest : ::testing::Test {
  CatalogLimits limits{.objects_max = 4,
                       .pieces_max = 8,
                       .waiters_max = 4,
                       .chunk_count = 4,
                       .chunk_bytes = chunk_bytes,
                       .readahead_pieces = 1,
                       .fresh_for = 1_s};
  stats::Counters counters;
  ChunkPins pins{4, 0};
  Catalog catalog{limits, pins, counters};
  Instant now = Instant::from_ns(5'000'000'000);

  static SipDigest key(uint64_t n) { return {n, n}; }
  ObjectInfo info(uint32_t slot, uint64_t size) { return {.id = {slot, 1}, .size_bytes = size}; }
  ObjectHandle held(uint32_t slot, uint64_t size) {
    const ObjectHandle handle = catalog.insert(now, key(slot), info(slot, size), "");
    catalog.acquire(handle);
    return handle;
  }
  std::vector<NeedPiece> needs() {
    std::vector<NeedPiece> all;
    for (ToStore message; catalog.poll_message(message);) {
      if (const auto* need = std::get_if<NeedPiece>(&message)) all.push_back(*need);
    }
    return all;
  }
  void ready(ObjectHandle object, PieceNumber piece, uint32_t chunk, uint32_t length) {
    catalog.handle(now, PieceReady{catalog.info(object).id, piece, {ChunkIndex(chunk), 0, length}});
  }
};

TEST_F(CatalogTest, APathIsFreshOnlyForItsInterval) {
  const ObjectHandle handle = catalog.insert(now, key(1), info(1, 10), "text/html");
  EXPECT_EQ(catalog.find_path(now + 1_s, key(1)), handle);
  EXPECT_TRUE(catalog.find_path(now + 1001_ms, key(1)).is_none());
  EXPECT_EQ(catalog.label(handle), "text/html");
}

TEST_F(CatalogTest, RevalidateMakesEveryPathUnknown) {
  (void)catalog.insert(now, key(1), info(1, 10), "");
  catalog.handle(now, Revalidate{});
  EXPECT_TRUE(catalog.find_path(now, key(1)).is_none());
}

TEST_F(CatalogTest, AnOldVersionStaysUsableUntilReleased) {
  const ObjectHandle old_version = held(1, 10);
  ObjectInfo newer = info(1, 20);
  newer.id.generation = 2;
  const ObjectHandle new_version = catalog.insert(now, key(1), newer, "");
  EXPECT_NE(old_version, new_version);
  EXPECT_EQ(catalog.info(old_version).size_bytes, 10u);
  EXPECT_EQ(catalog.find_path(now, key(1)), new_version);
  catalog.release(old_version);
}

TEST_F(CatalogTest, FullOfObjectsInUseRefusesAnother) {
  for (uint32_t i = 0; i < 4; ++i) (void)held(i, 10);
  EXPECT_TRUE(catalog.insert(now, key(9), info(9, 10), "").is_none());
}

TEST_F(CatalogTest, AnUnusedObjectGivesWay) {
  for (uint32_t i = 0; i < 4; ++i) (void)catalog.insert(now, key(i), info(i, 10), "");
  EXPECT_FALSE(catalog.insert(now, key(9), info(9, 10), "").is_none());
  EXPECT_TRUE(catalog.find_path(now, key(0)).is_none());
}

TEST_F(CatalogTest, AMissingPieceIsAskedForOnceAndWakesAllWaiters) {
  const ObjectHandle object = held(1, 500);
  Lease lease;
  Extent extent;
  EXPECT_EQ(catalog.find(now, object, {0, 100, 500}, lease, extent), Catalog::Find::missing);
  catalog.wait(object, 0, 0);
  catalog.wait(object, 0, 3);
  EXPECT_EQ(needs().size(), 1u);
  ready(object, 0, 2, 500);
  Catalog::Woken woken;
  ASSERT_TRUE(catalog.poll_woken(woken));
  EXPECT_EQ(woken.waiter, 0u);
  ASSERT_TRUE(catalog.poll_woken(woken));
  EXPECT_EQ(woken.waiter, 3u);
  EXPECT_FALSE(woken.failed);
  EXPECT_FALSE(catalog.poll_woken(woken));
  EXPECT_EQ(catalog.find(now, object, {100, 1000, 500}, lease, extent), Catalog::Find::here);
  EXPECT_EQ(extent, (Extent{ChunkIndex(2), 100, 400}));
  EXPECT_EQ(pins.leases(ChunkIndex(2)), 1u);
  catalog.drop(lease);
  EXPECT_EQ(pins.leases(ChunkIndex(2)), 0u);
}

TEST_F(CatalogTest, RetireRevokesLeasesAndAnswersWhenFramesAreGone) {
  const ObjectHandle object = held(1, 500);
  Lease lease;
  Extent extent;
  catalog.wait(object, 0, 0);
  (void)needs();
  ready(object, 0, 2, 500);
  ASSERT_EQ(catalog.find(now, object, {0, 500, 500}, lease, extent), Catalog::Find::here);
  pins.pin(extent.chunk);
  catalog.handle(now, Retire{ChunkIndex(2)});
  EXPECT_EQ(catalog.find(now, object, {0, 500, 500}, lease, extent), Catalog::Find::missing);
  ChunkIndex released;
  EXPECT_FALSE(pins.poll_released(released));
  pins.unpin(ChunkIndex(2));
  ASSERT_TRUE(pins.poll_released(released));
  catalog.handle_released(released);
  ToStore message;
  ASSERT_TRUE(catalog.poll_message(message));
  EXPECT_TRUE(std::holds_alternative<Retired>(message));
  catalog.drop(lease);  // revoked: harmless
  EXPECT_EQ(pins.leases(ChunkIndex(2)), 0u);
}

TEST_F(CatalogTest, ReadsAheadOnlyWithinTheResponse) {
  const ObjectHandle object = held(1, 3 * chunk_bytes);
  Lease lease;
  Extent extent;
  catalog.wait(object, 0, 0);
  (void)needs();
  ready(object, 0, 0, chunk_bytes);
  ASSERT_EQ(catalog.find(now, object, {0, 10, 500}, lease, extent), Catalog::Find::here);
  EXPECT_TRUE(needs().empty());
  catalog.drop(lease);
  ASSERT_EQ(catalog.find(now, object, {0, 10, 3 * chunk_bytes}, lease, extent),
            Catalog::Find::here);
  const auto asked = needs();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].piece, 1u);
  EXPECT_TRUE(asked[0].prefetch);
}

TEST_F(CatalogTest, ADeclinedPrefetchThatSomebodyWaitsForIsAskedForAgain) {
  const ObjectHandle object = held(1, 3 * chunk_bytes);
  Lease lease;
  Extent extent;
  catalog.wait(object, 0, 0);
  ready(object, 0, 0, chunk_bytes);
  (void)catalog.find(now, object, {0, 10, 3 * chunk_bytes}, lease, extent);
  (void)needs();
  catalog.wait(object, chunk_bytes, 1);
  EXPECT_TRUE(needs().empty());
  catalog.handle(now, PieceFailed{catalog.info(object).id, 1, PieceFailure::declined});
  const auto asked = needs();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_FALSE(asked[0].prefetch);
}

TEST_F(CatalogTest, AStaleVersionFailsItsWaitersAndIsNoLongerFound) {
  const ObjectHandle object = held(1, 500);
  catalog.wait(object, 0, 2);
  catalog.handle(now, PieceFailed{catalog.info(object).id, 0, PieceFailure::stale});
  Catalog::Woken woken;
  ASSERT_TRUE(catalog.poll_woken(woken));
  EXPECT_TRUE(woken.failed);
  EXPECT_TRUE(catalog.find_path(now, key(1)).is_none());
  Lease lease;
  Extent extent;
  EXPECT_EQ(catalog.find(now, object, {0, 1, 500}, lease, extent), Catalog::Find::gone);
  catalog.release(object);
  EXPECT_EQ(catalog.objects_in_use(), 0u);
}

TEST_F(CatalogTest, ACancelledWaiterIsNotWoken) {
  const ObjectHandle object = held(1, 500);
  catalog.wait(object, 0, 0);
  catalog.wait(object, 0, 1);
  catalog.cancel_wait(0);
  ready(object, 0, 1, 500);
  Catalog::Woken woken;
  ASSERT_TRUE(catalog.poll_woken(woken));
  EXPECT_EQ(woken.waiter, 1u);
  EXPECT_FALSE(catalog.poll_woken(woken));
}

TEST_F(CatalogTest, WaitingForAnotherPieceGivesUpTheFirst) {
  const ObjectHandle object = held(1, 2 * chunk_bytes);
  catalog.wait(object, 0, 0);
  catalog.wait(object, chunk_bytes, 0);
  ready(object, 0, 1, chunk_bytes);
  Catalog::Woken woken;
  EXPECT_FALSE(catalog.poll_woken(woken));
  ready(object, 1, 2, chunk_bytes);
  EXPECT_TRUE(catalog.poll_woken(woken));
}

TEST_F(CatalogTest, PiecesBeyondTheTableForgetTheOldestReadyOne) {
  const ObjectHandle object = held(1, 100 * chunk_bytes);
  for (uint32_t i = 0; i < 20; ++i) {
    catalog.wait(object, uint64_t{i} * chunk_bytes, 0);
    ready(object, i, i % 4, chunk_bytes);
    Catalog::Woken woken;
    ASSERT_TRUE(catalog.poll_woken(woken));
  }
  EXPECT_LE(catalog.pieces_known(), 8u);
}

}  // namespace
}  // namespace sluice::content
