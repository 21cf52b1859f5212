#include "tcp/time_wait_table.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace sluice::tcp {

TimeWaitTable::TimeWaitTable(const Options& options, const SipKey& key)
    : key_(key),
      linger_(options.linger),
      pool_(options.capacity),
      entries_(options.capacity),
      buckets_(std::bit_ceil(std::max<uint32_t>(options.capacity, 1))) {
  std::fill(buckets_.begin(), buckets_.end(), none);
}

bool TimeWaitTable::insert(Instant now, const Flow& flow, const State& state) {
  ASSERT(capacity() > 0);
  remove(flow);
  const bool recycled = pool_.available() == 0;
  if (recycled) erase(oldest_);
  const uint32_t index = pool_.take();
  ASSERT(index != none);
  Entry& entry = entries_[index];
  entry.expires = now + linger_;
  entry.flow = flow;
  entry.state = state;
  uint32_t& bucket = buckets_[bucket_of(flow)];
  entry.chain = bucket;
  bucket = index;
  link_newest(index);
  return recycled;
}

const TimeWaitTable::State* TimeWaitTable::find(const Flow& flow) const {
  const uint32_t index = index_of(flow);
  return index == none ? nullptr : &entries_[index].state;
}

const TimeWaitTable::State* TimeWaitTable::find(const Flow& flow, uint64_t hash) const {
  if (oldest_ == none) return nullptr;
  const uint32_t index = walk(buckets_[bucket_of(hash)], flow);
  return index == none ? nullptr : &entries_[index].state;
}

void TimeWaitTable::restart(Instant now, const Flow& flow) {
  const uint32_t index = index_of(flow);
  if (index == none) return;
  entries_[index].expires = now + linger_;
  unlink(index);
  link_newest(index);
}

void TimeWaitTable::remove(const Flow& flow) {
  const uint32_t index = index_of(flow);
  if (index != none) erase(index);
}

uint32_t TimeWaitTable::expire(Instant now) {
  uint32_t count = 0;
  while (oldest_ != none && entries_[oldest_].expires <= now) {
    erase(oldest_);
    ++count;
  }
  return count;
}

Instant TimeWaitTable::next_timeout() const {
  return oldest_ == none ? Instant::never() : entries_[oldest_].expires;
}

uint32_t TimeWaitTable::index_of(const Flow& flow) const {
  return oldest_ == none ? none : walk(buckets_[bucket_of(flow)], flow);
}

uint32_t TimeWaitTable::walk(uint32_t index, const Flow& flow) const {
  while (index != none && !(entries_[index].flow == flow)) index = entries_[index].chain;
  return index;
}

void TimeWaitTable::link_newest(uint32_t index) {
  Entry& entry = entries_[index];
  entry.older = newest_;
  entry.newer = none;
  (newest_ == none ? oldest_ : entries_[newest_].newer) = index;
  newest_ = index;
}

void TimeWaitTable::unlink(uint32_t index) {
  const Entry& entry = entries_[index];
  (entry.older == none ? oldest_ : entries_[entry.older].newer) = entry.newer;
  (entry.newer == none ? newest_ : entries_[entry.newer].older) = entry.older;
}

void TimeWaitTable::erase(uint32_t index) {
  unlink(index);
  uint32_t* link = &buckets_[bucket_of(entries_[index].flow)];
  while (*link != index) link = &entries_[*link].chain;
  *link = entries_[index].chain;
  pool_.give_back(index);
}

bool may_reuse(const TimeWaitTable::State& state, const ReuseSyn& syn) {
  if (syn.has_timestamp) {
    // Segments of the old incarnation have no timestamp, and are dropped for that.
    if (!state.has_timestamps) return true;
    const auto later = static_cast<int32_t>(syn.timestamp - state.ts_recent);
    if (later != 0) return later > 0;
  }
  return syn.seq > state.rcv_nxt;
}

}  // namespace sluice::tcp
