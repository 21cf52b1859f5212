// The Store with real Catalogs: many downloads at once through a cache that is much too small. Each
// ends, with the right bytes, and the disk is not asked for much more than once for each piece.
#include <gtest/gtest.h>

#include "content/catalog.h"
#include "fake_disk.h"
#include "store/store.h"

namespace sluice::store {
namespace {

constexpr uint32_t chunk_bytes = 16 * io_align_bytes;

struct Plan {
  uint32_t workers = 2;
  uint32_t downloads = 40;  // at a time, over all workers
  uint32_t chunks = 16;
  uint32_t pieces = 64;  // of the file
  uint32_t readahead = 3;
  bool same_range = false;      // all read the whole file; otherwise each its own part
  uint32_t stalled = 0;         // downloads that stop in the middle, holding their lease
  uint32_t bytes_per_turn = 0;  // of each download; 0: whatever is there
  Duration turn = 50_us;
};

class Downloads {
 public:
  explicit Downloads(const Plan& plan) : plan_(plan) {
    config_.workers = plan.workers;
    config_.chunk_count = plan.chunks;
    config_.chunk_bytes = chunk_bytes;
    config_.max_objects = 16;
    config_.max_open_files = 4;
    config_.needs_max = 1024;
    config_.reads_in_flight = 8;
    memory_.resize(size_t{plan.chunks} * chunk_bytes);
    arena_ = {memory_.data(), plan.chunks, chunk_bytes, nullptr, 0};
    for (uint32_t i = 0; i < plan.workers; ++i) {
      pins_.push_back(std::make_unique<content::ChunkPins>(plan.chunks, 0));
      uses_.push_back(pins_.back().get());
    }
    store_ = std::make_unique<Store>(config_, uses_, counters);
    disk_ = std::make_unique<FakeDisk>(7, config_.max_open_files, arena_);
    disk_->behaviour.latency_us_max = 400;
    disk_->advance(now_);
    disk_->create("f", uint64_t{plan.pieces} * chunk_bytes);
    now_ = now_ + 1_s;
    const content::CatalogLimits limits{.objects_max = 8,
                                        .pieces_max = 1024,
                                        .waiters_max = plan.downloads,
                                        .chunk_count = plan.chunks,
                                        .chunk_bytes = chunk_bytes,
                                        .readahead_pieces = plan.readahead,
                                        .fresh_for = 1_s};
    for (uint32_t i = 0; i < plan.workers; ++i) {
      catalogs_.push_back(std::make_unique<content::Catalog>(limits, *pins_[i], worker_counters));
      handles_.emplace_back();
      store_->handle_message(now_, i, content::Lookup{0, "f"});
    }
    const uint64_t size = uint64_t{plan.pieces} * chunk_bytes;
    const uint64_t part = plan.same_range ? 0 : size / plan.downloads;
    for (uint32_t i = 0; i < plan.downloads; ++i) {
      const uint64_t begin = part * i;
      downloads_.push_back({.at = begin, .end = part == 0 ? size : begin + part});
      downloads_.back().stalls = i < plan.stalled;
    }
  }

  /// Runs until all that can end have ended. Returns how long it took, in simulated time.
  Duration run() {
    const Instant start = now_;
    for (uint32_t turn = 0; turn < 400'000 && !is_done(); ++turn) {
      now_ = now_ + plan_.turn;
      serve_store();
      for (uint32_t i = 0; i < plan_.workers; ++i) work(i);
      if (testing::Test::HasFatalFailure()) break;
    }
    EXPECT_TRUE(is_done()) << "some download did not end";
    return now_ - start;
  }
  [[nodiscard]] uint32_t reads() const { return disk_->reads; }

  stats::Counters counters;
  stats::Counters worker_counters;

 private:
  struct Download {
    uint64_t at = 0;
    uint64_t end = 0;
    bool stalls = false;
    bool waiting = false;
    content::Lease lease;
  };

