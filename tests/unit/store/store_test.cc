// The Store as a specification: one behaviour a test, in simulated time.
#include "store_world.h"

namespace sluice::store {
namespace {

// Lookups -----------------------------------------------------------------------------------------

TEST_F(StoreTest, AnswersEveryKindOfPath) {
  create("f", 10);
  create("d", 0, FileKind::directory);
  create("fifo", 0, FileKind::other);
  EXPECT_EQ(look_up("f").status, LookupStatus::found);
  EXPECT_EQ(look_up("d").status, LookupStatus::directory);
  EXPECT_EQ(look_up("fifo").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("nothing").status, LookupStatus::not_found);
  EXPECT_EQ(store->open_files(), 1u);
}

TEST_F(StoreTest, RefusesUnsoundPathsWithoutAskingTheDisk) {
  start();
  EXPECT_EQ(look_up("/etc").status, LookupStatus::not_found);
  EXPECT_EQ(look_up(std::string_view("a\0b", 3)).status, LookupStatus::not_found);
  EXPECT_EQ(look_up(std::string(path_bytes_max + 1, 'x')).status, LookupStatus::not_found);
  EXPECT_EQ(disk->opens, 0u);
  EXPECT_EQ(look_up(std::string(path_bytes_max, 'x')).status, LookupStatus::not_found);
  EXPECT_EQ(disk->opens, 1u);
}

TEST_F(StoreTest, OneOpenAnswersAllWhoAskMeanwhileInOrder) {
  create("f", 10);
  for (uint32_t ticket = 1; ticket <= 4; ++ticket) send(0, content::Lookup{ticket, "f"});
  send(1, content::Lookup{9, "f"});
  pass(5_ms);
  EXPECT_EQ(disk->opens, 1u);
  for (uint32_t ticket = 1; ticket <= 4; ++ticket) EXPECT_EQ(take<LookupAnswer>().ticket, ticket);
  EXPECT_EQ(take<LookupAnswer>(1).ticket, 9u);
}

TEST_F(StoreTest, AFreshAnswerNeedsNoDisk) {
  config.fresh_for = 1_s;
  create("f", 10);
  const content::ObjectInfo info = found("f");
  EXPECT_EQ(found("f", 1).id, info.id);
  EXPECT_EQ(disk->opens, 1u);
  pass(1_s);
  EXPECT_EQ(found("f").id, info.id);
  EXPECT_EQ(disk->opens, 2u);
  EXPECT_EQ(store->open_files(), 1u);
}

TEST_F(StoreTest, TooManyOpenLookupsAreAnsweredBusy) {
  config.lookups_max = 2;
  create("f", 10);
  for (uint32_t ticket = 1; ticket <= 3; ++ticket) send(0, content::Lookup{ticket, "f"});
  pass(5_ms);
  const LookupAnswer first = take<LookupAnswer>();
  EXPECT_EQ(first.ticket, 3u);
  EXPECT_EQ(first.status, LookupStatus::busy);
  EXPECT_EQ(take<LookupAnswer>().status, LookupStatus::found);
}

TEST_F(StoreTest, AnotherFileAtThePathIsAnotherObject) {
  create("f", 10);
  const content::ObjectInfo before = found("f");
  create("f", 10);
  pass(1_s);
  const content::ObjectInfo after = found("f");
  EXPECT_NE(before.id, after.id);
  EXPECT_NE(before.etag, after.etag);
}

// Time stamps may be as coarse as 10 ms: what changed in the running tick may change unseen.
TEST_F(StoreTest, AFileThatChangedJustNowIsLookedAtAgain) {
  create("f", chunk_bytes);
  disk->rewrite("f", 0, 1);
  send(0, content::Lookup{1, "f"});
  pass(2_ms);
  EXPECT_TRUE(received[0].empty());
  disk->rewrite("f", 1, 1);  // the same time stamps as before
  pass(50_ms);
  const content::ObjectId id = take<LookupAnswer>().info.id;
  EXPECT_EQ(counters.get(Counter::store_settles), 1u);
  const PieceReady piece = ready(id, 0);
  Stamp stamp;
  std::memcpy(&stamp, arena.bytes(piece.extent).data() + io_align_bytes, sizeof stamp);
  EXPECT_EQ(stamp.write, 2u);
}

TEST_F(StoreTest, AFileThatKeepsChangingIsBusyInTheEnd) {
  create("f", chunk_bytes);
  send(0, content::Lookup{1, "f"});
  for (int i = 0; i < 100 && received[0].empty(); ++i) {
    disk->rewrite("f", 0, 1);
    pass(5_ms);
  }
  EXPECT_EQ(take<LookupAnswer>().status, LookupStatus::busy);
  pass(100_ms);
  EXPECT_EQ(store->open_files(), 0u);
}

TEST_F(StoreTest, AChangeOfAServedFileIsToldToAllWorkersOnce) {
  create("f", 10);
  found("f");
  store->handle_change(now, "unknown");
  pass(1_ms);
  EXPECT_TRUE(received[1].empty());
  for (int i = 0; i < 10; ++i) store->handle_change(now, "f");
  pass(10_ms);
  ASSERT_EQ(received[1].size(), 1u);
  take<content::Revalidate>(0);
  take<content::Revalidate>(1);
  pass(100_ms);  // those that came after the first are told together
  EXPECT_EQ(received[1].size(), 1u);
  received[0].clear();
  found("f");
  EXPECT_EQ(disk->opens, 2u);
}

TEST_F(StoreTest, ALookupUnderWayWhenThePathChangesIsDoneAgain) {
  create("f", 10);
  disk->behaviour.latency_us_max = 10'000;
  send(0, content::Lookup{1, "f"});
  pass(Duration());
  store->handle_change(now, "f");
  pass(50_ms);
  EXPECT_EQ(disk->opens, 2u);
}

TEST_F(StoreTest, VersionsAreForgottenLongestUnusedFirst) {
  config.max_objects = 2;
  create("a", 10);
  create("b", 10);
  create("c", 10);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  ready(a.id, 0);  // used later than b
  const content::ObjectInfo c = found("c");
  EXPECT_EQ(failure(b.id, 0), PieceFailure::stale);
  EXPECT_EQ(ready(a.id, 0).object, a.id);
  EXPECT_EQ(ready(c.id, 0).object, c.id);
  EXPECT_EQ(c.id.slot, b.id.slot);
  EXPECT_NE(c.id.generation, b.id.generation);
}

// Pieces ------------------------------------------------------------------------------------------

TEST_F(StoreTest, OneFillAnswersAllWorkers) {
  create("f", 3 * chunk_bytes);
  const content::ObjectInfo info = found("f");
  send(0, NeedPiece{info.id, 1});
  send(1, NeedPiece{info.id, 1});
  pass(5_ms);
  EXPECT_EQ(take<PieceReady>(0).extent, take<PieceReady>(1).extent);
  EXPECT_EQ(disk->reads, 1u);
  ready(info.id, 1);
  EXPECT_EQ(disk->reads, 1u);
}

TEST_F(StoreTest, ShortPiecesShareAChunk) {
  create("a", 5'000);
  create("b", 100);
  create("c", 2 * chunk_bytes + 1);
  const PieceReady a = ready(found("a").id, 0);
  const PieceReady b = ready(found("b").id, 0);
  const PieceReady c = ready(found("c").id, 2);
  EXPECT_EQ(a.extent, (content::Extent{a.extent.chunk, 0, 5'000}));
  EXPECT_EQ(b.extent, (content::Extent{a.extent.chunk, 8'192, 100}));
  EXPECT_EQ(c.extent, (content::Extent{a.extent.chunk, 12'288, 1}));
}

TEST_F(StoreTest, APackIsTakenBackAsAWhole) {
  config.chunk_count = 1;
  create("a", 100);
  create("b", 100);
  create("big", chunk_bytes);
  const PieceReady a = ready(found("a").id, 0);
  ready(found("b").id, 0);
  use(a);
  hold_retires = true;
  send(0, NeedPiece{found("big").id, 0});
  pass(5_ms);
  EXPECT_EQ(take<Retire>().chunk, a.extent.chunk);
  EXPECT_TRUE(received[0].empty());
  send(0, Retired{a.extent.chunk});
  pass(5_ms);
  EXPECT_EQ(take<PieceReady>().extent.length_bytes, chunk_bytes);
}

TEST_F(StoreTest, AChunkIsReusedOnlyWhenEveryWorkerThatWasToldAnswered) {
  config.chunk_count = 1;
  create("a", chunk_bytes);
  create("b", chunk_bytes);
  const content::ObjectInfo a = found("a");
  ready(a.id, 0, 0);
  use(ready(a.id, 0, 1), 1);
  const content::ObjectInfo b = found("b");
  hold_retires = true;
  send(0, NeedPiece{b.id, 0});
  pass(5_ms);
  const content::ChunkIndex chunk = take<Retire>(0).chunk;
  EXPECT_EQ(take<Retire>(1).chunk, chunk);
  const uint32_t reads = disk->reads;
  send(0, Retired{chunk});
  pass(1_s);
  EXPECT_EQ(disk->reads, reads);
  send(1, Retired{chunk});
  pass(5_ms);
  EXPECT_EQ(take<PieceReady>(0).extent.chunk, chunk);
}

TEST_F(StoreTest, LeasedChunksStayUntilTheirReadersStall) {
  config.chunk_count = 2;
  create("a", 2 * chunk_bytes);
  create("b", chunk_bytes);
  const content::ObjectInfo a = found("a");
  const PieceReady first = ready(a.id, 0);
  const PieceReady second = ready(a.id, 1);
  pins[0]->lease(first.extent.chunk);
  pins[0]->lease(second.extent.chunk);
  use(first);
  const content::ObjectInfo b = found("b");
  send(1, NeedPiece{b.id, 0});
  for (int i = 0; i < 40; ++i) {  // the second is in use all the time
    use(second);
    pass(10_ms);
  }
  EXPECT_TRUE(received[1].empty());
  for (int i = 0; i < 20; ++i) {
    use(second);
    pass(10_ms);
  }
  EXPECT_EQ(take<PieceReady>(1).extent.chunk, first.extent.chunk);
  EXPECT_EQ(counters.get(Counter::store_revocations), 1u);
}

// Readers that take a little now and then must not keep everybody else from the disk.
TEST_F(StoreTest, WhoWaitsTooLongGetsAChunkThatIsInUse) {
  config.chunk_count = 2;
  create("a", 2 * chunk_bytes);
  create("b", chunk_bytes);
  const content::ObjectInfo a = found("a");
  const PieceReady first = ready(a.id, 0);
  const PieceReady second = ready(a.id, 1);
  pins[0]->lease(first.extent.chunk);
  pins[0]->lease(second.extent.chunk);
  const content::ObjectInfo b = found("b");
  send(1, NeedPiece{b.id, 0});
  for (int i = 0; i < 230; ++i) {
    use(first);
    use(second);
    pass(10_ms);
  }
  EXPECT_EQ(take<PieceReady>(1).object, b.id);
}

TEST_F(StoreTest, WaitersAreServedInTheOrderInWhichTheyCame) {
  config.chunk_count = 1;
  create("a", 4 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  for (uint32_t n = 0; n < 4; ++n) send(0, NeedPiece{a.id, n});
  pass(1_s);
  for (uint32_t n = 0; n < 4; ++n) EXPECT_EQ(take<PieceReady>().piece, n);
}

TEST_F(StoreTest, ReadAheadIsDeclinedUnderPressure) {
  config.chunk_count = 2;
  create("a", 8 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  const PieceReady first = ready(a.id, 0);
  pins[0]->lease(first.extent.chunk);
  use(first);
  EXPECT_EQ(failure(a.id, 1, true), std::nullopt);  // there is a free chunk
  take<PieceReady>();
  EXPECT_EQ(failure(a.id, 2, true), PieceFailure::declined);
  EXPECT_EQ(ready(a.id, 3).piece, 3u);  // what is needed takes what was read ahead in vain
}

TEST_F(StoreTest, ReadAheadNeverTakesWhatWasReadAheadAndNotUsed) {
  config.chunk_count = 3;
  create("a", 8 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  for (uint32_t n = 0; n < 3; ++n) {
    ASSERT_EQ(failure(a.id, n, true), std::nullopt);
    take<PieceReady>();
  }
  EXPECT_EQ(failure(a.id, 3, true), PieceFailure::declined);
  pass(3_s);  // nobody wanted them
  EXPECT_EQ(failure(a.id, 3, true), std::nullopt);
}

TEST_F(StoreTest, ManyReadsAreInFlightAtATime) {
  config.chunk_count = 8;
  create("a", 8 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  disk->behaviour.latency_us_max = 1'000'000;
  for (uint32_t n = 0; n < 8; ++n) send(0, NeedPiece{a.id, n});
  pass(Duration());
  EXPECT_EQ(store->io_in_flight(), config.reads_in_flight);
}

TEST_F(StoreTest, AnErrorEndsThatPieceOnly) {
  create("a", 3 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  disk->behaviour.read_error_per_mille = 1'000;
  EXPECT_EQ(failure(a.id, 0), PieceFailure::io_error);
  disk->behaviour.read_error_per_mille = 0;
  EXPECT_EQ(ready(a.id, 0).piece, 0u);
  EXPECT_EQ(ready(a.id, 1).piece, 1u);
}

TEST_F(StoreTest, ShortReadsAreContinued) {
  create("a", 3 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  disk->behaviour.short_read_per_mille = 700;
  for (uint32_t n = 0; n < 3; ++n) {
    send(0, NeedPiece{a.id, n});
    pass(20_ms);
    ASSERT_FALSE(received[0].empty());
    if (std::holds_alternative<PieceReady>(received[0].front())) {
      EXPECT_EQ(take<PieceReady>().extent.length_bytes, chunk_bytes);
    } else {
      EXPECT_EQ(take<PieceFailed>().reason, PieceFailure::io_error);  // nothing came, four times
    }
  }
  EXPECT_GT(counters.get(Counter::store_reads_short), 0u);
}

TEST_F(StoreTest, ARewrittenFileIsStaleAndItsNewVersionIsServed) {
  create("a", 2 * chunk_bytes);
  const content::ObjectInfo before = found("a");
  const PieceReady first = ready(before.id, 0);
  disk->rewrite("a", 0, 1);
  pass(100_ms);
  EXPECT_EQ(failure(before.id, 1), PieceFailure::stale);
  EXPECT_EQ(ready(before.id, 0).extent, first.extent);  // what was read of it stays true
  const content::ObjectInfo after = found("a");
  EXPECT_NE(after.id, before.id);
  EXPECT_EQ(ready(after.id, 1).object, after.id);
}

TEST_F(StoreTest, AReplacedFileIsReadToItsEnd) {
  create("a", 3 * chunk_bytes);
  const content::ObjectInfo before = found("a");
  ready(before.id, 0);
  create("a", 2 * chunk_bytes);
  EXPECT_EQ(ready(before.id, 1).object, before.id);
  EXPECT_NE(found("a").id, before.id);
  EXPECT_EQ(ready(before.id, 2).object, before.id);
}

TEST_F(StoreTest, AFileThatShrinksOrGrowsIsStale) {
  create("a", 3 * chunk_bytes);
  create("b", 100);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  disk->truncate("a", chunk_bytes);
  disk->truncate("b", 200);
  EXPECT_EQ(failure(a.id, 2), PieceFailure::stale);
  EXPECT_EQ(failure(b.id, 0), PieceFailure::stale);
}

TEST_F(StoreTest, PiecesThatCannotBeAreStale) {
  create("a", chunk_bytes);
  create("empty", 0);
  const content::ObjectInfo a = found("a");
  EXPECT_EQ(failure(a.id, 1), PieceFailure::stale);
  EXPECT_EQ(failure(a.id, 4'000'000'000), PieceFailure::stale);
  EXPECT_EQ(failure({a.id.slot, a.id.generation + 1}, 0), PieceFailure::stale);
  EXPECT_EQ(failure({4'000'000'000, 1}, 0), PieceFailure::stale);
  EXPECT_EQ(failure({}, 0), PieceFailure::stale);
  EXPECT_EQ(failure(found("empty").id, 0), PieceFailure::stale);
}

// Files -------------------------------------------------------------------------------------------

TEST_F(StoreTest, FilesAreClosedForOthersAndOpenedAgain) {
  config.max_open_files = 2;
  for (const char* path : {"a", "b", "c"}) create(path, 3 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  found("b");
  found("c");
  EXPECT_EQ(store->open_files(), 2u);
  EXPECT_EQ(ready(a.id, 0).object, a.id);
  EXPECT_GT(counters.get(Counter::store_files_recycled), 0u);
}

TEST_F(StoreTest, AFileOpenedAgainMustBeTheSameVersion) {
  config.max_open_files = 1;
  create("a", 3 * chunk_bytes);
  create("b", 3 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  found("b");
  create("a", 3 * chunk_bytes);  // replaced while it was closed
  EXPECT_EQ(failure(a.id, 0), PieceFailure::stale);
  const content::ObjectInfo again = found("a");
  pass(1_s);
  found("b");
  disk->unlink("a");
  EXPECT_EQ(failure(again.id, 0), PieceFailure::stale);
  EXPECT_EQ(look_up("a").status, LookupStatus::not_found);
}

TEST_F(StoreTest, IdleFilesAreClosedInTheEnd) {
  create("a", 10);
  found("a");
  EXPECT_EQ(store->open_files(), 1u);
  EXPECT_EQ(store->next_timeout() - now < config.file_idle_max, true);
  now = now + config.file_idle_max;
  pass(1_ms);
  EXPECT_EQ(store->open_files(), 0u);
  EXPECT_EQ(store->next_timeout(), Instant::never());
}

TEST_F(StoreTest, AWorkerThatDoesNotFetchItsAnswersIsNotListenedTo) {
  config.fresh_for = 1_s;
  create("f", 10);
  found("f");
  uint32_t taken = 0;
  while (store->can_take(0)) {
    send(0, content::Lookup{++taken, "f"});
    ASSERT_LT(taken, 10'000u);
  }
  EXPECT_TRUE(store->can_take(1));
  pass(1_ms);
  EXPECT_EQ(received[0].size(), taken);
  EXPECT_TRUE(store->can_take(0));
}

TEST_F(StoreTest, GaugesTellWhatThereIs) {
  create("a", chunk_bytes);
  ready(found("a").id, 0);
  store->publish_gauges();
  EXPECT_EQ(counters.get(Counter::store_chunks_free), 3u);
  EXPECT_EQ(counters.get(Counter::store_chunks_ready), 1u);
  EXPECT_EQ(counters.get(Counter::store_files_open), 1u);
  EXPECT_EQ(counters.get(Counter::store_objects), 1u);
}

}  // namespace
}  // namespace sluice::store
