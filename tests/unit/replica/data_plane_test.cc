// The parts of a Node together: generations move from arena to arena, whatever happens on the way.
#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class DataPlaneTest : public PlaneWorld {
 protected:
  /// A file of so many whole pieces and some bytes on node 1, held there.
  Manifest publish(uint32_t pieces, uint32_t rest = 1'000, uint64_t seed = 1) {
    bytes = bytes_of(seed, size_t{pieces} * host_options.chunk_bytes + rest);
    node(1).disk->files["a"] = bytes;
    const Manifest manifest = ingest(1, "a", seed);
    hold(1, manifest, {});
    EXPECT_TRUE(pass_until(5_s, [&] { return is_verified(1, manifest); }));
    return manifest;
  }
  void expect_copied(uint32_t number, const Manifest& manifest, Duration within = 5_s) {
    ASSERT_TRUE(pass_until(within, [&] { return is_verified(number, manifest); }));
    EXPECT_EQ(read(number, manifest.generation), bytes);
    EXPECT_EQ(node(number).disk->reads, 0u);
  }
  uint64_t landed(uint32_t number) {
    return node(number).count(Counter::replica_landed_rdma_bytes) +
           node(number).count(Counter::replica_landed_tcp_bytes);
  }
  std::vector<std::byte> bytes;
};

TEST_F(DataPlaneTest, MovesAGenerationFromArenaToArena) {
  start(2);
  link_all();
  const Manifest manifest = publish(9);
  ASSERT_EQ(manifest.pieces(), 10u);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  EXPECT_EQ(node(2).count(Counter::replica_landed_rdma_bytes), bytes.size());
  EXPECT_EQ(node(1).count(Counter::replica_written_rdma_bytes), bytes.size());
  EXPECT_EQ(node(2).count(Counter::replica_fences), 10u);
  EXPECT_EQ(node(2).answers[manifest.generation], 1u);
}

TEST_F(DataPlaneTest, AnEmptyFileIsHeldAtOnce) {
  start(2);
  link_all();
  const Manifest manifest = publish(0, 0);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(5_s, [&] { return is_verified(2, manifest); }));
}

TEST_F(DataPlaneTest, OverTcpAlone) {
  config.prefer_rdma = false;
  start(2);
  link_all();
  const Manifest manifest = publish(5);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  EXPECT_EQ(node(2).count(Counter::replica_landed_tcp_bytes), bytes.size());
}

TEST_F(DataPlaneTest, AChainPassesPiecesOnAsTheyArrive) {
  start(4);
  link_all();
  const Manifest manifest = publish(12);
  for (uint32_t n = 1; n <= 4; ++n) mover->set_rate(node(n).index, 10'000'000);
  const Instant begin = now;
  hold(2, manifest, {{1}});
  hold(3, manifest, {{2}, {1}});
  hold(4, manifest, {{3}, {2}, {1}});
  ASSERT_TRUE(pass_until(10_s, [&] {
    return is_verified(2, manifest) && is_verified(3, manifest) && is_verified(4, manifest);
  }));
  // One after the other it would take three times as long as one copy.
  const auto one_copy = Duration::from_us(static_cast<int64_t>(bytes.size() / 10));
  EXPECT_LT(now - begin, one_copy * 2);
  for (uint32_t n = 2; n <= 4; ++n) EXPECT_EQ(read(n, manifest.generation), bytes);
  EXPECT_GT(mover->bytes_landed(node(3).index, node(4).index), bytes.size() / 2);
}

TEST_F(DataPlaneTest, ADeadLinkCostsOnlyThePiecesInFlight) {
  config.fetch_window = 2;
  start(2);
  link_all();
  const Manifest manifest = publish(20);
  mover->end_at_write(node(1).index, node(2).index, 10);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest, 20_s);
  EXPECT_LE(landed(2), bytes.size() + 2 * host_options.chunk_bytes);
  EXPECT_GE(node(2).count(Counter::replica_fences_by_link_end), 1u);
}

TEST_F(DataPlaneTest, TcpTakesOverInTheMiddle) {
  start(2);
  link_all();
  ASSERT_TRUE(pass_until(5_s, [&] { return node(1).plane->sessions().peers()[0].tcp_up; }));
  const Manifest manifest = publish(20);
  mover->set_rate(node(1).index, 1'000'000);
  hold(2, manifest, {{1}});
  pass(100_ms);
  mover->set_rdma(node(2).index, false);
  expect_copied(2, manifest, 20_s);
  EXPECT_GT(node(2).count(Counter::replica_landed_tcp_bytes), 0u);
  EXPECT_GT(node(2).count(Counter::replica_landed_rdma_bytes), 0u);
}

