#include "disk/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <chrono>
#include <thread>

#include "temp_tree.h"

namespace sluice::disk {
namespace {

using store::FileKind;
using store::IoCompletion;
using store::IoKind;
using store::IoRequest;

constexpr uint32_t chunk_bytes = 64u << 10;

struct Kind {
  const char* name;
  bool use_io_uring;
  bool use_direct;
};

class DiskTest : public testing::TestWithParam<Kind> {
 protected:
  void open_disk() {
    auto disk = Disk::create({.root = tree.root(),
                              .content = memory.bytes(),
                              .chunk_bytes = chunk_bytes,
                              .max_open_files = 16,
                              .requests_max = 8,
                              .use_direct = GetParam().use_direct,
                              .use_io_uring = GetParam().use_io_uring,
                              .counters = &counters});
    ASSERT_TRUE(disk) << disk.error().message;
    disk_ = std::move(*disk);
  }
  IoCompletion ask(const IoRequest& request) {
    if (!disk_) open_disk();
    disk_->submit(request);
    return next();
  }
  IoCompletion next() {
    IoCompletion done;
    for (int i = 0; i < 100; ++i) {
      if (disk_->poll_completion(done)) return done;
      disk_->wait(100_ms);
    }
    ADD_FAILURE() << "no completion";
    return done;
  }
  IoCompletion open(const std::string& path, uint32_t file = 0) {
    return ask({.kind = IoKind::open, .token = 7, .file = file, .path = path});
  }
  IoCompletion read(uint64_t offset, uint32_t length, uint32_t file = 0) {
    return ask({.kind = IoKind::read,
                .token = 9,
                .file = file,
                .offset_bytes = offset,
                .extent = {content::ChunkIndex(1), 8192, length}});
  }
  std::string bytes_read(uint32_t length) const {
    return std::string(as_text(memory.bytes().subspan(chunk_bytes + 8192, length)));
  }
  // Waits for a change of the path, or of anything.
  bool sees_change(const std::string& path) {
    for (int i = 0; i < 20; ++i) {
      Change change;
      while (disk_->poll_change(change)) {
        if (change.anywhere || change.path == path) return true;
      }
      disk_->wait(50_ms);
    }
    return false;
  }
  void drain_changes() {
    Change change;
    for (int i = 0; i < 3; ++i) {
      disk_->wait(10_ms);
      while (disk_->poll_change(change)) continue;
    }
  }

