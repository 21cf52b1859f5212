// Fetcher: which source a piece is asked of, and what follows when it is a bad one. What links do
// to it is in data_plane_test.cc.
#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class FetcherTest : public PlaneWorld {
 protected:
  /// One piece, held at node 1 and, rotten or not, at node 2.
  Manifest publish(bool second = false) {
    bytes = bytes_of(1, host_options.chunk_bytes);
    node(1).disk->files["a"] = bytes;
    const Manifest manifest = ingest(1, "a");
    hold(1, manifest, {});
    EXPECT_TRUE(pass_until(5_s, [&] { return is_verified(1, manifest); }));
    if (second) {
      hold(2, manifest, {{1}});
      EXPECT_TRUE(pass_until(5_s, [&] { return is_verified(2, manifest); }));
    }
    return manifest;
  }
  void flip(uint32_t number, const Manifest& manifest) {
    node(number).arena.bytes(find(number, manifest, 0))[3] ^= std::byte{1};
  }
  void redirect(uint32_t number, const Manifest& manifest, std::vector<NodeId> sources) {
    node(number).plane->handle_task(now, SourcesTask{manifest.generation, std::move(sources)},
                                    &manifest);
    node(number).plane->handle_task(now, RedirectTask{"a", manifest.generation}, &manifest);
    pass(1_ms);
  }
  void make(uint32_t count) {
    config.scrub_bytes_per_s = 0;  // what is rotten stays so until the test mends it
    start(count);
    link_all();
  }
  std::vector<std::byte> bytes;
};

TEST_F(FetcherTest, TheFirstSourceIsAsked) {
  make(3);
  const Manifest manifest = publish(true);
  redirect(3, manifest, {{2}, {1}});
  EXPECT_EQ(read_path(3, "a"), bytes);
  EXPECT_EQ(mover->bytes_landed(node(2).index, node(3).index), bytes.size());
  EXPECT_EQ(mover->bytes_landed(node(1).index, node(3).index), 0u);
}

TEST_F(FetcherTest, ASourceThatKnowsNothingIsPassedOver) {
  make(3);
  const Manifest manifest = publish();
  redirect(3, manifest, {{2}, {1}});
  EXPECT_EQ(read_path(3, "a"), bytes);
  EXPECT_GT(node(3).count(Counter::replica_wants_refused_by_peer), 1u);  // patience: it may come
  EXPECT_EQ(node(3).count(Counter::replica_fetches_failed), 0u);
}

TEST_F(FetcherTest, ThreeWrongChecksumsAndItIsTheNextOnes) {
  make(3);
  const Manifest manifest = publish(true);
  flip(2, manifest);
  redirect(3, manifest, {{2}, {1}});
  EXPECT_EQ(read_path(3, "a"), bytes);
  EXPECT_EQ(node(3).count(Counter::replica_checksum_failures), 3u);
  EXPECT_EQ(node(3).count(Counter::replica_sources_dropped), 1u);
  EXPECT_EQ(node(3).count(Counter::replica_disk_pieces), 0u);
}

TEST_F(FetcherTest, TheOnlySourceIsAskedAgainThoughItWasDropped) {
  make(2);
  const Manifest manifest = publish();
  flip(1, manifest);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(1_s, [&] { return node(2).count(Counter::replica_disk_pieces) > 0; }));
  EXPECT_EQ(node(2).count(Counter::replica_sources_dropped), 1u);
  pass(50_ms);
  EXPECT_FALSE(is_verified(2, manifest));
  flip(1, manifest);  // its scrub mended it
  ASSERT_TRUE(pass_until(2_s, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(node(2).count(Counter::replica_fetches_failed), 0u);
  // Later readings need no disk: but for the first piece nothing was wrong.
  EXPECT_EQ(read(2, manifest.generation), bytes);
}

TEST_F(FetcherTest, EverWrongBytesEndWithAnError) {
  make(2);
  const Manifest manifest = publish();
  flip(1, manifest);
  redirect(2, manifest, {{1}});
  const Instant begin = now;
  EXPECT_TRUE(read_path(2, "a").empty());
  EXPECT_EQ(node(2).count(Counter::replica_fetches_failed), 1u);
  EXPECT_EQ(node(2).count(Counter::replica_checksum_failures), 3u + last_resort_tries);
  // Three at once, then pauses of 100, 200 and 400 ms.
  EXPECT_GT(now - begin, 600_ms);
  EXPECT_LT(now - begin, 2_s);
}

TEST_F(FetcherTest, ItsOwnFileComesBeforeADroppedSource) {
  make(2);
  const Manifest manifest = publish();
  flip(1, manifest);
  node(2).disk->files["a"] = bytes;
  redirect(2, manifest, {{1}});
  EXPECT_EQ(read_path(2, "a"), bytes);
  EXPECT_EQ(node(2).count(Counter::replica_checksum_failures), 3u);
  EXPECT_EQ(node(2).count(Counter::replica_disk_pieces), 1u);
}

TEST_F(FetcherTest, NoSourceAndNoFileIsAnError) {
  make(2);
  const Manifest manifest = publish();
  redirect(2, manifest, {});
  EXPECT_TRUE(read_path(2, "a").empty());
  EXPECT_EQ(node(2).count(Counter::replica_wants_sent), 0u);
  EXPECT_EQ(node(2).count(Counter::replica_disk_pieces), 1u);
}

}  // namespace
}  // namespace sluice::replica
