// A superseded generation goes when nobody reads it any more: not while a client here, or a peer,
// still does; nor, on the other hand, later than it must.
#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class SupersededTest : public PlaneWorld {
 protected:
  SupersededTest() { config.scrub_bytes_per_s = 20'000; }
  Manifest publish(const std::string& path, uint32_t pieces, uint64_t generation = 1) {
    bytes = bytes_of(generation, size_t{pieces} * host_options.chunk_bytes);
    node(1).disk->files[path] = bytes;
    const Manifest manifest = ingest(1, path, generation);
    hold(1, manifest, {});
    EXPECT_TRUE(pass_until(5_s, [&] { return is_verified(1, manifest); }));
    node(1).disk->files.erase(path);  // what is gone is gone
    return manifest;
  }
  void release(uint32_t number, const Manifest& manifest) {
    node(number).plane->handle_task(now, ReleaseTask{manifest.generation}, nullptr);
  }
  void redirect(uint32_t number, const Manifest& manifest, std::vector<NodeId> sources) {
    node(number).plane->handle_task(now, SourcesTask{manifest.generation, std::move(sources)},
                                    &manifest);
    node(number).plane->handle_task(now, RedirectTask{"a", manifest.generation}, &manifest);
    pass(1_ms);
  }
  uint64_t kept(uint32_t number) { return node(number).count(Counter::replica_superseded_kept); }
  uint64_t cut(uint32_t number) { return node(number).count(Counter::replica_superseded_cut); }
  std::vector<std::byte> bytes;
};

TEST_F(SupersededTest, WhatNobodyReadsIsGoneSoon) {
  start(1);
  const Manifest manifest = publish("a", 4);
  release(1, manifest);
  pass(readers_first_asked - 1_s);
  EXPECT_EQ(node(1).pins->total(), 4u);
  pass(5_s);
  EXPECT_EQ(node(1).pins->total(), 0u);
  EXPECT_EQ(kept(1), 0u);
  EXPECT_EQ(cut(1), 0u);
  EXPECT_TRUE(read(1, manifest.generation).empty());
}

TEST_F(SupersededTest, AClientThatReadsItHereKeepsIt) {
  start(1);
  const Manifest manifest = publish("a", 4);
  const content::ChunkIndex chunk = find(1, manifest, 2).chunk;
  node(1).client_pins->lease(chunk);
  release(1, manifest);
  pass(120_s);
  EXPECT_EQ(node(1).pins->total(), 4u);
  EXPECT_EQ(kept(1), 1u);
  EXPECT_EQ(read(1, manifest.generation), bytes);
  node(1).client_pins->unlease(chunk);
  pass(4_s);
  EXPECT_EQ(node(1).pins->total(), 0u);
  EXPECT_EQ(cut(1), 0u);
}

TEST_F(SupersededTest, NotForEver) {
  start(1);
  const Manifest manifest = publish("a", 4);
  node(1).client_pins->lease(find(1, manifest, 2).chunk);
  release(1, manifest);
  pass(superseded_kept_max - 1_s);
  EXPECT_EQ(node(1).pins->total(), 4u);
  pass(3_s);
  EXPECT_EQ(node(1).pins->total(), 0u);
  EXPECT_EQ(cut(1), 1u);
}

TEST_F(SupersededTest, ASourceKeepsWhatAPeerStillFetches) {
  start(2);
  link_all();
  const Manifest manifest = publish("a", 6);
  redirect(2, manifest, {{1}});
  EXPECT_EQ(find(2, manifest, 0).length_bytes, host_options.chunk_bytes);
  release(1, manifest);
  release(2, manifest);
  // A slow client at node 2 asks for one piece after the other, and has a lease in between.
  for (content::PieceNumber piece = 1; piece < 6; ++piece) {
    node(2).client_pins->lease(find(2, manifest, piece - 1).chunk);
    pass(20_s);
    const content::Extent extent = find(2, manifest, piece);
    ASSERT_FALSE(extent.chunk.is_none()) << piece;
  }
  EXPECT_EQ(node(2).count(Counter::replica_fetches_failed), 0u);
  EXPECT_EQ(node(1).pins->total(), 6u);
  pass(peer_reads_for + 5_s);
  EXPECT_EQ(node(1).pins->total(), 0u);
  EXPECT_EQ(cut(1) + cut(2), 0u);
}

TEST_F(SupersededTest, ANewGenerationTakesItsRoom) {
  start(1);
  node(1).config.hold_bytes_max = 6 * host_options.chunk_bytes;
  node(1).start();
  const Manifest old = publish("a", 4, 1);
  release(1, old);
  const Manifest fresh = publish("b", 4, 2);
  EXPECT_TRUE(is_verified(1, fresh));
  EXPECT_EQ(node(1).pins->total(), 4u);
  EXPECT_EQ(cut(1), 1u);
}

TEST_F(SupersededTest, ItMayBeHeldAgain) {
  start(2);
  link_all();
  const Manifest manifest = publish("a", 30);
  mover->set_rate(node(1).index, 1'000'000);
  hold(2, manifest, {{1}});
  pass(100_ms);
  release(2, manifest);
  pass(100_ms);
  EXPECT_EQ(node(2).results[manifest.generation], HoldResult::cancelled);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(5_s, [&] { return is_verified(2, manifest); }));
  pass(60_s);
  EXPECT_EQ(node(2).pins->total(), 30u);
  EXPECT_EQ(read(2, manifest.generation), bytes);
}

TEST_F(SupersededTest, RotInWhatIsKeptIsNoCopyToMend) {
  start(1);
  const Manifest manifest = publish("a", 4);
  const content::Extent extent = find(1, manifest, 1);
  node(1).client_pins->lease(find(1, manifest, 0).chunk);
  release(1, manifest);
  node(1).arena.bytes(extent)[7] ^= std::byte{1};
  ASSERT_TRUE(pass_until(30_s, [&] { return node(1).count(Counter::replica_scrub_rotten) > 0; }));
  pass(5_s);
  EXPECT_EQ(node(1).pins->total(), 3u);
  EXPECT_TRUE(node(1).lost.empty());
}

}  // namespace
}  // namespace sluice::replica