TEST_F(DataPlaneTest, AStoppedSourceIsLeftForTheNext) {
  start(3);
  link_all();
  const Manifest manifest = publish(10);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  mover->set_stopped(node(2).index, true);
  node(2).stopped = true;
  hold(3, manifest, {{2}, {1}});
  expect_copied(3, manifest, 30_s);
}

TEST_F(DataPlaneTest, AStoppedSourceThatComesBackHasDoneNoHarm) {
  start(2);
  link_all();
  const Manifest manifest = publish(20);
  mover->set_rate(node(1).index, 1'000'000);
  hold(2, manifest, {{1}});
  pass(50_ms);
  mover->set_stopped(node(1).index, true);
  node(1).stopped = true;
  pass(8_s);
  mover->set_stopped(node(1).index, false);
  node(1).stopped = false;
  expect_copied(2, manifest, 60_s);
}

TEST_F(DataPlaneTest, BytesThatWereChangedOnTheWayAreAskedForAgain) {
  start(2);
  link_all();
  const Manifest manifest = publish(10);
  mover_options.faults.write_corrupt_ppm = 200'000;
  mover->set_faults(mover_options.faults);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest, 300_s);
  EXPECT_GT(node(2).count(Counter::replica_checksum_failures), 0u);
  EXPECT_GT(node(1).count(Counter::replica_bad_pieces_told), 0u);
}

TEST_F(DataPlaneTest, ThreeWrongChecksumsDropASource) {
  start(3);
  link_all();
  const Manifest manifest = publish(4);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  // What node 2 holds is all rotten, and its scrub is asleep.
  for (uint32_t chunk = 0; chunk < node(2).arena.chunk_count; ++chunk) {
    node(2).arena.bytes({content::ChunkIndex(chunk), 0, 1})[0] ^= std::byte{1};
  }
  hold(3, manifest, {{2}, {1}});
  expect_copied(3, manifest, 30_s);
  EXPECT_GE(node(3).count(Counter::replica_sources_dropped), 1u);
  EXPECT_EQ(node(3).count(Counter::replica_fetches_failed), 0u);
}

TEST_F(DataPlaneTest, ScrubFindsWhatRottedAndHasItMended) {
  start(2);
  link_all();
  const Manifest manifest = publish(6);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  const content::Extent extent = find(2, manifest, 3);
  node(2).arena.bytes(extent)[100] ^= std::byte{1};
  ASSERT_TRUE(pass_until(30_s, [&] { return node(2).count(Counter::replica_scrub_rotten) > 0; }));
  pass(3_s);
  EXPECT_EQ(read(2, manifest.generation), bytes);
  EXPECT_EQ(node(2).count(Counter::replica_scrub_rotten), 1u);
  EXPECT_EQ(node(2).count(Counter::replica_holds_lost), 1u);
  EXPECT_TRUE(node(2).lost.empty());
}

TEST_F(DataPlaneTest, ScrubRestsWhenItIsThrough) {
  config.scrub_pass_min = 10_s;
  start(1);
  (void)publish(6);
  pass(60_s);
  // Six passes, and the part of one that began while the pieces came.
  EXPECT_GE(node(1).count(Counter::replica_scrubbed_bytes), 5 * bytes.size());
  EXPECT_LE(node(1).count(Counter::replica_scrubbed_bytes), 8 * bytes.size());
}

TEST_F(DataPlaneTest, ScrubTakesItsTimeForAPass) {
  config.scrub_pass_min = 1_s;
  config.scrub_bytes_per_s = host_options.chunk_bytes / 2;
  start(1);
  (void)publish(6);
  pass(60_s);
  EXPECT_GE(node(1).count(Counter::replica_scrubbed_bytes), 55 * config.scrub_bytes_per_s);
  EXPECT_LE(node(1).count(Counter::replica_scrubbed_bytes), 62 * config.scrub_bytes_per_s);
}

TEST_F(DataPlaneTest, WhatAPeerCallsBadIsSummedAtOnce) {
  config.scrub_pass_min = 3600_s;
  start(2);
  link_all();
  const Manifest manifest = publish(6);
  pass(10_s);  // node 1 is through
  node(1).arena.bytes(find(1, manifest, 3))[100] ^= std::byte{1};
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(5_s, [&] { return node(1).count(Counter::replica_scrub_rotten) > 0; }));
  expect_copied(2, manifest, 60_s);  // node 1 read its file again
}

