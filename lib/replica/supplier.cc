#include "replica/supplier.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"

namespace sluice::replica {
namespace {

using content::Catalog;
using stats::Counter;

Counter counter_of(RefuseReason reason) {
  switch (reason) {
    case RefuseReason::unknown_generation:
      return Counter::replica_refused_want_generation;
    case RefuseReason::not_held:
      return Counter::replica_refused_want_not_held;
    case RefuseReason::bad_piece:
      return Counter::replica_refused_want_piece;
    case RefuseReason::bad_window:
      return Counter::replica_refused_want_window;
    case RefuseReason::circular:
      return Counter::replica_refused_want_circular;
    case RefuseReason::busy:
      return Counter::replica_refused_want_busy;
    case RefuseReason::failed:
      return Counter::replica_refused_want_failed;
    case RefuseReason::cancelled:
      return Counter::replica_wants_cancelled;
  }
  return Counter::replica_refused_want_failed;
}

}  // namespace

Supplier::Supplier(const Parts& parts)
    : parts_(parts),
      throttle_({parts.config.rate_bytes_per_s, parts.config.share_percent}),
      entries_(wants_max),
      pool_(wants_max),
      links_(transport_count * links_max),
      ready_(wants_max),
      refusals_(wants_max),
      departures_(wants_max) {}

// Wants ------------------------------------------------------------------------------------------

uint32_t Supplier::find(const LinkId& link, uint32_t want) const {
  for (uint32_t i = 0; i < wants_max; ++i) {
    if (!pool_.is_taken(i)) continue;
    const Entry& entry = entries_[i];
    if (entry.want.want == want && entry.link == link && entry.state != State::dropped) return i;
  }
  return none;
}

void Supplier::handle(Instant now, const LinkId& link, const Want& want) {
  parts_.counters.add(Counter::replica_wants_received);
  LinkState& state = links_[Sessions::index_of(link)];
  if (state.wants >= grants_max || find(link, want.want) != none) {
    parts_.sessions.close(link, CloseReason::too_many_wants);
    return;
  }
  const uint32_t index = pool_.take();
  if (index == none) {
    // More peers ask than there is room for. There is no room for an answer either: it asks
    // elsewhere when its patience ends.
    parts_.counters.add(Counter::replica_refused_want_busy);
    return;
  }
  ++state.wants;
  Entry& entry = entries_[index];
  entry = Entry{};
  entry.link = link;
  entry.peer = parts_.sessions.node_of(link);
  entry.want = want;
  entry.came = entry.since = now;
  if (check(now, entry)) {
    look(now, index);
  } else {
    refuse(index, entry.reason);
  }
}

// Whether it may be had at all; else entry.reason says why not.
bool Supplier::check(Instant now, Entry& entry) {
  const Want& want = entry.want;
  KnownGeneration* generation = parts_.generations.find(want.generation);
  if (generation != nullptr) generation->wanted_at = now;
  if (generation == nullptr) {
    entry.reason = RefuseReason::unknown_generation;
  } else if (parts_.keeper.object_of(want.generation).is_none()) {
    entry.reason = RefuseReason::not_held;
  } else if (want.piece >= generation->pieces() ||
             want.length_bytes != generation->length_of(want.piece)) {
    entry.reason = RefuseReason::bad_piece;
  } else if (want.window.length_bytes < want.length_bytes ||
             want.window.lane >= parts_.sessions.lanes(entry.link)) {
    entry.reason = RefuseReason::bad_window;
  } else if (parts_.fetcher.is_asked_of(entry.peer, want.generation, want.piece)) {
    entry.reason = RefuseReason::circular;
  } else {
    return true;
  }
  return false;
}

void Supplier::look(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  const content::ObjectHandle object = parts_.keeper.object_of(entry.want.generation);
  if (object.is_none()) return refuse(index, RefuseReason::not_held);
  const uint64_t offset = uint64_t{entry.want.piece} * parts_.config.chunk_bytes;
  content::Lease lease;
  const Catalog::Range range{.offset_bytes = offset,
                             .max_bytes = entry.want.length_bytes,
                             .end_bytes = offset + entry.want.length_bytes};
  switch (parts_.catalog.find(now, object, range, lease, entry.extent)) {
    case Catalog::Find::here: {
      ASSERT(entry.extent.length_bytes == entry.want.length_bytes);
      parts_.pins.pin(entry.extent.chunk);
      parts_.catalog.drop(lease);
      entry.state = State::ready;
      entry.since = now;
      const bool pushed = ready_.push(index);
      ASSERT(pushed);
      return;
    }
    case Catalog::Find::missing:
      parts_.counters.add(Counter::replica_wants_waited);
      entry.state = State::waiting;
      wait_ends_ = std::min(wait_ends_, entry.came + want_age_max);
      parts_.catalog.wait(object, offset, parts_.first_waiter + index);
      return;
    case Catalog::Find::gone:
      return refuse(index, RefuseReason::failed);
  }
}

void Supplier::handle_woken(Instant now, const Catalog::Woken& woken) {
  const uint32_t index = woken.waiter - parts_.first_waiter;
  // A wake-up of a Want that ended meanwhile, or of the one before it: looking again does no harm.
  if (!pool_.is_taken(index) || entries_[index].state != State::waiting) return;
  if (woken.failed) return refuse(index, RefuseReason::failed);
  look(now, index);
}

void Supplier::handle(Instant, const LinkId& link, const Cancel& cancel) {
  const uint32_t index = find(link, cancel.want);
  if (index == none) return;  // refused, or written: the answer is on its way
  Entry& entry = entries_[index];
  if (entry.state == State::writing || entry.state == State::refuse_due) return;
  refuse(index, RefuseReason::cancelled);
}

void Supplier::refuse(uint32_t index, RefuseReason reason) {
  Entry& entry = entries_[index];
  parts_.counters.add(counter_of(reason));
  const bool is_queued = entry.state == State::ready;
  if (is_queued) parts_.pins.unpin(entry.extent.chunk);
  if (entry.state == State::waiting) parts_.catalog.cancel_wait(parts_.first_waiter + index);
  entry.state = State::refuse_due;
  entry.reason = reason;
  if (is_queued) return;  // poll_write() passes it on
  const bool pushed = refusals_.push(index);
  ASSERT(pushed);
}

void Supplier::finish(uint32_t index) {
  pool_.give_back(index);
}

void Supplier::handle_link_down(const LinkId& link) {
  LinkState& state = links_[Sessions::index_of(link)];
  if (state.wants == 0 && state.writes == 0) return;
  state = LinkState{};
  for (uint32_t i = 0; i < wants_max; ++i) {
    if (!pool_.is_taken(i) || entries_[i].link != link) continue;
    Entry& entry = entries_[i];
    switch (entry.state) {
      case State::waiting:
        parts_.catalog.cancel_wait(parts_.first_waiter + i);
        finish(i);
        break;
      case State::writing:
        parts_.pins.unpin(entry.extent.chunk);
        finish(i);
        break;
      case State::ready:
        parts_.pins.unpin(entry.extent.chunk);
        entry.state = State::dropped;
        break;
      case State::refuse_due:
        entry.state = State::dropped;
        break;
      case State::dropped:
        break;
    }
  }
}

// Output -----------------------------------------------------------------------------------------

bool Supplier::poll_post(Instant now, Post& out) {
  return poll_refusal(out) || poll_write(now, out);
}

bool Supplier::poll_refusal(Post& out) {
  for (size_t left = refusals_.size(); left > 0; --left) {
    uint32_t index = 0;
    if (!refusals_.pop(index)) return false;
    Entry& entry = entries_[index];
    if (entry.state == State::dropped) {
      finish(index);
      continue;
    }
    if (!parts_.sessions.can_send(entry.link)) {
      (void)refusals_.push(index);
      continue;
    }
    parts_.sessions.send(entry.link, Refuse{entry.want.want, entry.reason}, out);
    --links_[Sessions::index_of(entry.link)].wants;
    finish(index);
    return true;
  }
  return false;
}

bool Supplier::poll_write(Instant now, Post& out) {
  // Until it is found so again: what waited may have gone with its link.
  const bool was_throttled = std::exchange(is_throttled_, false);
  for (size_t left = ready_.size(); left > 0; --left) {
    Entry& first = entries_[ready_.front()];
    const bool is_write = first.state == State::ready && parts_.sessions.is_up(first.link);
    if (is_write && !throttle_.may_write(now)) {
      if (!was_throttled) parts_.counters.add(Counter::replica_throttle_waits);
      is_throttled_ = true;
      return false;
    }
    uint32_t index = 0;
    (void)ready_.pop(index);
    Entry& entry = entries_[index];
    if (entry.state == State::dropped) {
      finish(index);
      continue;
    }
    if (entry.state == State::refuse_due) {
      const bool pushed = refusals_.push(index);
      ASSERT(pushed);
      continue;
    }
    if (!is_write) {  // LinkDown is on its way
      (void)ready_.push(index);
      continue;
    }
    LinkState& state = links_[Sessions::index_of(entry.link)];
    static_assert(writes_in_flight_max == 64 && grants_max <= writes_in_flight_max);
    ASSERT(~state.writes != 0);  // no more than Wants, of which there are at most grants_max
    entry.write = static_cast<uint32_t>(std::countr_one(state.writes));
    state.writes |= uint64_t{1} << entry.write;
    state.owner[entry.write] = index;
    entry.state = State::writing;
    throttle_.note_written(entry.extent.length_bytes);
    const bool is_rdma = entry.link.transport == Transport::rdma;
    parts_.counters.add(
        is_rdma ? Counter::replica_written_rdma_bytes : Counter::replica_written_tcp_bytes,
        entry.extent.length_bytes);
    parts_.sessions.count_bytes(entry.link, entry.extent.length_bytes, 0);
    out = Write{entry.link, entry.write, entry.extent, entry.want.window, entry.want.want};
    return true;
  }
  return false;
}

void Supplier::handle(Instant now, const WriteDone& event) {
  if (event.write >= writes_in_flight_max || parts_.sessions.node_of(event.link).is_none()) return;
  LinkState& state = links_[Sessions::index_of(event.link)];
  if ((state.writes >> event.write & 1) == 0) return;
  const uint32_t index = state.owner[event.write];
  Entry& entry = entries_[index];
  if (entry.link != event.link) return;
  ASSERT(entry.state == State::writing);
  state.writes &= ~(uint64_t{1} << event.write);
  --state.wants;
  parts_.pins.unpin(entry.extent.chunk);
  throttle_.note_done(entry.extent.length_bytes);
  (void)departures_.push({entry.want.generation, entry.peer, entry.link.transport,
                          entry.extent.length_bytes, now - entry.since});
  finish(index);
}

// Time -------------------------------------------------------------------------------------------

void Supplier::handle_timeout(Instant now) {
  if (now < wait_ends_) return;
  wait_ends_ = Instant::never();
  for (uint32_t i = 0; i < wants_max; ++i) {
    if (!pool_.is_taken(i) || entries_[i].state != State::waiting) continue;
    const Instant ends = entries_[i].came + want_age_max;
    if (ends <= now) {
      refuse(i, RefuseReason::busy);
    } else {
      wait_ends_ = std::min(wait_ends_, ends);
    }
  }
}

Instant Supplier::next_timeout() const {
  return std::min(wait_ends_, is_throttled_ ? throttle_.ready_at() : Instant::never());
}

}  // namespace sluice::replica
