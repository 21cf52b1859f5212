#include "disk/store_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/prng.h"
#include "temp_tree.h"

namespace sluice::disk {
namespace {

using content::LookupAnswer;
using content::LookupStatus;
using content::PieceFailed;
using content::PieceFailure;
using content::PieceReady;
using std::chrono::steady_clock;

constexpr uint32_t chunk_bytes = 64u << 10;

class StoreThreadTest : public testing::TestWithParam<bool> {
 protected:
  void start(uint32_t chunks = 16, uint32_t workers = 1, uint32_t files = 64) {
    memory = std::make_unique<TestMemory>(size_t{chunks} * chunk_bytes);
    for (uint32_t i = 0; i < workers; ++i) {
      pins.push_back(std::make_unique<content::ChunkPins>(chunks, 0));
      uses.push_back(pins.back().get());
    }
    StoreThreadOptions options;
    options.store.workers = workers;
    options.store.chunk_count = chunks;
    options.store.chunk_bytes = chunk_bytes;
    options.store.max_open_files = files;
    options.disk.root = tree.root();
    options.disk.content = memory->bytes();
    options.disk.use_io_uring = GetParam();
    options.uses = uses;
    options.ring_capacity = 64;
    if (with_node) {
      options.store.last_holds = true;
      options.overlay = replica::OverlayConfig{.generations_max = 16,
                                               .max_open_files = files,
                                               .reads_in_flight = options.store.reads_in_flight,
                                               .chunk_bytes = chunk_bytes};
      options.node_waker = &waker;
    }
    auto made = StoreThread::create(options);
    ASSERT_TRUE(made) << made.error().message;
    thread = std::move(*made);
    thread->start();
  }
  // One worker's turn: sends, then takes what came. Retires are answered at once.
  content::ToWorker ask(const content::ToStore& message, uint32_t worker = 0) {
    Mailbox& mailbox = thread->mailbox(worker);
    EXPECT_TRUE(mailbox.send(message));
    mailbox.ring_if_asleep();
    return next(worker);
  }
  content::ToWorker next(uint32_t worker = 0) {
    Mailbox& mailbox = thread->mailbox(worker);
    const auto give_up = steady_clock::now() + std::chrono::seconds(10);
    content::ToWorker answer;
    while (steady_clock::now() < give_up) {
      if (!mailbox.receive(answer)) {
        std::this_thread::yield();
        continue;
      }
      if (const auto* retire = std::get_if<content::Retire>(&answer)) {
        EXPECT_TRUE(mailbox.send(content::Retired{retire->chunk}));
        mailbox.ring_if_asleep();
      } else if (!std::holds_alternative<content::Revalidate>(answer)) {
        return answer;
      }
    }
    ADD_FAILURE() << "no answer";
    return answer;
  }
  LookupAnswer look_up(std::string_view path, uint32_t worker = 0) {
    return std::get<LookupAnswer>(ask(content::Lookup{1, path}, worker));
  }
  [[nodiscard]] std::string bytes(const content::Extent& extent) const {
    return std::string(as_text(memory->bytes().subspan(
        size_t{extent.chunk.value()} * chunk_bytes + extent.offset_bytes, extent.length_bytes)));
  }
  // The whole object, piece by piece; or why not.
  std::string fetch(const content::ObjectInfo& info, uint32_t worker = 0) {
    std::string all;
    for (uint32_t n = 0; all.size() < info.size_bytes; ++n) {
      const content::ToWorker answer = ask(content::NeedPiece{info.id, n, false}, worker);
      if (const auto* failed = std::get_if<PieceFailed>(&answer)) {
        return failed->reason == PieceFailure::stale ? "stale" : "error";
      }
      const auto& ready = std::get<PieceReady>(answer);
      EXPECT_EQ(ready.piece, n);
      all += bytes(ready.extent);
    }
    return all;
  }