TEST_F(DataPlaneTest, WhatCannotBeMendedIsLost) {
  start(2);
  link_all();
  const Manifest manifest = publish(6);
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  mover->kill(node(1).index, false);
  node(1).stopped = true;
  node(2).arena.bytes(find(2, manifest, 3))[0] ^= std::byte{1};
  ASSERT_TRUE(pass_until(120_s, [&] { return !node(2).lost.empty(); }));
  EXPECT_EQ(node(2).lost.size(), 1u);
}

TEST_F(DataPlaneTest, NoSourceNoHold) {
  start(2);
  link_all();
  const Manifest manifest = publish(3);
  mover->kill(node(1).index, false);
  node(1).stopped = true;
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(120_s, [&] { return node(2).results.contains(manifest.generation); }));
  EXPECT_EQ(node(2).results[manifest.generation], HoldResult::no_source);
}

TEST_F(DataPlaneTest, ItsOwnFileServesWhereNoPeerDoes) {
  start(2);
  link_all();
  const Manifest manifest = publish(3);
  node(2).disk->files["a"] = bytes;
  hold(2, manifest, {});
  ASSERT_TRUE(pass_until(5_s, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(landed(2), 0u);
}

TEST_F(DataPlaneTest, AnotherFileOfThatNameDoesNot) {
  start(2);
  link_all();
  const Manifest manifest = publish(3);
  node(2).disk->files["a"] = bytes_of(99, bytes.size());
  hold(2, manifest, {});
  ASSERT_TRUE(pass_until(60_s, [&] { return node(2).results.contains(manifest.generation); }));
  EXPECT_EQ(node(2).results[manifest.generation], HoldResult::no_source);
  EXPECT_GT(node(2).count(Counter::replica_disk_checksum_failures), 0u);
  EXPECT_TRUE(read(2, manifest.generation).empty());
}

TEST_F(DataPlaneTest, NoRoomIsSaidAtOnce) {
  start(2);
  node(2).config.hold_bytes_max = host_options.chunk_bytes;
  node(2).start();
  link_all();
  const Manifest manifest = publish(3);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(1_s, [&] { return node(2).results.contains(manifest.generation); }));
  EXPECT_EQ(node(2).results[manifest.generation], HoldResult::no_room);
}

TEST_F(DataPlaneTest, EachHoldTaskHasItsAnswer) {
  start(2);
  link_all();
  const Manifest manifest = publish(8);
  hold(2, manifest, {{1}});
  hold(2, manifest, {{1}});
  expect_copied(2, manifest);
  EXPECT_EQ(node(2).answers[manifest.generation], 2u);
  hold(2, manifest, {{1}});
  pass(1_ms);
  EXPECT_EQ(node(2).answers[manifest.generation], 3u);
  node(2).plane->handle_task(now, ReleaseTask{manifest.generation}, nullptr);
  pass(1_ms);
  EXPECT_EQ(node(2).answers[manifest.generation], 3u);
}

TEST_F(DataPlaneTest, AReleaseInTheMiddleCancels) {
  start(2);
  link_all();
  const Manifest manifest = publish(20);
  mover->set_rate(node(1).index, 1'000'000);
  hold(2, manifest, {{1}});
  pass(50_ms);
  node(2).plane->handle_task(now, ReleaseTask{manifest.generation}, nullptr);
  pass(60_s);
  EXPECT_EQ(node(2).results[manifest.generation], HoldResult::cancelled);
  EXPECT_EQ(node(2).pins->total(), 0u);
  EXPECT_TRUE(read(2, manifest.generation).empty());  // forgotten
}

TEST_F(DataPlaneTest, HeldChunksOutliveAFloodOfOthers) {
  start(1);
  const Manifest manifest = publish(10);
  for (int i = 0; i < 20; ++i) {
    const std::string name = "other" + std::to_string(i);
    node(1).disk->files[name] =
        bytes_of(100 + static_cast<uint64_t>(i), 9 * host_options.chunk_bytes);
    EXPECT_EQ(read_path(1, name), node(1).disk->files[name]);
  }
  const uint32_t reads = node(1).disk->reads;
  EXPECT_EQ(read(1, manifest.generation), bytes);
  EXPECT_EQ(node(1).disk->reads, reads);
}

TEST_F(DataPlaneTest, AMissIsTakenFromAPeerBeforeTheDisk) {
  start(2);
  link_all();
  const Manifest manifest = publish(4);
  // It is not held at node 2, but its clients are led to it.
  node(2).plane->handle_task(now, SourcesTask{manifest.generation, {{1}}}, &manifest);
  node(2).plane->handle_task(now, RedirectTask{"a", manifest.generation}, &manifest);
  pass(1_ms);
  EXPECT_EQ(read_path(2, "a"), bytes);
  EXPECT_EQ(landed(2), bytes.size());
  EXPECT_EQ(node(2).disk->reads, 0u);
}

TEST_F(DataPlaneTest, WhatIsHeldNowhereIsRefused) {
  start(2);
  link_all();
  const Manifest manifest = publish(4);
  node(1).plane->handle_task(now, ReleaseTask{manifest.generation, false}, nullptr);
  node(2).plane->handle_task(now, SourcesTask{manifest.generation, {{1}}}, &manifest);
  node(2).plane->handle_task(now, RedirectTask{"a", manifest.generation}, &manifest);
  pass(1_ms);
  EXPECT_TRUE(read_path(2, "a").empty());
  EXPECT_GT(node(1).count(Counter::replica_refused_want_not_held), 0u);
}

TEST_F(DataPlaneTest, WritesKeepTheRate) {
  config.rate_bytes_per_s = 200'000;
  start(2);
  link_all();
  const Manifest manifest = publish(20);
  const Instant begin = now;
  hold(2, manifest, {{1}});
  expect_copied(2, manifest, 20_s);
  const Duration least = Duration::from_us(static_cast<int64_t>(bytes.size() * 5));
  EXPECT_GT(now - begin, least - 300_ms);
  EXPECT_LT(now - begin, least + 1_s);
  EXPECT_GT(node(1).count(Counter::replica_throttle_waits), 0u);
}

TEST_F(DataPlaneTest, IngestSaysWhatIsWrong) {
  start(1);
  node(1).plane->handle_task(now, IngestTask{7, "missing"}, nullptr);
  ASSERT_TRUE(pass_until(5_s, [&] { return node(1).failures.contains(7); }));
  EXPECT_EQ(node(1).failures[7], "there is no such file below the root");
}

TEST_F(DataPlaneTest, IngestSumsEachPiece) {
  start(1);
  const Manifest manifest = publish(3, 10);
  ASSERT_EQ(manifest.pieces(), 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    const auto begin = static_cast<ptrdiff_t>(i * host_options.chunk_bytes);
    const size_t length = i < 3 ? host_options.chunk_bytes : 10;
    EXPECT_EQ(manifest.piece_crcs[i],
              config.digests.crc32c({&bytes[static_cast<size_t>(begin)], length}));
  }
  EXPECT_EQ(manifest.size_bytes, bytes.size());
  EXPECT_EQ(manifest.modified_unix_s, 1);
  EXPECT_EQ(manifest.path, "a");
}

TEST_F(DataPlaneTest, ShortPiecesThatShareAChunkMoveToo) {
  start(2);
  link_all();
  std::vector<Manifest> manifests;
  for (uint64_t i = 1; i <= 6; ++i) {
    const std::string name = "small" + std::to_string(i);
    node(1).disk->files[name] = bytes_of(i, 500 + i);
    manifests.push_back(ingest(1, name, i));
    hold(1, manifests.back(), {});
    hold(2, manifests.back(), {{1}});
  }
  for (uint64_t i = 1; i <= 6; ++i) {
    ASSERT_TRUE(pass_until(10_s, [&] { return is_verified(2, manifests[i - 1]); })) << i;
    EXPECT_EQ(read(2, manifests[i - 1].generation), bytes_of(i, 500 + i));
  }
}

TEST_F(DataPlaneTest, SurvivesEverythingThatALinkCanDo) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    mover_options.seed = seed;
    mover_options.faults = {};
    hosts.clear();
    start(3);
    link_all();
    const Manifest manifest = publish(15, 100, seed);
    mover->set_faults({.frame_corrupt_ppm = 3'000,
                       .write_corrupt_ppm = 10'000,
                       .wrong_key_ppm = 5'000,
                       .error_ppm = 1'000,
                       .silent_ppm = 500,
                       .stall_ppm = 1'000});
    hold(2, manifest, {{1}});
    hold(3, manifest, {{2}, {1}});
    pass(20_s);
    mover->set_faults({});
    const auto is_done = [&] { return is_verified(2, manifest) && is_verified(3, manifest); };
    for (int i = 0; i < 800 && !is_done(); ++i) {
      hold_again(2, manifest, {{1}, {3}});
      hold_again(3, manifest, {{2}, {1}});
      pass(500_ms);
    }
    ASSERT_TRUE(is_done()) << seed;
    EXPECT_EQ(read(2, manifest.generation), bytes) << seed;
    EXPECT_EQ(read(3, manifest.generation), bytes) << seed;
    ASSERT_EQ(mover->violation(), "") << seed;
  }
}

}  // namespace
}  // namespace sluice::replica
