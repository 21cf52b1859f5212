#include "tcp/scoreboard.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::tcp {
namespace {

// Half of the runs are kept for what losses cut. Beyond that trains are noted together, as long as
// together they are no longer than the longest train.
constexpr uint32_t crowded_count = Scoreboard::runs_max / 2;
constexpr uint32_t joined_bytes_max = 65'536;

}  // namespace

void Scoreboard::release(SentRunPool& pool) {
  for (uint32_t index = first_; index != none;) {
    const uint32_t next = pool[index].next;
    pool.give_back(index, next == none);
    index = next;
  }
  reset(una_);
}

// The list by time of transmission, of what is in flight.

void Scoreboard::timeline_add(SentRunPool& pool, uint32_t index, uint32_t after) {
  SentRun& run = pool[index];
  run.earlier = after;
  run.later = after == none ? oldest_ : pool[after].later;
  (run.earlier == none ? oldest_ : pool[run.earlier].later) = index;
  (run.later == none ? youngest_ : pool[run.later].earlier) = index;
}

void Scoreboard::timeline_remove(SentRunPool& pool, uint32_t index) {
  const SentRun& run = pool[index];
  (run.earlier == none ? oldest_ : pool[run.earlier].later) = run.later;
  (run.later == none ? youngest_ : pool[run.later].earlier) = run.earlier;
}

// The list by offset.

// Cuts a run in two at `at`, which lies inside it. Returns false when there is none for the second.
bool Scoreboard::split(SentRunPool& pool, uint32_t index, SeqNumber at) {
  if (!may_grow()) return false;
  const uint32_t second = pool.take(false);
  if (second == none) return false;
  SentRun& run = pool[index];
  SentRun& piece = pool[second];
  piece = run;
  piece.previous = index;
  (run.next == none ? last_ : pool[run.next].previous) = second;
  run.next = second;
  run.end = at;
  run.inexact = run.inexact || run.joined;
  ++count_;
  if (run.fate == Fate::in_flight) timeline_add(pool, second, index);
  return true;
}

// Takes a run out of the list; its bytes were counted elsewhere, and it is not on the timeline.
void Scoreboard::remove(SentRunPool& pool, uint32_t index) {
  const SentRun& run = pool[index];
  const uint32_t next = run.next;
  (run.previous == none ? first_ : pool[run.previous].next) = next;
  (next == none ? last_ : pool[next].previous) = run.previous;
  if (lost_hint_ == index) lost_hint_ = next;
  if (sack_hint_ == index) sack_hint_ = next;
  --count_;
  pool.give_back(index, count_ == 0);
}

// The run's bytes become those of the one before it, which has the same fate.
void Scoreboard::join_previous(SentRunPool& pool, uint32_t index) {
  const SentRun& run = pool[index];
  SentRun& into = pool[run.previous];
  if (lost_hint_ == index) lost_hint_ = run.previous;
  if (sack_hint_ == index) sack_hint_ = run.previous;
  if (into.stamp.sent_us != run.stamp.sent_us) {
    if (static_cast<int32_t>(run.stamp.sent_us - into.stamp.sent_us) > 0) into.stamp = run.stamp;
    into.inexact = true;
  }
  into.joined = into.joined || run.joined;
  into.inexact = into.inexact || run.inexact;
  into.retransmitted = into.retransmitted || run.retransmitted;
  into.end = run.end;
  remove(pool, index);
}

// `bytes` of the run change their fate, or go.
void Scoreboard::take_out(SentRunPool& pool, uint32_t index, uint32_t bytes) {
  const SentRun& run = pool[index];
  switch (run.fate) {
    case Fate::in_flight:
      if (run.retransmitted) retransmitted_bytes_ -= bytes;
      break;
    case Fate::sacked:
      sacked_bytes_ -= bytes;
      break;
    case Fate::lost:
      lost_bytes_ -= bytes;
      break;
  }
}

// Output.

bool Scoreboard::add(SentRunPool& pool, SeqNumber end, const SentStamp& stamp) {
  uint32_t index = none;
  const bool join = count_ >= crowded_count && pool[last_].fate == Fate::in_flight &&
                    !pool[last_].retransmitted && length_of(pool, last_) < joined_bytes_max;
  if (!join && may_grow()) index = pool.take(count_ == 0);
  if (index != none) {
    SentRun& run = pool[index];
    run.stamp = stamp;
    run.end = end;
    run.previous = last_;
    (last_ == none ? first_ : pool[last_].next) = index;
    last_ = index;
    ++count_;
    timeline_add(pool, index, youngest_);
    return true;
  }
  // Whatever was known of the run before, it is in flight now: at worst it will be sent once more.
  SentRun& run = pool[last_];
  take_out(pool, last_, length_of(pool, last_));
  if (run.fate == Fate::in_flight) timeline_remove(pool, last_);
  if (run.fate == Fate::sacked) --sacked_runs_;
  run.fate = Fate::in_flight;
  run.stamp = stamp;
  run.end = end;
  run.joined = true;
  if (run.retransmitted) retransmitted_bytes_ += length_of(pool, last_);
  timeline_add(pool, last_, youngest_);
  return false;
}

