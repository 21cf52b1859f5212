// The Overlay between a whole Store and a disk, with a Node that is slow and fails now and then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "replica/overlay.h"
#include "store/fake_disk.h"
#include "store/store.h"

namespace sluice::replica {
namespace {

using store::IoCompletion;
using store::IoRequest;

constexpr uint32_t chunk_bytes = 4 * store::io_align_bytes;

using content::LookupAnswer;
using content::LookupStatus;
using content::NeedPiece;
using content::PieceReady;
using content::ToWorker;

// A Node that has the bytes of every generation at hand, but is slow, and sometimes fails.
struct FakeNode {
  struct Due {
    Instant at;
    FromOverlay message;
  };
  Prng random{1};
  content::ArenaView arena;
  std::map<GenerationId, uint64_t> tags;
  std::deque<Due> due;
  uint32_t fetches = 0;
  uint32_t disk_reads = 0;
  bool failing = false;

  void fill(const content::Extent& extent, GenerationId generation, uint32_t piece) {
    for (uint32_t at = 0; at < extent.length_bytes; at += store::io_align_bytes) {
      const store::Stamp stamp{tags[generation], piece, at};
      std::memcpy(arena.bytes({extent.chunk, extent.offset_bytes + at, sizeof stamp}).data(),
                  &stamp, sizeof stamp);
    }
  }
};

class OverStoreTest : public testing::Test {
 protected:
  static constexpr uint64_t tag_mark = 0xdecade;
  static constexpr uint32_t workers = 3;  // the last is the Node's
  store::Config config{.workers = workers,
                       .chunk_count = 12,
                       .chunk_bytes = chunk_bytes,
                       .max_objects = 16,
                       .max_open_files = 6,
                       .lookups_max = 8,
                       .needs_max = 16,
                       .reads_in_flight = 4,
                       .opens_in_flight = 4,
                       .file_idle_max = 200_ms,
                       .last_holds = true};

  OverStoreTest() : memory(size_t{config.chunk_count} * chunk_bytes) {
    arena = {memory.data(), config.chunk_count, chunk_bytes, nullptr, 0};
    for (uint32_t i = 0; i < workers; ++i) {
      pins.push_back(std::make_unique<content::ChunkPins>(config.chunk_count, 0));
      uses.push_back(pins.back().get());
    }
    store = std::make_unique<store::Store>(config, uses, counters);
    disk = std::make_unique<store::FakeDisk>(1, config.max_open_files, arena);
    overlay = std::make_unique<Overlay>(OverlayConfig{.generations_max = 64,
                                                      .max_open_files = config.max_open_files,
                                                      .reads_in_flight = config.reads_in_flight,
                                                      .chunk_bytes = chunk_bytes});
    node.arena = arena;
    disk->behaviour.may_open_twice = true;
    disk->advance(now);
  }

  void tell(const ToOverlay& message) {
    const std::string_view changed = overlay->handle(now, message);
    if (!changed.empty()) store->handle_change(now, changed);
  }
  GenerationId describe(std::string_view path, uint64_t size_bytes, bool own_file = false) {
    const GenerationId id{.number = ++generations, .publisher = {9}};
    node.tags[id] = tag_mark << 32 | generations;
    tell(Describe{.generation = id,
                  .size_bytes = size_bytes,
                  .etag = node.tags[id],
                  .path = PathText(own_file ? path : std::string_view())});
    return id;
  }

