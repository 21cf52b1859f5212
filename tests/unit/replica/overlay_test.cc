// The Overlay as a specification: alone, and between a whole Store and a disk.
#include "replica/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/fake_disk.h"
#include "store/store.h"

namespace sluice::replica {
namespace {

using store::FileKind;
using store::IoCompletion;
using store::IoKind;
using store::IoRequest;

constexpr uint32_t chunk_bytes = 4 * store::io_align_bytes;
constexpr GenerationId first{.number = 0xfffffffffffffff0, .publisher = {7}};
constexpr GenerationId second{.number = 0xfffffffffffffff1, .publisher = {7}};

class OverlayTest : public testing::Test {
 protected:
  OverlayConfig config{.generations_max = 4,
                       .max_open_files = 4,
                       .reads_in_flight = 4,
                       .chunk_bytes = chunk_bytes,
                       .path_key = {1, 2}};
  std::unique_ptr<Overlay> overlay = std::make_unique<Overlay>(config);
  Instant now = Instant::from_ns(5'000'000'000);

  void describe(GenerationId generation, std::string_view path = {}, uint64_t size_bytes = 10) {
    tell(Describe{.generation = generation,
                  .size_bytes = size_bytes,
                  .modified_unix_s = 1'000,
                  .etag = generation.number ^ 0xabc,
                  .path = PathText(path)});
  }
  std::string tell(const ToOverlay& message) { return std::string(overlay->handle(now, message)); }
  /// The Store's; returns what goes to the disk.
  std::optional<IoRequest> ask(IoRequest request) {
    if (overlay->handle_request(now, request)) return request;
    return std::nullopt;
  }
  std::optional<IoRequest> open(GenerationId generation, uint32_t token = 1, uint32_t file = 2) {
    name = internal_name(generation);
    return ask({.kind = IoKind::open, .token = token, .file = file, .path = name.view()});
  }
  std::optional<IoRequest> read(uint32_t piece = 0, uint32_t token = 9, uint32_t file = 2) {
    return ask({.kind = IoKind::read,
                .token = token,
                .file = file,
                .offset_bytes = uint64_t{piece} * chunk_bytes,
                .extent = extent});
  }
  /// The disk's; returns what goes to the Store.
  std::optional<IoCompletion> complete(IoCompletion completion) {
    if (overlay->handle_disk(now, completion)) return completion;
    return std::nullopt;
  }
  std::optional<IoCompletion> opened(uint32_t token, uint64_t size_bytes,
                                     FileKind kind = FileKind::regular) {
    IoCompletion completion{.kind = IoKind::open, .token = token, .has_facts = true};
    completion.facts = {.kind = kind, .version = {1, 2, size_bytes, 3, 4}};
    return complete(completion);
  }
  IoCompletion completion() {
    IoCompletion out{.error = -1};
    EXPECT_TRUE(overlay->poll_completion(out)) << "no completion";
    return out;
  }
  template <typename T>
  T message() {
    FromOverlay out;
    if (!overlay->poll_message(out) || !std::holds_alternative<T>(out)) {
      ADD_FAILURE() << "another message, or none";
      return {};
    }
    return std::get<T>(out);
  }
  IoRequest for_disk() {
    IoRequest out;
    EXPECT_TRUE(overlay->poll_disk(out)) << "nothing for the disk";
    return out;
  }
  void expect_quiet() {
    FromOverlay from;
    IoCompletion done;
    IoRequest request;
    EXPECT_FALSE(overlay->poll_message(from));
    EXPECT_FALSE(overlay->poll_completion(done));
    EXPECT_FALSE(overlay->poll_disk(request));
  }

  InternalName name;
  content::Extent extent{content::ChunkIndex(3), store::io_align_bytes, 3 * store::io_align_bytes};
};

// Names -------------------------------------------------------------------------------------------

TEST_F(OverlayTest, AnInternalNameIsTheGenerationInHexadecimal) {
  EXPECT_EQ(internal_name({.number = 0x0123456789abcdef, .publisher = {0xfedcba9876543210}}).view(),
            "\x01"
            "0123456789abcdeffedcba9876543210");
}

TEST_F(OverlayTest, APathLeadsWhereItIsRedirected) {
  describe(first);
  describe(second);
  EXPECT_EQ(overlay->redirect("a/b"), "a/b");
  EXPECT_EQ(tell(Redirect{PathText("a/b"), first}), "a/b");
  EXPECT_EQ(overlay->redirect("a/b"), internal_name(first).view());
  EXPECT_EQ(overlay->redirect("a"), "a");
  EXPECT_EQ(overlay->redirect(""), "");
  EXPECT_EQ(tell(Redirect{PathText("a/b"), second}), internal_name(first).view());
  EXPECT_EQ(tell(Redirect{PathText("a/b"), second}), "");  // nothing changed
  EXPECT_EQ(overlay->redirect("a/b"), internal_name(second).view());
  EXPECT_EQ(tell(Redirect{PathText("a/b"), {}}), internal_name(second).view());
  EXPECT_EQ(overlay->redirect("a/b"), "a/b");
  EXPECT_EQ(tell(Redirect{PathText("a/b"), {}}), "");
}

TEST_F(OverlayTest, AClientCannotAskForAnInternalName) {
  describe(first);
  name = internal_name(first);
  for (const std::string_view asked :
       {name.view(), std::string_view("\x01"), std::string_view("\x01zz")}) {
    const std::string_view led = overlay->redirect(asked);
    EXPECT_FALSE(ask({.kind = IoKind::open, .token = 3, .file = 0, .path = led}));
    const IoCompletion answer = completion();
    EXPECT_EQ(answer.error, ENOENT);
    EXPECT_EQ(answer.token, 3u);
  }
}

TEST_F(OverlayTest, WhatIsNoNameOfAGenerationIsNotThereAndNotAskedOfTheDisk) {
  describe(first);
  std::string upper(internal_name(first).view());
  upper[1] = 'F';
  for (const std::string& path :
       {std::string(internal_name(second).view()), upper, upper + "0", std::string("\x01"),
        std::string(internal_name(first).view().substr(0, 32))}) {
    EXPECT_FALSE(ask({.kind = IoKind::open, .token = 1, .file = 0, .path = path})) << path;
    EXPECT_EQ(completion().error, ENOENT) << path;
  }
  EXPECT_TRUE(ask({.kind = IoKind::open, .token = 1, .file = 0, .path = "a"}));
  expect_quiet();
}

// Opening -----------------------------------------------------------------------------------------

TEST_F(OverlayTest, OpeningGivesTheFactsOfTheManifest) {
  describe(first, {}, 77);
  EXPECT_FALSE(open(first, 5));
  const IoCompletion answer = completion();
  EXPECT_EQ(answer.kind, IoKind::open);
  EXPECT_EQ(answer.token, 5u);
  EXPECT_EQ(answer.error, 0);
  EXPECT_TRUE(answer.has_facts);
  EXPECT_EQ(answer.facts.kind, FileKind::regular);
  EXPECT_EQ(answer.facts.version,
            (store::Version{store::published_device, first.number ^ 0xabc, 77, 1'000'000'000'000,
                            static_cast<int64_t>(first.number)}));
  EXPECT_EQ(answer.facts.links, 1u);
  EXPECT_GT(answer.facts.age_ns, 1'000'000'000);
  EXPECT_FALSE(ask({.kind = IoKind::stat, .token = 6, .file = 2}));
  const IoCompletion again = completion();
  EXPECT_EQ(again.kind, IoKind::stat);
  EXPECT_EQ(again.facts.version, answer.facts.version);
}

TEST_F(OverlayTest, ThisNodesOwnFileIsOpenedBehindIt) {
  describe(first, "d/f", 77);
  const auto request = open(first, 5);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->path, "d/f");
  EXPECT_EQ(request->token, 5u);
  EXPECT_EQ(request->file, 2u);
  const auto answer = opened(5, 77);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->facts.version.device, store::published_device);
  EXPECT_EQ(answer->facts.version.inode, first.number ^ 0xabc);
  expect_quiet();
}

TEST_F(OverlayTest, AGenerationIsThereWithoutAnOwnFile) {
  describe(first, "d/f", 77);
  const IoCompletion missing{.kind = IoKind::open, .token = 1, .error = ENOENT};
  ASSERT_TRUE(open(first));
  const auto answer = complete(missing);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, 0);
  EXPECT_TRUE(answer->has_facts);
  EXPECT_EQ(answer->facts.version.size_bytes, 77u);
  EXPECT_FALSE(ask({.kind = IoKind::close, .file = 2}));  // nothing is open there

