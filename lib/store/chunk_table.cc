#include "store/chunk_table.h"

#include <algorithm>

namespace sluice::store {

using content::ChunkIndex;

namespace {

uint32_t tick_ms(Instant now) {
  return static_cast<uint32_t>(now.ns() / 1'000'000);
}

// Ticks wrap after 49 days: compare their difference.
int32_t later_by_ms(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b);
}

}  // namespace

ChunkTable::ChunkTable(uint32_t count, std::span<const content::ChunkPins* const> uses,
                       bool last_holds)
    : uses_(uses.size()),
      chunks_(count),
      free_(count),
      holder_(last_holds ? uses.back() : nullptr) {
  std::copy(uses.begin(), uses.end(), uses_.begin());
  counts_[static_cast<size_t>(ChunkState::free)] = count;
}

void ChunkTable::set_state(Chunk& chunk, ChunkState state) {
  --counts_[static_cast<size_t>(chunk.state)];
  ++counts_[static_cast<size_t>(state)];
  chunk.state = state;
}

void ChunkTable::move_to_back(uint32_t chunk, uint32_t stamp_ms) {
  unlink(chunk);
  chunks_[chunk].stamp_ms = stamp_ms;
  recency_.push_back(chunks_, chunk);
}

void ChunkTable::unlink(uint32_t chunk) {
  (chunks_[chunk].aside ? held_ : recency_).remove(chunks_, chunk);
  chunks_[chunk].aside = false;
}

void ChunkTable::set_aside(uint32_t chunk) {
  unlink(chunk);
  chunks_[chunk].aside = true;
  held_.push_back(chunks_, chunk);
}

// They stand first in the search, as what was used longest ago; it moves those that were not.
void ChunkTable::take_back_released(uint32_t steps) {
  steps = std::min(steps, held_.size());
  for (; steps > 0; --steps) {
    const uint32_t index = held_.first();
    if (is_held(ChunkIndex(index))) {
      set_aside(index);
    } else {
      unlink(index);
      recency_.push_front(chunks_, index);
    }
  }
}

ChunkIndex ChunkTable::take(Instant now, bool packed) {
  const uint32_t index = free_.take();
  if (index == none) return ChunkIndex::none();
  Chunk& chunk = chunks_[index];
  ASSERT(chunk.state == ChunkState::free && chunk.told == 0 && chunk.first_piece == none);
  chunk = Chunk{};
  --counts_[static_cast<size_t>(ChunkState::free)];
  ++counts_[static_cast<size_t>(ChunkState::filling)];
  chunk.state = ChunkState::filling;
  chunk.packed = packed;
  chunk.stamp_ms = chunk.ready_ms = tick_ms(now);
  recency_.push_back(chunks_, index);
  return ChunkIndex(index);
}

void ChunkTable::make_ready(Instant now, ChunkIndex chunk) {
  Chunk& entry = chunks_[chunk.value()];
  ASSERT(entry.state == ChunkState::filling || entry.state == ChunkState::ready);
  set_state(entry, ChunkState::ready);
  entry.ready_ms = tick_ms(now);
  move_to_back(chunk.value(), entry.ready_ms);
}

void ChunkTable::make_unwanted(ChunkIndex chunk) {
  Chunk& entry = chunks_[chunk.value()];
  if (entry.state == ChunkState::retiring || entry.unwanted) return;
  entry.unwanted = true;
  unlink(chunk.value());
  recency_.push_front(chunks_, chunk.value());
}

uint64_t ChunkTable::retire(ChunkIndex chunk) {
  Chunk& entry = chunks_[chunk.value()];
  ASSERT(entry.state == ChunkState::filling || entry.state == ChunkState::ready);
  ASSERT(entry.fills == 0 && entry.first_piece == none);
  unlink(chunk.value());
  if (entry.told == 0) {
    set_state(entry, ChunkState::free);
    free_.give_back(chunk.value());
    return 0;
  }
  set_state(entry, ChunkState::retiring);
  return entry.told;
}

bool ChunkTable::handle_retired(ChunkIndex chunk, uint32_t worker) {
  Chunk& entry = chunks_[chunk.value()];
  const uint64_t bit = uint64_t{1} << worker;
  // One Retired for each Retire: anything else is a worker's bug, and would free memory in use.
  ASSERT(entry.state == ChunkState::retiring && (entry.told & bit) != 0);
  entry.told &= ~bit;
  if (entry.told != 0) return false;
  set_state(entry, ChunkState::free);
  free_.give_back(chunk.value());
  return true;
}

ChunkTable::Usage ChunkTable::usage(uint32_t index) const {
  const Chunk& chunk = chunks_[index];
  Usage usage{chunk.ready_ms, 0, false};
  for (uint64_t told = chunk.told; told != 0; told &= told - 1) {
    const content::ChunkPins& pins = *uses_[static_cast<size_t>(std::countr_zero(told))];
    usage.leases += pins.leases(ChunkIndex(index));
    const uint32_t last_ms = pins.last_use_ms(ChunkIndex(index));
    if (later_by_ms(last_ms, chunk.ready_ms) < 0) continue;  // from an earlier life of the chunk
    usage.used = true;
    if (later_by_ms(last_ms, usage.last_ms) > 0) usage.last_ms = last_ms;
  }
  return usage;
}

bool ChunkTable::qualifies(const Chunk& chunk, const Usage& usage, int32_t age_ms,
                           Appetite appetite) {
  if (usage.leases > 0) {
    return (appetite == Appetite::force && age_ms > leased_idle_ms) || appetite == Appetite::must;
  }
  if (chunk.unwanted || usage.used || age_ms > unused_ms) return true;
  if (appetite == Appetite::spare) return false;
  // Nobody used it yet.
  return !chunk.demanded || age_ms > first_use_ms;
}

ChunkIndex ChunkTable::choose_victim(Instant now, Appetite appetite) {
  const uint32_t now_ms = tick_ms(now);
  take_back_released(held_search_min + search_max - std::min(recency_.size(), search_max));
  const uint32_t steps = std::min(recency_.size(), search_max);
  uint32_t oldest = none;
  int32_t oldest_age_ms = -1;
  uint32_t index = recency_.first();
  for (uint32_t step = 0; step < steps && index != none; ++step) {
    const uint32_t next = chunks_[index].recency.next;
    if (is_held(ChunkIndex(index))) {
      set_aside(index);
      index = next;
      continue;
    }
    const Chunk& chunk = chunks_[index];
    const Usage now_used = usage(index);
    const int32_t age_ms = std::max(later_by_ms(now_ms, now_used.last_ms), 0);
    const bool moved_on = later_by_ms(now_used.last_ms, chunk.stamp_ms) > 0;
    if (chunk.fills == 0 && qualifies(chunk, now_used, age_ms, appetite)) {
      // By force, the longest unused of those seen; otherwise the first that was not used lately.
      if (appetite < Appetite::force && (!moved_on || chunk.unwanted)) return ChunkIndex(index);
      if (age_ms > oldest_age_ms) {
        oldest = index;
        oldest_age_ms = age_ms;
      }
    }
    // What cannot go now stands in the way of the search.
    if (!chunk.unwanted || now_used.leases > 0) move_to_back(index, now_used.last_ms);
    index = next;
  }
  return oldest == none ? ChunkIndex::none() : ChunkIndex(oldest);
}

}  // namespace sluice::store
