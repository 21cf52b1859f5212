// The Overlay as a specification, alone. Between a whole Store and a disk: overlay_store_test.cc.
#include "replica/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

}  // namespace
}  // namespace sluice::replica