  // What store_thread.cc does.
  void pass(Duration time) {
    const Instant until = now + time;
    while (now <= until) {
      disk->advance(now);
      while (!node.due.empty() && node.due.front().at <= now) {
        const FromOverlay message = node.due.front().message;
        node.due.pop_front();
        act(message);
      }
      IoCompletion done;
      while (disk->poll_completion(done)) {
        if (overlay->handle_disk(now, done)) store->handle_completion(now, done);
      }
      while (overlay->poll_completion(done)) store->handle_completion(now, done);
      if (store->next_timeout() <= now) store->handle_timeout(now);
      IoRequest request;
      while (overlay->poll_disk(request)) disk->submit(request);
      while (store->poll_io(now, request)) {
        if (overlay->handle_request(now, request)) disk->submit(request);
      }
      ASSERT_FALSE(testing::Test::HasFatalFailure());
      FromOverlay message;
      while (overlay->poll_message(message)) {
        node.due.push_back(
            {now + Duration::from_us(static_cast<int64_t>(node.random.below(500))), message});
      }
      for (uint32_t i = 0; i < workers; ++i) collect(i);
      now = now + 50_us;
    }
  }
  void act(const FromOverlay& message) {
    if (const auto* fetch = std::get_if<Fetch>(&message)) {
      ++node.fetches;
      wanted[fetch->fetch] = *fetch;
      if (node.random.chance(1, 4)) {
        tell(ReadDisk{fetch->fetch});
        return;
      }
      finish(*fetch);
    } else {
      const DiskRead read = std::get<DiskRead>(message);
      node.disk_reads += read.error == 0;
      finish(wanted.at(read.fetch));
    }
  }
  // By value: the one in `wanted` ends here.
  void finish(Fetch fetch) {
    wanted.erase(fetch.fetch);
    const int error = node.failing && node.random.chance(1, 4) ? EIO : 0;
    if (error == 0) node.fill(fetch.extent, fetch.generation, fetch.piece);
    tell(Fetched{fetch.fetch, error});
  }
  void collect(uint32_t worker) {
    ToWorker message;
    while (store->poll_message(worker, message)) {
      if (const auto* retire = std::get_if<content::Retire>(&message)) {
        store->handle_message(now, worker, content::Retired{retire->chunk});
        continue;
      }
      if (const auto* piece = std::get_if<PieceReady>(&message)) check(worker, *piece);
      received[worker].push_back(message);
    }
  }
  // Every byte is of the generation that the lookup named.
  void check(uint32_t, const PieceReady& piece) {
    const auto known = tag_of.find(piece.object);
    ASSERT_NE(known, tag_of.end());
    if (known->second >> 32 != tag_mark) return;  // a file of the disk
    for (uint32_t at = 0; at < piece.extent.length_bytes; at += store::io_align_bytes) {
      store::Stamp stamp;
      std::memcpy(
          &stamp,
          arena.bytes({piece.extent.chunk, piece.extent.offset_bytes + at, sizeof stamp}).data(),
          sizeof stamp);
      ASSERT_EQ(stamp, (store::Stamp{known->second, piece.piece, at}));
    }
    ++checked;
  }
  LookupAnswer look_up(uint32_t worker, std::string_view path) {
    const std::string_view led = worker + 1 == workers ? path : overlay->redirect(path);
    store->handle_message(now, worker, content::Lookup{1, led});
    pass(60_ms);
    for (auto at = received[worker].begin(); at != received[worker].end(); ++at) {
      if (const auto* found = std::get_if<LookupAnswer>(&*at)) {
        const LookupAnswer answer = *found;
        received[worker].erase(at);
        if (answer.status == LookupStatus::found) {
          tag_of[answer.info.id] = answer.info.etag;
        }
        return answer;
      }
    }
    ADD_FAILURE() << "no answer";
    return {};
  }
  template <typename T>
  std::vector<T> take(uint32_t worker) {
    std::vector<T> all;
    for (const ToWorker& message : received[worker]) {
      if (const auto* each = std::get_if<T>(&message)) all.push_back(*each);
    }
    received[worker].clear();
    return all;
  }