  bool with_node = false;
  Waker waker;
  TempTree tree;
  std::unique_ptr<TestMemory> memory;
  std::vector<std::unique_ptr<content::ChunkPins>> pins;
  std::vector<const content::ChunkPins*> uses;
  std::unique_ptr<StoreThread> thread;
};

INSTANTIATE_TEST_SUITE_P(, StoreThreadTest, testing::Bool(), [](const auto& chosen) {
  return std::string(chosen.param ? "io_uring" : "plain");
});

TEST_P(StoreThreadTest, ServesFilesOfEverySize) {
  const std::vector<size_t> sizes = {
      0,     1,           4'095,           4'096,
      4'097, chunk_bytes, chunk_bytes + 1, 40 * size_t{chunk_bytes} + 77};  // larger than the arena
  for (const size_t size : sizes) {
    tree.write("f" + std::to_string(size), TempTree::pattern(size, static_cast<uint32_t>(size)));
  }
  start();
  for (int round = 0; round < 2; ++round) {
    for (const size_t size : sizes) {
      const std::string path = "f" + std::to_string(size);
      const LookupAnswer answer = look_up(path);
      ASSERT_EQ(answer.status, LookupStatus::found) << path;
      EXPECT_EQ(answer.info.size_bytes, size);
      EXPECT_EQ(fetch(answer.info), TempTree::pattern(size, static_cast<uint32_t>(size)));
    }
  }
  thread->stop();
  EXPECT_GT(thread->counters().get(stats::Counter::store_evictions), 0u);
}

TEST_P(StoreThreadTest, SaysWhatIsNoFile) {
  tree.write("d/f", "1");
  std::filesystem::create_symlink("/etc/passwd", tree.at("out"));
  ASSERT_EQ(mkfifo(tree.at("fifo").c_str(), 0600), 0);
  start();
  EXPECT_EQ(look_up("").status, LookupStatus::directory);
  EXPECT_EQ(look_up("d").status, LookupStatus::directory);
  EXPECT_EQ(look_up("nothing").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("d/f/g").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("out").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("fifo").status, LookupStatus::not_found);
  EXPECT_EQ(look_up(std::string(5'000, 'x')).status, LookupStatus::not_found);
  EXPECT_EQ(look_up(std::string(300, 'x')).status, LookupStatus::not_found);
  EXPECT_EQ(look_up("/etc/passwd").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("../../../../../../etc/passwd").status, LookupStatus::not_found);
  EXPECT_EQ(look_up("d/f").status, LookupStatus::found);
}

TEST_P(StoreThreadTest, AReplacedFileEndsWholeAndTheNewOneIsSeenAtOnce) {
  const std::string old_bytes = TempTree::pattern(5 * chunk_bytes, 1);
  const std::string new_bytes = TempTree::pattern(3 * chunk_bytes, 2);
  tree.write("f", old_bytes);
  start();
  const LookupAnswer before = look_up("f");
  ASSERT_TRUE(std::holds_alternative<PieceReady>(ask(content::NeedPiece{before.info.id, 0})));
  tree.write("g", new_bytes);
  std::filesystem::rename(tree.at("g"), tree.at("f"));
  content::ToWorker message;
  const auto give_up = steady_clock::now() + std::chrono::seconds(5);
  bool told = false;
  while (!told && steady_clock::now() < give_up) {
    told =
        thread->mailbox(0).receive(message) && std::holds_alternative<content::Revalidate>(message);
  }
  EXPECT_TRUE(told);
  const LookupAnswer after = look_up("f");
  EXPECT_NE(after.info.id, before.info.id);
  EXPECT_NE(after.info.etag, before.info.etag);
  EXPECT_EQ(fetch(after.info), new_bytes);
  EXPECT_EQ(fetch(before.info), old_bytes);
}

// A file is rewritten, cut and replaced as fast as can be while it is fetched: each version that
// was fetched whole is one that was written whole.
TEST_P(StoreThreadTest, NeverMixesVersions) {
  constexpr size_t size = 6 * size_t{chunk_bytes};
  tree.write("f", TempTree::pattern(size, 0));
  start(8);
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> written{0};
  std::thread writer([&] {
    const int file = ::open(tree.at("f").c_str(), O_WRONLY | O_CLOEXEC);
    Prng random(1);
    int descriptor = file;
    for (uint32_t seed = 1; !stop; ++seed) {
      const std::string bytes = TempTree::pattern(size, seed);
      if (random.chance(1, 4)) {
        const int fresh = ::open(tree.at("g").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
        ASSERT_EQ(::write(fresh, bytes.data(), size), ssize_t{size});
        ASSERT_EQ(::rename(tree.at("g").c_str(), tree.at("f").c_str()), 0);
        ::close(descriptor);
        descriptor = fresh;
      } else {
        ASSERT_EQ(::pwrite(descriptor, bytes.data(), size, 0), ssize_t{size});
      }
      written = seed;
      usleep(static_cast<useconds_t>(random.below(60'000)));
    }
    ::close(descriptor);
  });
  uint32_t whole = 0, stale = 0;
  const auto until = steady_clock::now() + std::chrono::milliseconds(1'500);
  while (steady_clock::now() < until) {
    const LookupAnswer answer = look_up("f");
    if (answer.status != LookupStatus::found || answer.info.size_bytes != size) continue;
    const std::string got = fetch(answer.info);
    if (got == "stale") {
      ++stale;
      continue;
    }
    ++whole;
    bool is_one = false;
    for (uint32_t seed = 0; seed <= written + 1 && !is_one; ++seed) {
      is_one = got == TempTree::pattern(size, seed);
    }
    ASSERT_TRUE(is_one) << "a mixture";
  }
  stop = true;
  writer.join();
  EXPECT_GT(whole, 0u);
  RecordProperty("whole", static_cast<int>(whole));
  RecordProperty("stale", static_cast<int>(stale));
}

TEST_P(StoreThreadTest, WorkersShareOneFill) {
  tree.write("f", TempTree::pattern(chunk_bytes, 1));
  start(16, 4);
  for (uint32_t i = 0; i < 4; ++i) {
    const LookupAnswer answer = look_up("f", i);
    ASSERT_EQ(fetch(answer.info, i), TempTree::pattern(chunk_bytes, 1));
  }
  thread->stop();
  EXPECT_EQ(thread->counters().get(stats::Counter::store_fills), 1u);
}

TEST_P(StoreThreadTest, ManySmallFilesThroughFewDescriptors) {
  for (int i = 0; i < 300; ++i) tree.write("s/" + std::to_string(i), TempTree::pattern(1'000, 3));
  tree.age();
  start(4, 1, 2);
  for (int i = 0; i < 300; ++i) {
    const LookupAnswer answer = look_up("s/" + std::to_string(i));
    ASSERT_EQ(answer.status, LookupStatus::found);
    ASSERT_EQ(fetch(answer.info), TempTree::pattern(1'000, 3));
  }
  thread->stop();
  EXPECT_LE(thread->counters().get(stats::Counter::store_files_open), 2u);
}

TEST_P(StoreThreadTest, SleepsWhenIdleAndWakesFast) {
  tree.write("f", "1");
  tree.age();
  start();
  ASSERT_EQ(look_up("f").status, LookupStatus::found);
  usleep(50'000);
  const uint64_t wakeups = thread->counters().get(stats::Counter::store_wakeups);
  usleep(300'000);
  EXPECT_LE(thread->counters().get(stats::Counter::store_wakeups) - wakeups, 3u);
  std::vector<int64_t> us;
  for (int i = 0; i < 20; ++i) {
    usleep(5'000);
    const auto before = steady_clock::now();
    look_up("nothing");
    us.push_back(std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - before)
                     .count());
  }
  std::sort(us.begin(), us.end());
  RecordProperty("wake_us_median", static_cast<int>(us[10]));
  // Some 30 us on a quiet machine. A lost wake-up would cost a second, each time.
  EXPECT_LT(us.front(), 100'000);
}

TEST_P(StoreThreadTest, StopsWhileBusy) {
  tree.write("f", TempTree::pattern(10 * chunk_bytes, 1));
  start();
  const LookupAnswer answer = look_up("f");
  for (uint32_t n = 0; n < 10; ++n) {
    ASSERT_TRUE(thread->mailbox(0).send(content::NeedPiece{answer.info.id, n}));
  }
  thread->mailbox(0).ring_if_asleep();
  thread->stop();
  thread.reset();
}

// A Node on a thread of its own, asleep whenever nothing came: supplies `bytes` as every
// generation's; after a read of the disk first, where it is to.
class Node {
 public:
  Node(StoreThread& thread, Waker& waker, MutableBytes memory) : overlay_(thread.overlay()) {
    thread_ = std::thread([this, &waker, memory] {
      while (!stop_) {
        if (turn(memory)) continue;
        waker.announce();
        if (overlay_.has_mail() || stop_) {
          waker.stay_awake();
          continue;
        }
        pollfd file{.fd = waker.fd(), .events = POLLIN, .revents = 0};
        sleeps_ += poll(&file, 1, 10'000) == 1;
        waker.stay_awake();
      }
    });
  }
  void stop(Waker& waker) {
    stop_ = true;
    waker.ring_if_asleep();
    thread_.join();
  }
  std::string bytes;
  std::atomic<bool> reads_disk{false};
  std::atomic<bool> silent{false};
  std::atomic<uint32_t> fetches{0};
  std::atomic<uint32_t> disk_reads{0};
  std::atomic<uint32_t> sleeps_{0};

 private:
  bool turn(MutableBytes memory) {
    replica::FromOverlay message;
    if (!overlay_.receive(message)) return false;
    if (const auto* fetch = std::get_if<replica::Fetch>(&message)) {
      ++fetches;
      if (silent) return true;
      if (reads_disk) {
        EXPECT_TRUE(overlay_.send(replica::ReadDisk{fetch->fetch}));
      } else {
        bytes.copy(reinterpret_cast<char*>(memory.data()) +
                       size_t{fetch->extent.chunk.value()} * chunk_bytes +
                       fetch->extent.offset_bytes,
                   fetch->extent.length_bytes, size_t{fetch->piece} * chunk_bytes);
        EXPECT_TRUE(overlay_.send(replica::Fetched{fetch->fetch, 0}));
      }
    } else {
      const auto read = std::get<replica::DiskRead>(message);
      disk_reads += read.error == 0;
      EXPECT_TRUE(overlay_.send(replica::Fetched{read.fetch, read.error}));
    }
    overlay_.ring_if_asleep();
    return true;
  }

  OverlayMailbox& overlay_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void tell(StoreThread& thread, const replica::ToOverlay& message) {
  ASSERT_TRUE(thread.overlay().send(message));
  thread.overlay().ring_if_asleep();
}

TEST_P(StoreThreadTest, ServesAPublishedGenerationInsteadOfTheFile) {
  const std::string on_disk = TempTree::pattern(2 * chunk_bytes + 5, 1);
  const std::string published = TempTree::pattern(3 * chunk_bytes + 7, 2);
  tree.write("f", on_disk);
  tree.age();
  with_node = true;
  start(16, 2);
  const replica::GenerationId generation{.number = 5, .publisher = {6}};
  EXPECT_EQ(fetch(look_up("f").info), on_disk);
  tell(*thread, replica::Describe{.generation = generation,
                                  .size_bytes = published.size(),
                                  .etag = 0x1234,
                                  .path = replica::PathText("f")});
  tell(*thread, replica::Redirect{replica::PathText("f"), generation});
  Node node(*thread, waker, memory->bytes());
  node.bytes = published;
  LookupAnswer answer = look_up("f");
  for (int i = 0; i < 1'000 && answer.info.etag != 0x1234; ++i) answer = look_up("f");
  ASSERT_EQ(answer.info.etag, 0x1234u);
  usleep(20'000);  // the Node sleeps now
  EXPECT_EQ(fetch(answer.info), published);
  EXPECT_EQ(node.fetches, 4u);
  EXPECT_GT(node.sleeps_, 0u);
  // The last worker is the Node itself: to it the path is the file, and the name the generation.
  EXPECT_EQ(look_up("f", 1).info.size_bytes, on_disk.size());
  const replica::InternalName name = replica::internal_name(generation);
  EXPECT_EQ(look_up(name.view(), 1).info.id, answer.info.id);
  EXPECT_EQ(look_up(name.view(), 0).status, LookupStatus::not_found);
  node.stop(waker);
}

TEST_P(StoreThreadTest, APublishedGenerationMayBeReadFromThisNodesOwnFile) {
  const std::string bytes = TempTree::pattern(3 * chunk_bytes + 7, 1);
  tree.write("f", bytes);
  tree.age();
  with_node = true;
  start(16, 2);
  const replica::GenerationId generation{.number = 5, .publisher = {6}};
  Node node(*thread, waker, memory->bytes());
  node.reads_disk = true;
  // Before the Node's thread has anything to send.
  tell(*thread,
       replica::Describe{
           .generation = generation, .size_bytes = bytes.size(), .path = replica::PathText("f")});
  usleep(50'000);
  const replica::InternalName name = replica::internal_name(generation);
  EXPECT_EQ(fetch(look_up(name.view(), 1).info, 1), bytes);
  EXPECT_EQ(node.disk_reads, 4u);
  node.stop(waker);
}

TEST_P(StoreThreadTest, StopsWithFetchesThatNobodyWillEnd) {
  with_node = true;
  start(16, 2);
  Node node(*thread, waker, memory->bytes());
  node.silent = true;
  const replica::GenerationId generation{.number = 5, .publisher = {6}};
  tell(*thread, replica::Describe{.generation = generation, .size_bytes = 8 * chunk_bytes});
  usleep(50'000);
  const replica::InternalName name = replica::internal_name(generation);
  const LookupAnswer answer = look_up(name.view(), 1);
  for (uint32_t n = 0; n < 8; ++n) {
    ASSERT_TRUE(thread->mailbox(1).send(content::NeedPiece{answer.info.id, n}));
  }
  thread->mailbox(1).ring_if_asleep();
  for (int i = 0; i < 500 && node.fetches < 8; ++i) usleep(10'000);
  EXPECT_EQ(node.fetches, 8u);
  node.stop(waker);
  const auto before = steady_clock::now();
  thread->stop();
  EXPECT_LT(steady_clock::now() - before, std::chrono::seconds(2));
}

}  // namespace
}  // namespace sluice::disk
