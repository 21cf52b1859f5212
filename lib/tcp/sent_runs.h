// SentRun: a run of bytes that left together and whose fate is one; and the pool of them.
//
// Read first: lib/tcp/scoreboard.h, which makes lists of them. One pool a Stack, reserved at start.
// Every sender can have one run whatever the others do: the rest is for who comes first, and a
// scoreboard knows how to live with a refusal.
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "tcp/rate_sample.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

struct SentRun {
  enum class Fate : uint8_t { in_flight, sacked, lost };

  SentStamp stamp;  // of the latest transmission
  SeqNumber end;    // low half of a StreamOffset; it begins where the one before it ends
  // Neighbours by offset, and, in flight only, by time of transmission.
  uint32_t next = IndexPool::none;
  uint32_t previous = IndexPool::none;
  uint32_t later = IndexPool::none;
  uint32_t earlier = IndexPool::none;
  Fate fate = Fate::in_flight;
  bool retransmitted = false;  // at least once
  bool joined = false;   // made of several trains for want of runs: the stamp is its end's alone
  bool inexact = false;  // a part of such a one: left before the stamp says
};
static_assert(sizeof(SentRun) <= 48);

class SentRunPool {
 public:
  struct Sizes {
    uint32_t senders = 0;  // each can have one run
    uint32_t shared = 0;   // beyond those
  };
  SentRunPool() = default;
  explicit SentRunPool(Sizes sizes)
      : runs_(sizes.senders + sizes.shared),
        available_(sizes.senders + sizes.shared),
        kept_(sizes.senders) {
    for (uint32_t i = 0; i < runs_.size(); ++i) runs_[i].next = i + 1;
  }

  /// `first`: the taker has none. Returns IndexPool::none when all are out (never, if `first`).
  [[nodiscard]] uint32_t take(bool first) {
    if (!first && available_ <= kept_) return IndexPool::none;
    ASSERT(available_ > 0);
    if (first) --kept_;
    --available_;
    const uint32_t index = free_;
    free_ = runs_[index].next;
    runs_[index] = {};
    return index;
  }
  /// `last`: the giver has no other.
  void give_back(uint32_t index, bool last) {
    runs_[index].next = free_;
    free_ = index;
    ++available_;
    if (last) ++kept_;
  }
  [[nodiscard]] SentRun& operator[](uint32_t index) { return runs_[index]; }
  [[nodiscard]] const SentRun& operator[](uint32_t index) const { return runs_[index]; }
  [[nodiscard]] uint32_t in_use() const { return static_cast<uint32_t>(runs_.size()) - available_; }

 private:
  FixedArray<SentRun> runs_;
  uint32_t free_ = 0;
  uint32_t available_ = 0;
  uint32_t kept_ = 0;  // of those, for senders that have none yet
};

}  // namespace sluice::tcp