  TempTree tree;
  TestMemory memory{4 * size_t{chunk_bytes}};
  stats::Counters counters;
  std::unique_ptr<Disk> disk_;
};

INSTANTIATE_TEST_SUITE_P(, DiskTest,
                         testing::Values(Kind{"io_uring_direct", true, true},
                                         Kind{"io_uring_buffered", true, false},
                                         Kind{"plain_direct", false, true},
                                         Kind{"plain_buffered", false, false}),
                         [](const auto& chosen) { return std::string(chosen.param.name); });

TEST_P(DiskTest, OpensAndReadsAFileOfAnyLength) {
  const std::string bytes = TempTree::pattern(30'001, 1);
  tree.write("a/b", bytes);
  const IoCompletion opened = open("a/b");
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(opened.token, 7u);
  ASSERT_TRUE(opened.has_facts);
  EXPECT_EQ(opened.facts.kind, FileKind::regular);
  EXPECT_EQ(opened.facts.version.size_bytes, bytes.size());
  EXPECT_EQ(opened.facts.links, 1u);
  const IoCompletion whole = read(0, 30'001);
  ASSERT_EQ(whole.error, 0);
  EXPECT_EQ(whole.bytes, 30'001u);
  EXPECT_EQ(whole.facts.version, opened.facts.version);
  EXPECT_EQ(bytes_read(30'001), bytes);
  const IoCompletion rest = read(28'672, 1'329);
  EXPECT_EQ(rest.bytes, 1'329u);
  EXPECT_EQ(bytes_read(1'329), bytes.substr(28'672));
  EXPECT_EQ(counters.get(stats::Counter::store_reads_buffered) > 0, !GetParam().use_direct);
}

TEST_P(DiskTest, AnEmptyFileHasNoBytes) {
  tree.write("empty", "");
  EXPECT_EQ(open("empty").facts.version.size_bytes, 0u);
  const IoCompletion none = read(0, 100);
  EXPECT_EQ(none.error, 0);
  EXPECT_EQ(none.bytes, 0u);
}

TEST_P(DiskTest, NothingOutsideTheRootIsFound) {
  TempTree outside;
  outside.write("secret", "x");
  std::filesystem::create_directory_symlink(outside.root(), tree.at("out"));
  std::filesystem::create_symlink(outside.at("secret"), tree.at("file"));
  std::filesystem::create_symlink("../../../../etc/passwd", tree.at("up"));
  tree.write("inside/f", "ok");
  std::filesystem::create_symlink("inside/f", tree.at("fine"));
  std::filesystem::create_symlink("loop", tree.at("loop"));
  EXPECT_EQ(open("out/secret").error, EXDEV);
  EXPECT_EQ(open("file").error, EXDEV);
  EXPECT_EQ(open("up").error, EXDEV);
  EXPECT_EQ(open("../" + std::filesystem::path(tree.root()).filename().string()).error, EXDEV);
  EXPECT_EQ(open("inside/../../x").error, EXDEV);
  EXPECT_EQ(open("/etc/passwd").error, EXDEV);
  EXPECT_EQ(open("loop").error, ELOOP);
  EXPECT_EQ(open("fine").error, 0);
}

TEST_P(DiskTest, WhatIsNoRegularFileNeitherBlocksNorStaysOpen) {
  ASSERT_EQ(mkfifo(tree.at("fifo").c_str(), 0600), 0);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  tree.at("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  std::filesystem::create_directory(tree.at("directory"));

  const IoCompletion fifo = open("fifo");
  EXPECT_EQ(fifo.facts.kind, FileKind::other);
  EXPECT_EQ(open("socket").error, ENXIO);
  EXPECT_EQ(open("directory").facts.kind, FileKind::directory);
  EXPECT_EQ(open(".").facts.kind, FileKind::directory);
  if (geteuid() == 0 && mknod(tree.at("zero").c_str(), S_IFCHR | 0666, makedev(1, 5)) == 0) {
    EXPECT_NE(open("zero").facts.kind, FileKind::regular);
  }
  close(listener);
  // The number 0 was not kept by any of them.
  tree.write("f", "1");
  EXPECT_EQ(open("f").error, 0);
}

TEST_P(DiskTest, NamesThatCannotBe) {
  EXPECT_EQ(open("nothing").error, ENOENT);
  EXPECT_EQ(open("nothing/in/nothing").error, ENOENT);
  EXPECT_EQ(open(std::string(300, 'x')).error, ENAMETOOLONG);
  std::string deep;
  while (deep.size() < 4'095) deep += "x/";
  deep.resize(4'095);
  EXPECT_NE(open(deep).error, 0);
  tree.write("f", "1");
  EXPECT_EQ(open("f/g").error, ENOTDIR);
  EXPECT_EQ(open("f/").error, ENOTDIR);
}

TEST_P(DiskTest, AReadTellsThatTheFileChanged) {
  tree.write("f", TempTree::pattern(20'000, 1));
  tree.age();
  const store::Version before = open("f").facts.version;
  EXPECT_EQ(read(0, 4'096).facts.version, before);
  tree.age();
  tree.write("f", TempTree::pattern(20'000, 2));  // rewritten in place
  EXPECT_NE(read(0, 4'096).facts.version, before);
  std::filesystem::resize_file(tree.at("f"), 5'000);
  const IoCompletion cut = read(4'096, 4'096);
  EXPECT_EQ(cut.bytes, 904u);
  EXPECT_EQ(cut.facts.version.size_bytes, 5'000u);
  EXPECT_EQ(read(8'192, 4'096).bytes, 0u);
}

TEST_P(DiskTest, AReplacedFileIsReadToItsEnd) {
  const std::string old_bytes = TempTree::pattern(20'000, 1);
  tree.write("f", old_bytes);
  ASSERT_EQ(open("f").error, 0);
  tree.write("g", TempTree::pattern(20'000, 2));
  std::filesystem::rename(tree.at("g"), tree.at("f"));
  const IoCompletion done = read(0, 20'000);
  EXPECT_EQ(bytes_read(20'000), old_bytes);
  EXPECT_EQ(done.facts.links, 0u);
  EXPECT_NE(open("f", 1).facts.version.inode, done.facts.version.inode);
}

TEST_P(DiskTest, ClosedNumbersAreUsedAgain) {
  for (int i = 0; i < 100; ++i) tree.write("f" + std::to_string(i), std::to_string(i));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(open("f" + std::to_string(i)).error, 0);
    const std::string expected = std::to_string(i);
    ASSERT_EQ(read(0, static_cast<uint32_t>(expected.size())).error, 0);
    ASSERT_EQ(bytes_read(static_cast<uint32_t>(expected.size())), expected);
    disk_->submit({.kind = IoKind::close, .file = 0});
  }
  const auto open_descriptors = [] {
    size_t count = 0;
    for ([[maybe_unused]] const auto& at : std::filesystem::directory_iterator("/proc/self/fd")) {
      ++count;
    }
    return count;
  };
  for (int i = 0; i < 50 && open_descriptors() > 30; ++i) {
    disk_->wait(10_ms);
    IoCompletion none;
    static_cast<void>(disk_->poll_completion(none));
  }
  EXPECT_LT(open_descriptors(), 30u);
}

TEST_P(DiskTest, SeveralRequestsAreInFlightAtATime) {
  for (uint32_t i = 0; i < 8; ++i) {
    tree.write("f" + std::to_string(i), TempTree::pattern(8'192, i));
  }
  open_disk();
  for (uint32_t i = 0; i < 8; ++i) {
    const std::string path = "f" + std::to_string(i);
    disk_->submit({.kind = IoKind::open, .token = i, .file = i, .path = path});
  }
  for (uint32_t i = 0; i < 8; ++i) ASSERT_EQ(next().error, 0);
  for (uint32_t i = 0; i < 8; ++i) {
    disk_->submit({.kind = IoKind::read,
                   .token = i,
                   .file = i,
                   .extent = {content::ChunkIndex(2), i * 8'192, 8'192}});
  }
  for (uint32_t i = 0; i < 8; ++i) {
    const IoCompletion done = next();
    EXPECT_EQ(as_text(memory.bytes().subspan(2 * chunk_bytes + done.token * 8'192, 8'192)),
              TempTree::pattern(8'192, done.token));
  }
}

TEST_P(DiskTest, TellsWhatChanged) {
  tree.write("d/e/f", "1");
  ASSERT_EQ(open("d/e/f").error, 0);
  drain_changes();
  tree.write("d/e/f", "22");
  EXPECT_TRUE(sees_change("d/e/f"));
  drain_changes();
  tree.write("new", "3");
  std::filesystem::rename(tree.at("new"), tree.at("d/e/f"));
  EXPECT_TRUE(sees_change("d/e/f"));
  drain_changes();
  // A directory on the way is swapped.
  tree.write("other/e/f", "4");
  std::filesystem::rename(tree.at("d"), tree.at("gone"));
  std::filesystem::rename(tree.at("other"), tree.at("d"));
  EXPECT_TRUE(sees_change("*"));
  drain_changes();
  ASSERT_EQ(open("d/e/f", 1).error, 0);
  drain_changes();
  std::filesystem::remove(tree.at("d/e/f"));
  EXPECT_TRUE(sees_change("d/e/f"));
}

TEST_P(DiskTest, ASymbolicLinkOnTheWayIsWatched) {
  tree.write("v1/f", "1");
  tree.write("v2/f", "2");
  std::filesystem::create_directory_symlink("v1", tree.at("current"));
  ASSERT_EQ(open("current/f").error, 0);
  drain_changes();
  std::filesystem::create_directory_symlink("v2", tree.at("next"));
  std::filesystem::rename(tree.at("next"), tree.at("current"));
  EXPECT_TRUE(sees_change("current/f"));
}

TEST_P(DiskTest, ARootThatVanishesIsEmpty) {
  tree.write("f", "1");
  ASSERT_EQ(open("f").error, 0);
  std::filesystem::remove_all(tree.root());
  EXPECT_EQ(open("f", 1).error, ENOENT);
  EXPECT_EQ(read(0, 1).error, 0);  // what is open can be read
}

TEST_P(DiskTest, WakeEndsAWait) {
  open_disk();
  const auto started = std::chrono::steady_clock::now();
  disk_->wake();
  disk_->wait(10_s);
  std::thread other([&] {
    usleep(20'000);
    disk_->wake();
  });
  IoCompletion none;
  EXPECT_FALSE(disk_->poll_completion(none));
  disk_->wait(10_s);
  other.join();
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5));
}

TEST_P(DiskTest, ClosesDownWithReadsInFlight) {
  tree.write("f", TempTree::pattern(65'536, 3));
  ASSERT_EQ(open("f").error, 0);
  for (uint32_t i = 0; i < 4; ++i) {
    disk_->submit(
        {.kind = IoKind::read, .token = i, .extent = {content::ChunkIndex(i), 0, chunk_bytes}});
  }
  disk_->flush();
  disk_.reset();
}

TEST(Disk, SaysWhatIsWrongWithTheRoot) {
  stats::Counters counters;
  const auto disk = Disk::create({.root = "/nonexistent/at/all",
                                  .chunk_bytes = chunk_bytes,
                                  .max_open_files = 1,
                                  .counters = &counters});
  ASSERT_FALSE(disk);
  EXPECT_THAT(disk.error().message, testing::HasSubstr("/nonexistent/at/all"));
}

// tmpfs took no O_DIRECT before Linux 6.6: either way the bytes arrive.
TEST(Disk, ReadsWhereDirectReadsMayBeRefused) {
  TempTree tree("/dev/shm");
  tree.write("f", TempTree::pattern(10'000, 5));
  TestMemory memory(chunk_bytes);
  stats::Counters counters;
  auto disk = Disk::create({.root = tree.root(),
                            .content = memory.bytes(),
                            .chunk_bytes = chunk_bytes,
                            .max_open_files = 1,
                            .counters = &counters});
  ASSERT_TRUE(disk);
  (*disk)->submit({.kind = IoKind::open, .path = "f"});
  IoCompletion done;
  while (!(*disk)->poll_completion(done)) (*disk)->wait(1_s);
  ASSERT_EQ(done.error, 0);
  (*disk)->submit({.kind = IoKind::read, .extent = {content::ChunkIndex(0), 0, 10'000}});
  while (!(*disk)->poll_completion(done)) (*disk)->wait(1_s);
  EXPECT_EQ(done.bytes, 10'000u);
  EXPECT_EQ(as_text(memory.bytes().first(10'000)), TempTree::pattern(10'000, 5));
}

}  // namespace
}  // namespace sluice::disk
