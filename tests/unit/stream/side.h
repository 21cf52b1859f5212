// One side of a link in a test: a mover with a small arena, and what it has told.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mover/clock.h"
#include "stream/stream.h"

namespace sluice::stream {

inline constexpr uint32_t test_chunk_bytes = 1u << 20;
inline constexpr uint32_t test_chunks = 66;

class Side {
 public:
  explicit Side(mover::Options options) : memory_(size_t{test_chunks} * test_chunk_bytes) {
    options.arena = {
        .chunks = memory_.data(), .chunk_count = test_chunks, .chunk_bytes = test_chunk_bytes};
    options.region = memory_;
    auto made = open(options);
    if (!made) ADD_FAILURE() << made.error().message;
    mover = std::move(*made);
  }

  void turn() {
    replica::LinkEvent event;
    while (mover->poll(event)) {
      events.push_back(event);
      if (const auto* up = std::get_if<replica::LinkUp>(&event)) link = up->link;
    }
  }
  template <typename T>
  [[nodiscard]] size_t count() const {
    size_t out = 0;
    for (const auto& each : events) out += size_t{std::holds_alternative<T>(each)};
    return out;
  }
  template <typename T>
  [[nodiscard]] std::vector<T> all() const {
    std::vector<T> out;
    for (const auto& each : events) {
      if (const auto* one = std::get_if<T>(&each)) out.push_back(*one);
    }
    return out;
  }
  template <typename T>
  [[nodiscard]] T last() const {
    const auto found = all<T>();
    if (found.empty()) {
      ADD_FAILURE() << "no such event";
      return T{};
    }
    return found.back();
  }
  [[nodiscard]] MutableBytes chunk(uint32_t number) {
    return MutableBytes(memory_).subspan(size_t{number} * test_chunk_bytes, test_chunk_bytes);
  }
  [[nodiscard]] static content::Extent extent(uint32_t chunk, uint32_t length = test_chunk_bytes,
                                              uint32_t offset = 0) {
    return {content::ChunkIndex(chunk), offset, length};
  }

  std::unique_ptr<mover::Mover> mover;
  std::vector<replica::LinkEvent> events;
  replica::LinkId link;  // the last that came up

 private:
  std::vector<std::byte> memory_;
};

/// Lets all sides run, asleep in poll(2) where they say that they may be, until `reached`.
inline void run_until(std::vector<Side*> sides, const std::function<bool()>& reached,
                      Duration limit = 10_s) {
  const Instant give_up = mover::now() + limit;
  while (!reached()) {
    if (mover::now() > give_up) {
      ADD_FAILURE() << "not reached in time";
      return;
    }
    bool may_sleep = true;
    std::vector<pollfd> fds;
    for (Side* each : sides) {
      each->turn();
      may_sleep = each->mover->prepare_to_sleep() && may_sleep;
      fds.push_back({.fd = each->mover->ready_fd(), .events = POLLIN, .revents = 0});
    }
    if (may_sleep && !reached()) ::poll(fds.data(), fds.size(), 50);
  }
}

/// Time passes, for what must not happen.
inline void run_for(std::vector<Side*> sides, Duration span) {
  const Instant end = mover::now() + span;
  run_until(std::move(sides), [&] { return mover::now() >= end; });
}

}  // namespace sluice::stream
