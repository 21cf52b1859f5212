#include "tcp/scoreboard.h"

#include <algorithm>

namespace sluice::tcp {

uint32_t Scoreboard::add(StreamRange range) {
  size_t first = ranges_.size();
  while (first > 0 && ranges_[first - 1].end >= range.begin) --first;
  size_t last = first;
  uint64_t known = 0;
  StreamRange joined = range;
  while (last < ranges_.size() && ranges_[last].begin <= range.end) {
    known += ranges_[last].end - ranges_[last].begin;
    joined.begin = std::min(joined.begin, ranges_[last].begin);
    joined.end = std::max(joined.end, ranges_[last].end);
    ++last;
  }
  if (first == last) {
    if (ranges_.full()) {
      if (first == ranges_.size()) return 0;  // it is the highest itself
      sacked_bytes_ -= static_cast<uint32_t>(ranges_.back().end - ranges_.back().begin);
      ranges_.pop_back();
    }
    static_cast<void>(ranges_.insert(first, range));
  } else {
    ranges_[first] = joined;
    for (size_t i = last; i-- > first + 1;) ranges_.erase(i);
  }
  const auto added = static_cast<uint32_t>((joined.end - joined.begin) - known);
  sacked_bytes_ += added;
  return added;
}

void Scoreboard::advance(StreamOffset snd_una) {
  size_t gone = 0;
  while (gone < ranges_.size() && ranges_[gone].end <= snd_una) {
    sacked_bytes_ -= static_cast<uint32_t>(ranges_[gone].end - ranges_[gone].begin);
    ++gone;
  }
  if (gone < ranges_.size() && ranges_[gone].begin < snd_una) {
    sacked_bytes_ -= static_cast<uint32_t>(snd_una - ranges_[gone].begin);
    ranges_[gone].begin = snd_una;
  }
  if (gone == 0) return;
  for (size_t i = gone; i < ranges_.size(); ++i) ranges_[i - gone] = ranges_[i];
  for (; gone > 0; --gone) ranges_.pop_back();
}

StreamOffset Scoreboard::lost_edge(uint32_t mss) const {
  uint64_t bytes = 0;
  uint32_t count = 0;
  for (size_t i = ranges_.size(); i-- > 0;) {
    bytes += ranges_[i].end - ranges_[i].begin;
    ++count;
    if (count >= dup_thresh || bytes > uint64_t{dup_thresh - 1} * mss) return ranges_[i].begin;
  }
  return StreamOffset();
}

StreamRange Scoreboard::next_hole(StreamOffset from, StreamOffset to) const {
  for (const StreamRange& range : ranges_) {
    if (range.end <= from) continue;
    if (range.begin > from) {
      to = std::min(to, range.begin);
      break;
    }
    from = range.end;
  }
  if (from >= to) return {};
  return {from, to};
}

uint32_t Scoreboard::unsacked_bytes(StreamOffset from, StreamOffset to) const {
  if (from >= to) return 0;
  uint64_t bytes = to - from;
  for (const StreamRange& range : ranges_) {
    const StreamOffset begin = std::max(range.begin, from);
    const StreamOffset end = std::min(range.end, to);
    if (begin < end) bytes -= end - begin;
  }
  return static_cast<uint32_t>(bytes);
}

}  // namespace sluice::tcp
