#include "timer/timer_wheel.h"

#include <bit>

#include "base/assert.h"

namespace sluice::timer {
namespace {

constexpr uint32_t tick_bits = 17;
static_assert(TimerWheel::tick.ns() == int64_t{1} << tick_bits);

uint64_t tick_at_or_before(Instant at) {
  return at.ns() <= 0 ? 0 : static_cast<uint64_t>(at.ns()) >> tick_bits;
}

uint64_t tick_at_or_after(Instant at) {
  if (at.ns() <= 0) return 0;
  return (static_cast<uint64_t>(at.ns()) + (uint64_t{1} << tick_bits) - 1) >> tick_bits;
}

Instant start_of(uint64_t tick) {
  // The last tick of all begins behind the last Instant.
  const uint64_t ns = tick << tick_bits;
  return ns > static_cast<uint64_t>(Instant::never().ns()) - 1
             ? Instant::from_ns(Instant::never().ns() - 1)
             : Instant::from_ns(static_cast<int64_t>(ns));
}

}  // namespace

TimerWheel::TimerWheel(uint32_t item_count)
    : item_count_(item_count), nodes_(size_t{item_count} + slot_count + 1) {
  ASSERT(item_count < none - slot_count - 1);
  for (uint32_t head = slot_head(0); head <= due_head(); ++head) {
    nodes_[head].previous = nodes_[head].next = head;
  }
}

void TimerWheel::schedule(uint32_t item, Instant deadline) {
  ASSERT(item < item_count_);
  if (deadline.is_never()) return cancel(item);
  const uint64_t when = tick_at_or_after(deadline);
  Node& node = nodes_[item];
  if (node.next != none) {
    // Re-armed within the same slot, as most timers are: nothing to move.
    if (node.when > elapsed_ && when > elapsed_ && slot_of(node.when) == slot_of(when)) {
      node.when = when;
      return;
    }
    unlink(item);
  } else {
    ++scheduled_count_;
  }
  node.when = when;
  place(item);
}

void TimerWheel::cancel(uint32_t item) {
  if (!is_scheduled(item)) return;
  unlink(item);
  --scheduled_count_;
}

bool TimerWheel::is_scheduled(uint32_t item) const {
  ASSERT(item < item_count_);
  return nodes_[item].next != none;
}

uint64_t TimerWheel::tick_of(Instant deadline) {
  return tick_at_or_after(deadline);
}

uint32_t TimerWheel::poll_expired(Instant now) {
  const uint64_t target = tick_at_or_before(now);
  const Node& due = nodes_[due_head()];
  uint32_t level = 0;
  uint64_t starts = 0;
  // Each turn enters one occupied slot; there are at most slot_count of them ahead.
  while (due.next == due_head() && next_occupied(level, starts) && starts <= target) {
    enter(level, starts);
  }
  if (due.next != due_head()) {
    const uint32_t item = due.next;
    unlink(item);
    --scheduled_count_;
    return item;
  }
  if (target > elapsed_) elapsed_ = target;  // no slot was crossed: every item stands where it did
  return none;
}

Instant TimerWheel::next_timeout() const {
  if (nodes_[due_head()].next != due_head()) return start_of(elapsed_);
  uint32_t level = 0;
  uint64_t starts = 0;
  return next_occupied(level, starts) ? start_of(starts) : Instant::never();
}

uint32_t TimerWheel::slot_of(uint64_t when) const {
  // Requires: when > elapsed_.
  const uint32_t top_bit = 63 - static_cast<uint32_t>(std::countl_zero(when ^ elapsed_));
  const uint32_t level = top_bit / level_bits;
  const uint32_t slot = static_cast<uint32_t>(when >> (level * level_bits)) & (slots_per_level - 1);
  return level * slots_per_level + slot;
}

bool TimerWheel::next_occupied(uint32_t& level, uint64_t& starts) const {
  for (uint32_t l = 0; l < level_count; ++l) {
    if (occupied_[l] == 0) continue;
    const uint32_t shift = l * level_bits;
    const uint64_t above = elapsed_ >> (shift + level_bits) << (shift + level_bits);
    level = l;
    starts = above | (static_cast<uint64_t>(std::countr_zero(occupied_[l])) << shift);
    return true;
  }
  return false;
}

void TimerWheel::place(uint32_t item) {
  const uint64_t when = nodes_[item].when;
  if (when <= elapsed_) return link_last(due_head(), item);
  const uint32_t slot = slot_of(when);
  occupied_[slot / slots_per_level] |= uint64_t{1} << (slot % slots_per_level);
  link_last(slot_head(slot), item);
}

void TimerWheel::link_last(uint32_t head, uint32_t item) {
  const uint32_t last = nodes_[head].previous;
  nodes_[item].previous = last;
  nodes_[item].next = head;
  nodes_[last].next = item;
  nodes_[head].previous = item;
}

void TimerWheel::unlink(uint32_t item) {
  Node& node = nodes_[item];
  const uint32_t previous = node.previous;
  const uint32_t next = node.next;
  nodes_[previous].next = next;
  nodes_[next].previous = previous;
  node.previous = node.next = none;
  // Both neighbours are one and the same only when that is the head of a list now empty.
  if (previous == next && next >= item_count_ && next != due_head()) {
    const uint32_t slot = next - item_count_;
    occupied_[slot / slots_per_level] &= ~(uint64_t{1} << (slot % slots_per_level));
  }
}

void TimerWheel::enter(uint32_t level, uint64_t starts) {
  const uint32_t slot =
      level * slots_per_level +
      (static_cast<uint32_t>(starts >> (level * level_bits)) & (slots_per_level - 1));
  const uint32_t head = slot_head(slot);
  elapsed_ = starts;
  // Bounded by the items of the slot: each moves to a lower level or to the due list.
  while (nodes_[head].next != head) {
    const uint32_t item = nodes_[head].next;
    unlink(item);
    place(item);
  }
}

}  // namespace sluice::timer
