// The Store of a test in simulated time: a disk of its own, two workers that are the test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fake_disk.h"
#include "store/store.h"

namespace sluice::store {

using content::LookupAnswer;
using content::LookupStatus;
using content::NeedPiece;
using content::PieceFailed;
using content::PieceFailure;
using content::PieceReady;
using content::Retire;
using content::Retired;
using content::ToWorker;
using stats::Counter;

inline constexpr uint32_t chunk_bytes = 4 * io_align_bytes;

class StoreTest : public testing::Test {
 protected:
  Config config{.workers = 2,
                .chunk_count = 4,
                .chunk_bytes = chunk_bytes,
                .max_objects = 16,
                .max_open_files = 4,
                .lookups_max = 8,
                .needs_max = 16,
                .reads_in_flight = 4,
                .opens_in_flight = 4};

  void start() {
    memory.resize(size_t{config.chunk_count} * chunk_bytes);
    arena = {memory.data(), config.chunk_count, chunk_bytes, nullptr, 0};
    for (uint32_t i = 0; i < config.workers; ++i) {
      pins.push_back(std::make_unique<content::ChunkPins>(config.chunk_count, 0));
      uses.push_back(pins.back().get());
    }
    store = std::make_unique<Store>(config, uses, counters);
    disk = std::make_unique<FakeDisk>(1, config.max_open_files, arena);
    disk->behaviour.latency_us_max = 100;
    disk->advance(now);
  }
  /// A file that was written long ago.
  void create(const std::string& path, uint64_t size_bytes, FileKind kind = FileKind::regular) {
    if (!store) start();
    disk->create(path, size_bytes, kind);
    pass(100_ms);
  }
  /// Time passes; everything that can happen happens. Retires are answered unless `hold_retires`.
  void pass(Duration time) {
    const Instant until = now + time;
    while (now <= until) {
      disk->advance(now);
      IoCompletion completion;
      while (disk->poll_completion(completion)) store->handle_completion(now, completion);
      if (store->next_timeout() <= now) store->handle_timeout(now);
      IoRequest request;
      while (store->poll_io(now, request)) disk->submit(request);
      for (uint32_t i = 0; i < config.workers; ++i) collect(i);
      now = now + 50_us;
    }
  }
  void collect(uint32_t worker) {
    ToWorker message;
    while (store->poll_message(worker, message)) {
      const auto* retire = std::get_if<Retire>(&message);
      if (retire != nullptr && !hold_retires) {
        store->handle_message(now, worker, Retired{retire->chunk});
      } else {
        received[worker].push_back(message);
      }
    }
  }
  void send(uint32_t worker, const content::ToStore& message) {
    ASSERT_TRUE(store->can_take(worker));
    store->handle_message(now, worker, message);
  }
  LookupAnswer look_up(std::string_view path, uint32_t worker = 0) {
    send(worker, content::Lookup{5, path});
    pass(50_ms);
    return take<LookupAnswer>(worker);
  }
  content::ObjectInfo found(std::string_view path, uint32_t worker = 0) {
    const LookupAnswer answer = look_up(path, worker);
    EXPECT_EQ(answer.status, LookupStatus::found) << path;
    return answer.info;
  }
  PieceReady ready(content::ObjectId object, content::PieceNumber piece, uint32_t worker = 0) {
    send(worker, NeedPiece{object, piece});
    pass(5_ms);
    return take<PieceReady>(worker);
  }
  std::optional<PieceFailure> failure(content::ObjectId object, content::PieceNumber piece,
                                      bool prefetch = false, uint32_t worker = 0) {
    send(worker, NeedPiece{object, piece, prefetch});
    pass(5_ms);
    if (received[worker].empty() ||
        !std::holds_alternative<PieceFailed>(received[worker].front())) {
      return std::nullopt;
    }
    return take<PieceFailed>(worker).reason;
  }
  /// The first message that came, which is of this kind.
  template <typename T>
  T take(uint32_t worker = 0) {
    if (received[worker].empty() || !std::holds_alternative<T>(received[worker].front())) {
      ADD_FAILURE() << "another message, or none: " << received[worker].size();
      return {};
    }
    const T message = std::get<T>(received[worker].front());
    received[worker].erase(received[worker].begin());
    return message;
  }
  void use(const PieceReady& piece, uint32_t worker = 0) {
    pins[worker]->touch(piece.extent.chunk, static_cast<uint32_t>(now.ns() / 1'000'000));
  }

  Instant now = Instant::from_ns(5'000'000'000);
  stats::Counters counters;
  std::vector<std::byte> memory;
  content::ArenaView arena;
  std::vector<std::unique_ptr<content::ChunkPins>> pins;
  std::vector<const content::ChunkPins*> uses;
  std::unique_ptr<Store> store;
  std::unique_ptr<FakeDisk> disk;
  std::vector<ToWorker> received[2];
  bool hold_retires = false;
};

}  // namespace sluice::store
