// What replication needs of the Store: chunks that are taken back though their bytes are wanted,
// and those that one worker holds.
#include "store_world.h"

namespace sluice::store {
namespace {

// A chunk that is taken back though its bytes are wanted ------------------------------------------

TEST_F(StoreTest, ADiscardedPieceIsReadAnew) {
  create("a", 2 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  const PieceReady first = ready(a.id, 0);
  ready(a.id, 0, 1);
  pins[1]->lease(first.extent.chunk);
  const uint32_t reads = disk->reads;
  hold_retires = true;
  send(0, content::Discard{a.id, 0});
  pass(1_ms);
  EXPECT_EQ(take<Retire>(0).chunk, first.extent.chunk);
  EXPECT_EQ(take<Retire>(1).chunk, first.extent.chunk);  // whoever was told of it, leased or not
  const PieceReady again = ready(a.id, 0);
  EXPECT_EQ(disk->reads, reads + 1);
  EXPECT_NE(again.extent.chunk, first.extent.chunk);
  EXPECT_EQ(store->chunks(ChunkState::retiring), 1u);
  EXPECT_EQ(counters.get(Counter::store_discards), 1u);
  EXPECT_EQ(counters.get(Counter::store_evictions), 0u);
}

// Workers serve the other pieces of a pack, and the bad one, until they are told to forget it.
TEST_F(StoreTest, ADiscardedShortPieceTakesItsPackAlong) {
  create("a", 100);
  create("b", 100);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  const PieceReady first = ready(a.id, 0);
  ASSERT_EQ(ready(b.id, 0).extent.chunk, first.extent.chunk);
  hold_retires = true;
  send(0, content::Discard{a.id, 0});
  pass(1_ms);
  EXPECT_EQ(take<Retire>().chunk, first.extent.chunk);
  const uint32_t reads = disk->reads;
  EXPECT_NE(ready(b.id, 0).extent.chunk, first.extent.chunk);
  EXPECT_NE(ready(a.id, 0).extent.chunk, first.extent.chunk);
  EXPECT_EQ(disk->reads, reads + 2);
}

TEST_F(StoreTest, ADiscardedPackGoesWhenItsLastFillEnds) {
  create("a", 100);
  create("b", 100);
  create("c", 100);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  const content::ObjectInfo c = found("c");
  const PieceReady first = ready(a.id, 0);
  disk->behaviour.latency_us_max = 20'000;
  send(1, NeedPiece{b.id, 0});
  pass(Duration());
  hold_retires = true;
  send(0, content::Discard{a.id, 0});
  send(0, NeedPiece{c.id, 0});
  send(0, content::Discard{a.id, 0});  // a second time: nothing
  pass(50_ms);
  EXPECT_EQ(take<PieceReady>(1).extent.chunk, first.extent.chunk);
  EXPECT_EQ(take<Retire>(1).chunk, first.extent.chunk);
  ASSERT_EQ(received[0].size(), 2u);
  for (const ToWorker& message : received[0]) {
    const auto* piece = std::get_if<PieceReady>(&message);
    if (piece != nullptr) {
      EXPECT_NE(piece->extent.chunk, first.extent.chunk);
    }
  }
  EXPECT_EQ(store->chunks(ChunkState::retiring), 1u);
  EXPECT_EQ(counters.get(Counter::store_discards), 1u);
}

TEST_F(StoreTest, ADiscardedPackGoesWhenItsLastFillFails) {
  create("a", 100);
  create("b", 100);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  ready(a.id, 0);
  disk->behaviour.latency_us_max = 20'000;
  disk->behaviour.read_error_per_mille = 1'000;
  send(1, NeedPiece{b.id, 0});
  pass(Duration());
  send(0, content::Discard{a.id, 0});
  pass(50_ms);
  EXPECT_EQ(take<PieceFailed>(1).reason, PieceFailure::io_error);
  EXPECT_EQ(store->chunks(ChunkState::free), config.chunk_count);
}

TEST_F(StoreTest, ADiscardOfWhatIsNotReadyDoesNothing) {
  create("a", 2 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  send(0, content::Discard{a.id, 0});
  send(0, content::Discard{a.id, 4'000'000'000});
  send(0, content::Discard{{a.id.slot, a.id.generation + 1}, 0});
  send(0, content::Discard{});
  send(0, NeedPiece{a.id, 0});
  send(0, content::Discard{a.id, 0});  // on its way: it is new already
  pass(5_ms);
  EXPECT_EQ(take<PieceReady>().object, a.id);
  EXPECT_TRUE(received[0].empty());
  EXPECT_EQ(counters.get(Counter::store_discards), 0u);
}

// The holder --------------------------------------------------------------------------------------

TEST_F(StoreTest, WhatTheHolderPinnedIsNeverTakenBack) {
  config.chunk_count = 2;
  config.last_holds = true;
  create("a", chunk_bytes);
  create("b", 6 * chunk_bytes);
  const content::ObjectInfo a = found("a");
  const content::ObjectInfo b = found("b");
  const PieceReady held = ready(a.id, 0, 1);
  pins[1]->pin(held.extent.chunk);
  for (uint32_t n = 0; n < 6; ++n) {
    const PieceReady piece = ready(b.id, n);
    EXPECT_NE(piece.extent.chunk, held.extent.chunk);
    use(piece);
    pass(3_s);  // long enough for every kind of appetite
  }
  EXPECT_TRUE(received[1].empty());
  pins[1]->unpin(held.extent.chunk);
  hold_retires = true;
  send(0, NeedPiece{b.id, 0});
  pass(5_ms);
  EXPECT_EQ(take<Retire>(1).chunk, held.extent.chunk);  // let go of: like any other
}

// Any other worker's pin is a frame on its way: it delays Retired, and saves nothing.
TEST_F(StoreTest, APinOfAnotherWorkerHoldsNothing) {
  config.chunk_count = 1;
  config.last_holds = true;
  create("a", chunk_bytes);
  create("b", chunk_bytes);
  const content::ObjectInfo b = found("b");
  const PieceReady piece = ready(found("a").id, 0);
  pins[0]->pin(piece.extent.chunk);
  use(piece);
  hold_retires = true;
  send(1, NeedPiece{b.id, 0});
  pass(50_ms);
  EXPECT_EQ(take<Retire>(0).chunk, piece.extent.chunk);
}

TEST_F(StoreTest, WhatIsHeldMayBeDiscarded) {
  config.last_holds = true;
  create("a", chunk_bytes);
  const content::ObjectInfo a = found("a");
  const PieceReady held = ready(a.id, 0, 1);
  pins[1]->pin(held.extent.chunk);
  hold_retires = true;
  send(1, content::Discard{a.id, 0});
  pass(1_ms);
  EXPECT_EQ(take<Retire>(1).chunk, held.extent.chunk);
  pins[1]->unpin(held.extent.chunk);
  send(1, Retired{held.extent.chunk});
  EXPECT_EQ(ready(a.id, 0, 1).object, a.id);
}

TEST_F(StoreTest, AVersionOfWhichSomethingIsHeldIsNotForgotten) {
  config.max_objects = 2;
  config.last_holds = true;
  for (const char* name : {"a", "b", "c", "d"}) create(name, chunk_bytes);
  const content::ObjectInfo a = found("a", 1);
  const PieceReady held = ready(a.id, 0, 1);
  pins[1]->pin(held.extent.chunk);
  for (const char* name : {"b", "c", "d", "b"}) found(name);
  EXPECT_EQ(ready(a.id, 0, 1).extent, held.extent);
  pins[1]->unpin(held.extent.chunk);
  for (const char* name : {"c", "d"}) found(name);
  EXPECT_EQ(failure(a.id, 0, false, 1), PieceFailure::stale);
}

// More of them than one search looks at.
TEST_F(StoreTest, ManyHeldChunksDoNotKeepTheOthersFromBeingFound) {
  constexpr uint32_t held = 3 * ChunkTable::search_max;
  config.chunk_count = held + 2;
  config.last_holds = true;
  config.needs_max = held;
  create("a", uint64_t{held} * chunk_bytes);
  create("b", 20 * chunk_bytes);
  const content::ObjectInfo a = found("a", 1);
  const content::ObjectInfo b = found("b");
  for (uint32_t n = 0; n < held; ++n) {
    send(1, NeedPiece{a.id, n});
    if (n % 128 == 127) pass(5_ms);
  }
  for (const ToWorker& message : received[1]) {
    pins[1]->pin(std::get<PieceReady>(message).extent.chunk);
  }
  received[1].clear();
  pass(3_s);
  for (uint32_t n = 0; n < 20; ++n) {
    send(0, NeedPiece{b.id, n});
    pass(n < 8 ? 20_ms : 2_ms);  // at first they are put aside
    use(take<PieceReady>());
    pass(30_ms);
  }
  EXPECT_TRUE(received[1].empty());
}

// A published generation --------------------------------------------------------------------------

// Its validator is the same on every node, whatever the files there are.
TEST_F(StoreTest, TheTagOfWhatIsPublishedIsItsInode) {
  start();
  send(0, content::Lookup{7, "g"});
  IoRequest request;
  ASSERT_TRUE(store->poll_io(now, request));
  IoCompletion completion{.kind = IoKind::open, .token = request.token, .has_facts = true};
  completion.facts = {.kind = FileKind::regular,
                      .version = {published_device, 0x1234567890abcdef, 10, 20'000'000'000, 3},
                      .age_ns = 1'000'000'000};
  store->handle_completion(now, completion);
  collect(0);
  const LookupAnswer answer = take<LookupAnswer>();
  EXPECT_EQ(answer.info.etag, 0x1234567890abcdefu);
  EXPECT_EQ(answer.info.modified_unix_s, 20);
}

}  // namespace
}  // namespace sluice::store