  ASSERT_TRUE(open(first));
  ASSERT_TRUE(opened(1, 77, FileKind::directory));
  EXPECT_FALSE(ask({.kind = IoKind::close, .file = 2}));
  expect_quiet();
}

TEST_F(OverlayTest, AnOwnFileOfAnotherSizeIsClosedAtOnce) {
  describe(first, "d/f", 77);
  ASSERT_TRUE(open(first));
  const auto answer = opened(1, 78);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->facts.version.size_bytes, 77u);
  const IoRequest close = for_disk();
  EXPECT_EQ(close.kind, IoKind::close);
  EXPECT_EQ(close.file, 2u);
  EXPECT_FALSE(read());
  tell(ReadDisk{message<Fetch>().fetch});
  EXPECT_EQ(message<DiskRead>().error, ENOENT);
}

TEST_F(OverlayTest, WhatIsOfTheDiskPassesThrough) {
  describe(first, "d/f");
  const auto request = ask({.kind = IoKind::open, .token = 1, .file = 0, .path = "d/f"});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->path, "d/f");
  const auto answer = opened(1, 10);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->facts.version.device, 1u);
  EXPECT_TRUE(read(0, 9, 0));
  EXPECT_TRUE(complete({.kind = IoKind::read, .token = 9, .bytes = 10}));
  EXPECT_TRUE(ask({.kind = IoKind::stat, .token = 9, .file = 0}));
  EXPECT_TRUE(ask({.kind = IoKind::close, .file = 0}));
  expect_quiet();
}