void Scoreboard::send_whole_again(SentRunPool& pool, uint32_t index, const SentStamp& stamp) {
  SentRun& run = pool[index];
  const uint32_t bytes = length_of(pool, index);
  take_out(pool, index, bytes);
  if (run.fate == Fate::in_flight) timeline_remove(pool, index);
  run.fate = Fate::in_flight;
  run.retransmitted = true;
  run.joined = run.inexact = false;
  run.stamp = stamp;
  retransmitted_bytes_ += bytes;
  timeline_add(pool, index, youngest_);
}

bool Scoreboard::add_again(SentRunPool& pool, Span again, const SentStamp& stamp) {
  uint32_t index = lost_hint_ == none ? last_ : lost_hint_;
  while (index != none && begin_of(pool, index) > again.begin) index = pool[index].previous;
  while (index != none && pool[index].end <= again.begin) index = pool[index].next;
  bool exact = true;
  while (index != none && begin_of(pool, index) < again.end) {
    if (pool[index].fate == Fate::sacked) {
      index = pool[index].next;
      continue;
    }
    if (begin_of(pool, index) < again.begin) {
      if (split(pool, index, again.begin)) {
        index = pool[index].next;
      } else {
        exact = false;
      }
    }
    const uint32_t before = pool[index].previous;
    // What was sent again just now, and this with it.
    const bool together = before != none && before == youngest_ && pool[before].retransmitted &&
                          pool[before].stamp.sent_us == stamp.sent_us;
    if (pool[index].end > again.end) {
      if (together) {
        const auto bytes = static_cast<uint32_t>(again.end - begin_of(pool, index));
        take_out(pool, index, bytes);
        retransmitted_bytes_ += bytes;
        pool[before].end = again.end;
        return exact;
      }
      if (!split(pool, index, again.end)) exact = false;
    }
    send_whole_again(pool, index, stamp);
    const uint32_t next = pool[index].next;
    if (together) {
      timeline_remove(pool, index);
      join_previous(pool, index);
    }
    index = next;
  }
  return exact;
}

// Input.

void Scoreboard::acknowledge(SentRunPool& pool, SeqNumber una, Delivery& delivery) {
  while (first_ != none && una_ < una) {
    const SentRun& run = pool[first_];
    const bool whole = run.end <= una;
    const SeqNumber to = whole ? run.end : una;
    const auto bytes = static_cast<uint32_t>(to - una_);
    ++delivery.steps;
    if (run.fate != Fate::sacked) delivery.note(run, to, bytes, false);
    take_out(pool, first_, bytes);
    una_ = to;
    if (!whole) return;
    if (run.fate == Fate::in_flight) timeline_remove(pool, first_);
    if (run.fate == Fate::sacked) --sacked_runs_;
    remove(pool, first_);
  }
  una_ = una;
}

// The run that holds byte `at`, which lies in the flight.
uint32_t Scoreboard::find(const SentRunPool& pool, SeqNumber at, Delivery& delivery) const {
  if (count_ == 0) return none;
  uint32_t index = sack_hint_;
  if (index == none) index = at - una_ < pool[last_].end - at ? first_ : last_;
  while (index != none && begin_of(pool, index) > at) {
    index = pool[index].previous;
    ++delivery.steps;
  }
  while (index != none && pool[index].end <= at) {
    index = pool[index].next;
    ++delivery.steps;
  }
  return index;
}

void Scoreboard::sack(SentRunPool& pool, Span block, Delivery& delivery) {
  uint32_t index = find(pool, block.begin, delivery);
  while (index != none && begin_of(pool, index) < block.end) {
    ++delivery.steps;
    const SentRun& run = pool[index];
    if (run.fate == Fate::sacked) {
      sack_hint_ = index;
      index = run.next;
      continue;
    }
    const SeqNumber begin = begin_of(pool, index);
    const Span part{begin < block.begin ? block.begin : begin,
                    run.end < block.end ? run.end : block.end};
    index = sack_part(pool, index, part, delivery);
  }
}

