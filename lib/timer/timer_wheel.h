// TimerWheel: one deadline for each item of a table, with constant-time schedule and cancel.
//
// Read first: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7. Runs on
// its owner's thread; pure.
//
// Time is cut into ticks of 2^17 ns (131 us). A level has 64 slots and each slot of a level spans
// the whole level below it, so that eight levels reach every Instant there is:
//
//   level 0   64 slots of 131 us        level 2   64 slots of 0.54 s
//   level 1   64 slots of 8.4 ms        level 3   64 slots of 34 s      ...
//
// Invariant: an item that is due at tick `when` stands at the level of the highest 6-bit group in
// which `when` differs from `elapsed_`, in the slot that group names. So every occupied slot lies
// ahead, nothing wraps around, and whatever stands at a lower level is due before everything at a
// higher one. When `elapsed_` enters a slot of a higher level, its items move down: at most seven
// times in an item's life.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "base/fixed_array.h"
#include "base/time.h"

namespace sluice::timer {

class TimerWheel {
 public:
  static constexpr uint32_t none = std::numeric_limits<uint32_t>::max();
  /// An item fires at its deadline or up to this much later, never earlier.
  static constexpr Duration tick = Duration::from_ns(int64_t{1} << 17);

  /// Reserves everything for the items 0 .. item_count-1, none of them scheduled.
  explicit TimerWheel(uint32_t item_count);

  /// Sets the item's deadline, in place of the one that it had. A deadline that has passed fires at
  /// the next poll; Instant::never() cancels.
  void schedule(uint32_t item, Instant deadline);

  /// Does nothing when the item is not scheduled.
  void cancel(uint32_t item);

  [[nodiscard]] bool is_scheduled(uint32_t item) const;

  /// The tick in which an item with this deadline fires. Requires: not never().
  [[nodiscard]] static uint64_t tick_of(Instant deadline);

  /// Takes out one item whose deadline has come. Call until it says `none`; the item may be
  /// scheduled again at once.
  /// Requires: `now` is not before that of an earlier call.
  [[nodiscard]] uint32_t poll_expired(Instant now);

  /// Returns: when poll_expired() should be called again: never later than an item's deadline plus
  /// one tick; it may be earlier, when only far deadlines are left. never() when nothing is
  /// scheduled.
  [[nodiscard]] Instant next_timeout() const;

  [[nodiscard]] uint32_t scheduled_count() const { return scheduled_count_; }

 private:
  static constexpr uint32_t level_bits = 6;
  static constexpr uint32_t slots_per_level = 1u << level_bits;
  static constexpr uint32_t level_count = 8;
  static constexpr uint32_t slot_count = level_count * slots_per_level;

  // Lists are circular and doubly linked; their heads are nodes too, behind those of the items.
  struct Node {
    uint32_t previous = none;  // none: not in a list
    uint32_t next = none;
    uint64_t when = 0;  // ticks, rounded up
  };

  [[nodiscard]] uint32_t slot_head(uint32_t slot) const { return item_count_ + slot; }
  [[nodiscard]] uint32_t due_head() const { return item_count_ + slot_count; }
  [[nodiscard]] uint32_t slot_of(uint64_t when) const;
  [[nodiscard]] bool next_occupied(uint32_t& level, uint64_t& starts) const;
  void place(uint32_t item);
  void link_last(uint32_t head, uint32_t item);
  void unlink(uint32_t item);
  void enter(uint32_t level, uint64_t starts);

  uint32_t item_count_;
  uint32_t scheduled_count_ = 0;
  uint64_t elapsed_ = 0;  // ticks; everything due by then is in the due list
  std::array<uint64_t, level_count> occupied_{};
  FixedArray<Node> nodes_;
};

}  // namespace sluice::timer