TEST_F(OverlayTest, AFileNumberMayStandForSomethingElseAfterItsClose) {
  describe(first, "d/f", 77);
  ASSERT_TRUE(open(first));
  ASSERT_TRUE(opened(1, 77));
  EXPECT_TRUE(ask({.kind = IoKind::close, .file = 2}));  // the own file is
  ASSERT_TRUE(ask({.kind = IoKind::open, .token = 1, .file = 2, .path = "x"}));
  ASSERT_TRUE(opened(1, 5));
  EXPECT_TRUE(read());
  EXPECT_TRUE(ask({.kind = IoKind::close, .file = 2}));
  describe(second);
  EXPECT_FALSE(open(second));
  completion();
  EXPECT_FALSE(read());
  EXPECT_EQ(message<Fetch>().generation, second);
  expect_quiet();
}

// Reading -----------------------------------------------------------------------------------------

TEST_F(OverlayTest, AReadIsAFetch) {
  describe(first, {}, 100 * chunk_bytes);
  open(first);
  completion();
  EXPECT_FALSE(read(42, 9));
  const Fetch fetch = message<Fetch>();
  EXPECT_LT(fetch.fetch, config.reads_in_flight);
  EXPECT_EQ(fetch.generation, first);
  EXPECT_EQ(fetch.piece, 42u);
  EXPECT_EQ(fetch.extent, extent);
  expect_quiet();
  tell(Fetched{fetch.fetch, 0});
  const IoCompletion answer = completion();
  EXPECT_EQ(answer.kind, IoKind::read);
  EXPECT_EQ(answer.token, 9u);
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(answer.bytes, extent.length_bytes);
  EXPECT_TRUE(answer.has_facts);
  EXPECT_EQ(answer.facts.version.inode, first.number ^ 0xabc);
}