// `part` of a run that was not sacked is. Neighbours that are grow over it where that saves a cut.
// Returns: the run to go on with.
uint32_t Scoreboard::sack_part(SentRunPool& pool, uint32_t index, Span part, Delivery& delivery) {
  const uint32_t bytes = part.length();
  if (begin_of(pool, index) < part.begin) {
    SentRun& run = pool[index];
    const uint32_t next = run.next;
    if (part.end == run.end && next != none && pool[next].fate == Fate::sacked) {
      delivery.note(run, part.end, bytes, true);
      take_out(pool, index, bytes);
      run.inexact = run.inexact || run.joined;
      run.end = part.begin;
      sacked_bytes_ += bytes;
      sack_hint_ = next;
      return pool[next].next;
    }
    if (!split(pool, index, part.begin)) {
      ++delivery.refused;
      return next;
    }
    index = run.next;
  }
  SentRun& piece = pool[index];
  const uint32_t before = piece.previous;
  const bool grow = before != none && pool[before].fate == Fate::sacked;
  if (part.end < piece.end) {
    if (grow) {
      delivery.note(piece, part.end, bytes, true);
      take_out(pool, index, bytes);
      pool[before].end = part.end;
      sacked_bytes_ += bytes;
      sack_hint_ = before;
      return index;
    }
    if (!split(pool, index, part.end)) {
      ++delivery.refused;
      return piece.next;
    }
  }
  delivery.note(piece, piece.end, bytes, true);
  take_out(pool, index, bytes);
  if (piece.fate == Fate::in_flight) timeline_remove(pool, index);
  piece.fate = Fate::sacked;
  sacked_bytes_ += bytes;
  ++sacked_runs_;
  sack_hint_ = index;
  if (grow) {
    join_previous(pool, index);
    index = before;
    --sacked_runs_;
  }
  const uint32_t after = pool[index].next;
  if (after != none && pool[after].fate == Fate::sacked) {
    join_previous(pool, after);
    --sacked_runs_;
  }
  return pool[index].next;
}

void Scoreboard::forget_sacks(SentRunPool& pool) {
  if (sacked_bytes_ == 0) return;
  for (uint32_t index = first_; index != none; index = pool[index].next) {
    if (pool[index].fate == Fate::sacked) pool[index].fate = Fate::lost;
  }
  lost_bytes_ += sacked_bytes_;
  sacked_bytes_ = 0;
  sacked_runs_ = 0;
  lost_hint_ = first_;
}

// Verdicts.

void Scoreboard::mark_lost(SentRunPool& pool, uint32_t index) {
  SentRun& run = pool[index];
  ASSERT(run.fate == Fate::in_flight);
  const uint32_t bytes = length_of(pool, index);
  take_out(pool, index, bytes);
  timeline_remove(pool, index);
  run.fate = Fate::lost;
  if (lost_bytes_ == 0 || lost_hint_ == none || run.end < pool[lost_hint_].end) lost_hint_ = index;
  lost_bytes_ += bytes;
  const auto alike = [&](uint32_t other) {
    return other != none && pool[other].fate == Fate::lost &&
           pool[other].retransmitted == pool[index].retransmitted;
  };
  if (alike(run.next)) join_previous(pool, run.next);
  if (alike(run.previous)) join_previous(pool, index);
}

void Scoreboard::mark_first_lost(SentRunPool& pool, uint32_t bytes) {
  if (first_ == none || pool[first_].fate != Fate::in_flight) return;
  // Refused: then all of the run is sent again.
  if (length_of(pool, first_) > bytes) static_cast<void>(split(pool, first_, una_ + bytes));
  mark_lost(pool, first_);
}

void Scoreboard::mark_all_lost(SentRunPool& pool) {
  while (oldest_ != none) mark_lost(pool, oldest_);
}

void Scoreboard::unmark_lost(SentRunPool& pool) {
  if (lost_bytes_ == 0) return;
  // In the order of the stream originals left in the order of time: the cursor only moves on. A
  // retransmission among them is taken for as young as the cursor is.
  uint32_t cursor = none;
  for (uint32_t index = first_; index != none; index = pool[index].next) {
    SentRun& run = pool[index];
    if (run.fate != Fate::lost) continue;
    take_out(pool, index, length_of(pool, index));
    run.fate = Fate::in_flight;
    if (run.retransmitted) retransmitted_bytes_ += length_of(pool, index);
    for (uint32_t next = cursor == none ? oldest_ : pool[cursor].later;
         next != none && static_cast<int32_t>(pool[next].stamp.sent_us - run.stamp.sent_us) <= 0;
         next = pool[next].later) {
      cursor = next;
    }
    if (cursor != none &&
        static_cast<int32_t>(pool[cursor].stamp.sent_us - run.stamp.sent_us) > 0) {
      run.stamp.sent_us = pool[cursor].stamp.sent_us;
      run.inexact = true;
    }
    timeline_add(pool, index, cursor);
    cursor = index;
  }
  lost_hint_ = none;
}

Scoreboard::Span Scoreboard::next_lost(const SentRunPool& pool) {
  if (lost_bytes_ == 0) {
    lost_hint_ = none;
    return {};
  }
  uint32_t index = lost_hint_ == none ? first_ : lost_hint_;
  while (pool[index].fate != Fate::lost) index = pool[index].next;
  lost_hint_ = index;
  Span span{begin_of(pool, index), pool[index].end};
  for (uint32_t next = pool[index].next; next != none && pool[next].fate == Fate::lost;
       next = pool[next].next) {
    span.end = pool[next].end;
  }
  return span;
}

}  // namespace sluice::tcp
