#include "tcp/reassembler.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sluice::tcp {

void Reassembler::reset(StreamOffset next) {
  next_ = next;
  touches_ = 0;
  ranges_.clear();
}

Reassembler::Inserted Reassembler::insert(StreamOffset offset, Bytes data, MutableBytes window) {
  Inserted result;
  const StreamRange arrived{offset, offset + data.size()};
  const StreamOffset window_end = next_ + window.size();
  const StreamRange inside{std::max(arrived.begin, next_), std::min(arrived.end, window_end)};
  result.duplicate = known_part(arrived);
  if (inside.begin >= inside.end) {
    result.outcome = arrived.end <= next_ ? Outcome::duplicate : Outcome::outside_window;
    return result;
  }
  if (result.duplicate.begin <= inside.begin && inside.end <= result.duplicate.end) {
    result.outcome = Outcome::duplicate;
  } else {
    result.outcome = Outcome::stored;
  }
  const bool in_order = inside.begin == next_;
  if (!in_order && !merge(inside)) {
    result.outcome = Outcome::too_many_gaps;
    return result;
  }
  const Bytes kept = data.subspan(inside.begin - arrived.begin, inside.end - inside.begin);
  std::byte* const place = window.data() + (inside.begin - next_);
  if (place != kept.data()) std::memmove(place, kept.data(), kept.size());

  if (in_order) {
    result.outcome = Outcome::in_order;
    result.newly_contiguous = advance_to(inside.end);
  }
  return result;
}

// Moves next() to `end` and over the ranges that this reaches. Returns the bytes moved over.
uint32_t Reassembler::advance_to(StreamOffset end) {
  while (!ranges_.empty() && ranges_[0].range.begin <= end) {
    end = std::max(end, ranges_[0].range.end);
    ranges_.erase(0);
  }
  const auto moved = static_cast<uint32_t>(end - next_);
  next_ = end;
  return moved;
}

void Reassembler::skip(uint64_t count) {
  ASSERT(ranges_.empty());
  next_ += count;
}

uint32_t Reassembler::span_bytes() const {
  return ranges_.empty() ? 0 : static_cast<uint32_t>(ranges_.back().range.end - next_);
}

// The first run of `arrived` that was here before. RFC 2883 section 4: a D-SACK block reports the
// one duplicate contiguous sequence; a second one in the same segment goes unreported.
StreamRange Reassembler::known_part(const StreamRange& arrived) const {
  if (arrived.begin < next_) return {arrived.begin, std::min(arrived.end, next_)};
  for (const Waiting& waiting : ranges_) {
    const StreamRange both{std::max(arrived.begin, waiting.range.begin),
                           std::min(arrived.end, waiting.range.end)};
    if (both.begin < both.end) return both;
  }
  return {};
}

// Joins `added` with every range that it overlaps or touches. Returns false, and changes nothing,
// when it would be one range too many.
bool Reassembler::merge(StreamRange added) {
  size_t first = 0;
  while (first < ranges_.size() && ranges_[first].range.end < added.begin) ++first;
  size_t last = first;
  while (last < ranges_.size() && ranges_[last].range.begin <= added.end) ++last;
  if (first == last) return ranges_.insert(first, {added, ++touches_});
  added.begin = std::min(added.begin, ranges_[first].range.begin);
  added.end = std::max(added.end, ranges_[last - 1].range.end);
  ranges_[first] = {added, ++touches_};
  for (size_t i = last; i-- > first + 1;) ranges_.erase(i);
  return true;
}

Reassembler::SackBlocks Reassembler::sack_blocks(size_t limit, const StreamRange& duplicate) const {
  SackBlocks blocks;
  limit = std::min(limit, sack_blocks_max);
  if (!duplicate.empty() && limit > 0) static_cast<void>(blocks.push_back(duplicate));
  uint32_t below = touches_ + 1;
  while (blocks.size() < limit) {
    const Waiting* latest = nullptr;
    for (const Waiting& waiting : ranges_) {
      if (waiting.touched < below && (latest == nullptr || waiting.touched > latest->touched)) {
        latest = &waiting;
      }
    }
    if (latest == nullptr) break;
    static_cast<void>(blocks.push_back(latest->range));
    below = latest->touched;
  }
  return blocks;
}

}  // namespace sluice::tcp