  [[nodiscard]] bool is_done() const {
    for (const Download& download : downloads_) {
      if (download.at < download.end && !download.stalls) return false;
    }
    return true;
  }
  void serve_store() {
    disk_->advance(now_);
    IoCompletion completion;
    while (disk_->poll_completion(completion)) store_->handle_completion(now_, completion);
    if (store_->next_timeout() <= now_) store_->handle_timeout(now_);
    IoRequest request;
    while (store_->poll_io(now_, request)) disk_->submit(request);
  }
  void work(uint32_t worker) {
    content::Catalog& catalog = *catalogs_[worker];
    content::ToWorker message;
    while (store_->poll_message(worker, message)) {
      std::visit([&](const auto& one) { handle(worker, one); }, message);
    }
    content::ChunkIndex released;
    while (pins_[worker]->poll_released(released)) catalog.handle_released(released);
    content::Catalog::Woken woken;
    while (catalog.poll_woken(woken)) {
      ASSERT_FALSE(woken.failed);
      downloads_[woken.waiter].waiting = false;
    }
    if (!handles_[worker].is_none()) {
      for (uint32_t i = worker; i < plan_.downloads; i += plan_.workers) advance(worker, i);
    }
    content::ToStore out;
    while (catalog.poll_message(out)) store_->handle_message(now_, worker, out);
  }
  void advance(uint32_t worker, uint32_t number) {
    Download& download = downloads_[number];
    if (download.waiting || download.at == download.end) return;
    if (download.stalls && download.lease.entry != IndexPool::none) return;
    content::Catalog& catalog = *catalogs_[worker];
    content::Extent extent;
    const uint32_t most = plan_.bytes_per_turn == 0 ? chunk_bytes : plan_.bytes_per_turn;
    const auto found = catalog.find(now_, handles_[worker], {download.at, most, download.end},
                                    download.lease, extent);
    ASSERT_NE(found, content::Catalog::Find::gone);
    if (found == content::Catalog::Find::missing) {
      download.waiting = true;
      catalog.wait(handles_[worker], download.at, number);
      return;
    }
    const uint32_t length =
        std::min<uint32_t>(extent.length_bytes, static_cast<uint32_t>(download.end - download.at));
    check(download.at, extent);
    download.at += length;
    if (download.at == download.end) catalog.drop(download.lease);
  }
  void check(uint64_t at, const content::Extent& extent) {
    if (at % io_align_bytes != 0) return;
    Stamp stamp;
    std::memcpy(&stamp, arena_.bytes(extent).data(), sizeof stamp);
    ASSERT_EQ(stamp.block, at / io_align_bytes);
  }
  void handle(uint32_t worker, const content::LookupAnswer& answer) {
    ASSERT_EQ(answer.status, content::LookupStatus::found);
    handles_[worker] = catalogs_[worker]->insert(now_, {1, 2}, answer.info, "");
    catalogs_[worker]->acquire(handles_[worker]);
  }
  template <typename Message>
  void handle(uint32_t worker, const Message& message) {
    catalogs_[worker]->handle(now_, message);
  }

  Plan plan_;
  Config config_;
  Instant now_ = Instant::from_ns(3'000'000'000);
  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  std::vector<std::unique_ptr<content::ChunkPins>> pins_;
  std::vector<const content::ChunkPins*> uses_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<FakeDisk> disk_;
  std::vector<std::unique_ptr<content::Catalog>> catalogs_;
  std::vector<content::ObjectHandle> handles_;
  std::vector<Download> downloads_;
};

TEST(Downloads, ThatFitAreReadOnce) {
  Downloads downloads({.chunks = 64, .pieces = 48, .same_range = true});
  downloads.run();
  EXPECT_EQ(downloads.reads(), 48u);
}

TEST(Downloads, OfDifferentPartsThroughATooSmallCacheReadHardlyMoreThanOnce) {
  for (const uint32_t chunks : {4u, 8u, 16u, 24u}) {
    Downloads downloads(
        {.downloads = 32, .chunks = chunks, .pieces = 256, .bytes_per_turn = 1'460});
    const Duration took = downloads.run();
    EXPECT_LE(downloads.reads(), 256u * 5 / 4) << chunks << " chunks";
    RecordProperty("ms_" + std::to_string(chunks), static_cast<int>(took.ms()));
    RecordProperty("reads_" + std::to_string(chunks), static_cast<int>(downloads.reads()));
  }
}

TEST(Downloads, OneAfterTheOtherKeepTheDiskBusy) {
  Downloads downloads({.workers = 1, .downloads = 1, .chunks = 8, .pieces = 256});
  const Duration took = downloads.run();
  EXPECT_EQ(downloads.reads(), 256u);
  // 0.2 ms a read: one at a time would be 51 ms and more.
  EXPECT_LT(took, 40_ms);
}

TEST(Downloads, OfOneFileTogetherShareItsReads) {
  Downloads downloads(
      {.downloads = 40, .chunks = 8, .pieces = 128, .same_range = true, .bytes_per_turn = 8'192});
  downloads.run();
  EXPECT_LE(downloads.reads(), 128u * 3 / 2);
}

TEST(Downloads, EndThoughOthersHoldEveryChunk) {
  Downloads downloads({.downloads = 24, .chunks = 8, .pieces = 96, .stalled = 16});
  downloads.run();
  EXPECT_GT(downloads.counters.get(stats::Counter::store_revocations), 0u);
}

TEST(Downloads, EndWithOneChunk) {
  Downloads downloads({.downloads = 6, .chunks = 1, .pieces = 24, .bytes_per_turn = 8'192});
  downloads.run();
  EXPECT_LE(downloads.reads(), 24u * 5 / 4);
}

}  // namespace
}  // namespace sluice::store