TEST_F(OverlayTest, AFetchThatFailsIsAReadThatFails) {
  describe(first);
  open(first);
  completion();
  for (const int error : {EIO, ESTALE}) {
    EXPECT_FALSE(read());
    tell(Fetched{message<Fetch>().fetch, error});
    const IoCompletion answer = completion();
    EXPECT_EQ(answer.error, error);
    EXPECT_EQ(answer.bytes, 0u);
  }
}

TEST_F(OverlayTest, AsManyFetchesAsReadsMayBeUnderWay) {
  describe(first, {}, 4 * chunk_bytes);
  open(first);
  completion();
  std::vector<uint32_t> fetches;
  for (uint32_t n = 0; n < 4; ++n) {
    EXPECT_FALSE(read(n, 100 + n));
    fetches.push_back(message<Fetch>().fetch);
  }
  EXPECT_THAT(fetches, testing::UnorderedElementsAre(0, 1, 2, 3));
  for (uint32_t n = 4; n-- > 0;) {
    tell(Fetched{fetches[n], 0});
    EXPECT_EQ(completion().token, 100 + n);
  }
  EXPECT_FALSE(read(0, 100));
  EXPECT_LT(message<Fetch>().fetch, 4u);
}

TEST_F(OverlayTest, BytesMayComeFromThisNodesOwnFile) {
  describe(first, "d/f", 10 * chunk_bytes);
  open(first);
  opened(1, 10 * chunk_bytes);
  EXPECT_FALSE(read(7));
  const uint32_t fetch = message<Fetch>().fetch;
  tell(ReadDisk{fetch});
  const IoRequest whole = for_disk();
  EXPECT_EQ(whole.kind, IoKind::read);
  EXPECT_EQ(whole.file, 2u);
  EXPECT_EQ(whole.offset_bytes, 7u * chunk_bytes);
  EXPECT_EQ(whole.extent, extent);
  // A short read goes on at the block where it ended.
  EXPECT_FALSE(complete({.kind = IoKind::read, .token = whole.token, .bytes = 4'097}));
  const IoRequest rest = for_disk();
  EXPECT_EQ(rest.offset_bytes, 7u * chunk_bytes + 4'096);
  EXPECT_EQ(rest.extent, (content::Extent{extent.chunk, 2 * 4'096, 2 * 4'096}));
  EXPECT_FALSE(complete({.kind = IoKind::read, .token = rest.token, .bytes = 2 * 4'096}));
  EXPECT_EQ(message<DiskRead>().error, 0);
  expect_quiet();  // the Store is told only after the Node has verified them
  tell(Fetched{fetch, 0});
  EXPECT_EQ(completion().bytes, extent.length_bytes);
}

TEST_F(OverlayTest, AnOwnFileThatCannotBeReadIsTheNodesToKnow) {
  describe(first, "d/f");
  open(first);
  opened(1, 10);
  EXPECT_FALSE(read());
  const uint32_t fetch = message<Fetch>().fetch;
  tell(ReadDisk{fetch});
  EXPECT_FALSE(complete({.kind = IoKind::read, .token = for_disk().token, .error = EIO}));
  EXPECT_EQ(message<DiskRead>().error, EIO);
  // Cut short meanwhile: nothing comes, again and again.
  tell(ReadDisk{fetch});
  uint32_t reads = 0;
  for (IoRequest request; overlay->poll_disk(request); ++reads) {
    ASSERT_LT(reads, 10u);
    EXPECT_FALSE(complete({.kind = IoKind::read, .token = request.token, .bytes = 0}));
  }
  EXPECT_EQ(reads, 4u);
  EXPECT_EQ(message<DiskRead>().error, EIO);
  tell(Fetched{fetch, EIO});
  EXPECT_EQ(completion().error, EIO);
}

// Forgetting --------------------------------------------------------------------------------------

TEST_F(OverlayTest, AForgottenGenerationIsReadToItsEndButNotOpenedAgain) {
  describe(first, "d/f", 77);
  open(first);
  opened(1, 77);
  EXPECT_EQ(tell(Forget{first}), internal_name(first).view());
  EXPECT_FALSE(open(first, 2, 3));
  EXPECT_EQ(completion().error, ENOENT);
  EXPECT_FALSE(read());
  const Fetch fetch = message<Fetch>();
  EXPECT_EQ(fetch.generation, first);
  tell(Fetched{fetch.fetch, 0});
  EXPECT_EQ(completion().facts.version.inode, first.number ^ 0xabc);
  EXPECT_TRUE(ask({.kind = IoKind::close, .file = 2}));
  EXPECT_EQ(tell(Forget{first}), "");
}

TEST_F(OverlayTest, AGenerationForgottenWhileItIsOpenedIsOpenAllTheSame) {
  describe(first, "d/f", 77);
  ASSERT_TRUE(open(first));
  tell(Forget{first});
  const auto answer = opened(1, 77);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->facts.version.size_bytes, 77u);
}

TEST_F(OverlayTest, APathOfAForgottenGenerationLeadsToTheDisk) {
  describe(first);
  tell(Redirect{PathText("a"), first});
  tell(Forget{first});
  EXPECT_EQ(overlay->redirect("a"), "a");
}

// A lookup under way refers to the text of a name: it must not turn into another's.
TEST_F(OverlayTest, ANameStaysAsItIsForAWhile) {
  describe(first);
  tell(Redirect{PathText("a"), first});
  const std::string_view name_in_use = overlay->redirect("a");
  const std::string as_it_was(name_in_use);
  GenerationId next = first;
  for (int i = 0; i < 20; ++i) {
    tell(Forget{next});
    now = now + 1_s;
    ++next.number;
    describe(next);
    EXPECT_EQ(name_in_use, as_it_was);
  }
  // Too many in too short a time: those cannot be opened.
  EXPECT_FALSE(open(next));
  EXPECT_EQ(completion().error, ENOENT);
  now = now + 400_s;
  describe(next);
  EXPECT_FALSE(open(next));
  EXPECT_EQ(completion().error, 0);
}

TEST_F(OverlayTest, MoreGenerationsThanItHasRoomForAreNotThere) {
  GenerationId each = first;
  for (uint32_t i = 0; i <= config.generations_max; ++i, ++each.number) {
    describe(each);
    EXPECT_EQ(tell(Redirect{PathText("p" + std::to_string(i)), each}),
              i < config.generations_max ? "p" + std::to_string(i) : "");
    EXPECT_FALSE(open(each, 1, 0));
    EXPECT_EQ(completion().error, i < config.generations_max ? 0 : ENOENT);
    if (i < config.generations_max) {
      EXPECT_FALSE(ask({.kind = IoKind::close, .file = 0}));
    }
  }
}

TEST_F(OverlayTest, WithoutTheNodeEveryFetchFails) {
  describe(first, "d/f", 3 * chunk_bytes);
  open(first);
  opened(1, 3 * chunk_bytes);
  for (uint32_t n = 0; n < 3; ++n) EXPECT_FALSE(read(n, 100 + n));
  tell(ReadDisk{message<Fetch>().fetch});
  const IoRequest request = for_disk();
  overlay->handle_node_gone();
  EXPECT_THAT((std::vector{completion().token, completion().token}),
              testing::UnorderedElementsAre(101, 102));
  IoCompletion early;
  EXPECT_FALSE(overlay->poll_completion(early));  // the disk writes there still
  EXPECT_FALSE(complete({.kind = IoKind::read, .token = request.token, .bytes = 10}));
  const IoCompletion last = completion();
  EXPECT_EQ(last.token, 100u);
  EXPECT_EQ(last.error, EIO);
  EXPECT_FALSE(read(0, 200));
  EXPECT_EQ(completion().error, EIO);
  expect_quiet();
}

// A whole Store over it ---------------------------------------------------------------------------

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
  void finish(const Fetch& fetch) {
    wanted.erase(fetch.fetch);
    const int error = node.failing && node.random.chance(1, 4) ? EIO : 0;
    const Fetch copy = fetch;
    if (error == 0) node.fill(copy.extent, copy.generation, copy.piece);
    tell(Fetched{copy.fetch, error});
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