  Instant now = Instant::from_ns(5'000'000'000);
  stats::Counters counters;
  std::vector<std::byte> memory;
  content::ArenaView arena;
  std::vector<std::unique_ptr<content::ChunkPins>> pins;
  std::vector<const content::ChunkPins*> uses;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<store::FakeDisk> disk;
  std::unique_ptr<Overlay> overlay;
  FakeNode node;
  uint64_t generations = 0;
  uint64_t checked = 0;
  std::map<uint32_t, Fetch> wanted;
  std::map<content::ObjectId, uint64_t> tag_of;
  std::vector<ToWorker> received[workers];
};

TEST_F(OverStoreTest, ClientsAndTheNodeShareOneCopy) {
  const GenerationId id = describe("a", 3 * chunk_bytes);
  tell(Redirect{PathText("a"), id});
  const LookupAnswer client = look_up(0, "a");
  const InternalName name = internal_name(id);
  const LookupAnswer own = look_up(2, name.view());
  ASSERT_EQ(client.status, LookupStatus::found);
  EXPECT_EQ(client.info.id, own.info.id);
  EXPECT_EQ(client.info.etag, node.tags[id]);
  for (uint32_t n = 0; n < 3; ++n) {
    store->handle_message(now, 2, NeedPiece{own.info.id, n});
    store->handle_message(now, 0, NeedPiece{own.info.id, n});
  }
  pass(20_ms);
  const auto held = take<PieceReady>(2);
  const auto served = take<PieceReady>(0);
  ASSERT_EQ(held.size(), 3u);
  ASSERT_EQ(served.size(), 3u);
  for (uint32_t n = 0; n < 3; ++n) EXPECT_EQ(held[n].extent, served[n].extent);
  EXPECT_EQ(node.fetches, 3u);
  EXPECT_EQ(checked, 6u);
}

// The Node ingests what is published next from the disk, while clients get what is published now.
TEST_F(OverStoreTest, APlainPathIsTheFileToTheNode) {
  disk->create("a", 100);
  pass(100_ms);
  tell(Redirect{PathText("a"), describe("a", 3 * chunk_bytes)});
  EXPECT_EQ(look_up(0, "a").info.size_bytes, 3 * chunk_bytes);
  EXPECT_EQ(look_up(2, "a").info.size_bytes, 100u);
}

TEST_F(OverStoreTest, ARunningResponseEndsWithTheGenerationItBeganWith) {
  tell(Redirect{PathText("a"), describe("a", 3 * chunk_bytes)});
  const LookupAnswer before = look_up(0, "a");
  store->handle_message(now, 0, NeedPiece{before.info.id, 0});
  pass(10_ms);
  received[1].clear();
  tell(Redirect{PathText("a"), describe("a", 2 * chunk_bytes)});
  pass(30_ms);
  EXPECT_FALSE(received[1].empty());  // told to look again
  const LookupAnswer after = look_up(1, "a");
  EXPECT_EQ(after.info.size_bytes, 2 * chunk_bytes);
  EXPECT_NE(after.info.etag, before.info.etag);
  store->handle_message(now, 0, NeedPiece{before.info.id, 2});
  store->handle_message(now, 1, NeedPiece{after.info.id, 1});
  pass(10_ms);
  EXPECT_EQ(take<PieceReady>(0).back().piece, 2u);
  EXPECT_EQ(take<PieceReady>(1).back().piece, 1u);
  EXPECT_EQ(checked, 3u);
}

// Paths that are published again and again, lookups and pieces at random, little room: whatever is
// ready is of the generation whose tag the lookup told.
TEST_F(OverStoreTest, EveryPieceIsOfTheGenerationThatWasLookedUp) {
  node.failing = true;
  Prng random(3);
  disk->behaviour.short_read_per_mille = 300;
  disk->behaviour.read_error_per_mille = 100;
  const std::vector<std::string> paths = {"a", "b", "c"};
  for (const std::string& path : paths) disk->create(path, 3 * chunk_bytes);
  pass(100_ms);
  std::deque<GenerationId> alive;
  std::vector<content::ObjectInfo> known;
  uint32_t stale = 0, failed = 0;
  std::set<std::pair<content::ObjectId, uint32_t>> open[2];
  for (int step = 0; step < 1'500 && !HasFatalFailure(); ++step) {
    const std::string& path = paths[random.below(paths.size())];
    const auto worker = static_cast<uint32_t>(random.below(2));
    if (random.chance(1, 12)) {
      const bool whole = random.chance(1, 2);
      alive.push_back(
          describe(path, whole ? 3 * chunk_bytes : 1 + random.below(4 * chunk_bytes), whole));
      tell(Redirect{PathText(path), alive.back()});
      if (alive.size() > 5) {
        tell(Forget{alive.front()});
        alive.pop_front();
      }
      now = now + 20_s;  // names rest
    }
    if (random.chance(1, 30)) tell(Redirect{PathText(path), {}});
    if (random.chance(1, 4)) {
      const LookupAnswer answer = look_up(worker, path);
      if (answer.status == LookupStatus::found) known.push_back(answer.info);
    }
    for (int i = 0; i < 3 && !known.empty(); ++i) {
      const size_t back = std::min<size_t>(known.size(), 6);
      const content::ObjectInfo& info = known[known.size() - 1 - random.below(back)];
      const uint64_t pieces = (info.size_bytes + chunk_bytes - 1) / chunk_bytes;
      const auto piece = static_cast<uint32_t>(random.below(pieces));
      if (open[worker].insert({info.id, piece}).second) {
        store->handle_message(now, worker, NeedPiece{info.id, piece});
      }
    }
    pass(Duration::from_us(static_cast<int64_t>(random.below(3'000))));
    for (uint32_t i = 0; i < 2; ++i) {
      for (const ToWorker& message : received[i]) {
        if (const auto* ready = std::get_if<PieceReady>(&message)) {
          open[i].erase({ready->object, ready->piece});
        } else if (const auto* fail = std::get_if<content::PieceFailed>(&message)) {
          open[i].erase({fail->object, fail->piece});
          stale += fail->reason == content::PieceFailure::stale;
          failed += fail->reason == content::PieceFailure::io_error;
        }
      }
      received[i].clear();
    }
  }
  pass(100_ms);
  EXPECT_TRUE(wanted.empty());
  EXPECT_EQ(store->io_in_flight(), 0u);
  EXPECT_GT(checked, 500u);
  EXPECT_GT(node.fetches, 300u);
  EXPECT_GT(node.disk_reads, 30u);
  EXPECT_GT(failed, 30u);
  EXPECT_GT(stale, 0u);
}

}  // namespace
}  // namespace sluice::replica
