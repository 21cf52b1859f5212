#include "tcp/send_queue.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::tcp {

void SendQueue::reset(StreamOffset begin) {
  begin_ = end_ = cursor_begin_ = begin;
  cursor_ = first_ = count_ = 0;
  lease_ = {};
}

bool SendQueue::push(const Span& span) {
  if (count_ == spans_max) return false;
  at(count_) = span;
  ++count_;
  end_ += span.length_bytes;
  return true;
}

bool SendQueue::pop(Span& out) {
  if (count_ == 0) return false;
  out = at(0);
  begin_ += out.length_bytes;
  first_ = static_cast<uint8_t>((first_ + 1) % spans_max);
  --count_;
  if (cursor_ > 0) {
    --cursor_;
  } else {
    cursor_begin_ = begin_;
  }
  return true;
}

bool SendQueue::pop_acknowledged(StreamOffset snd_una, Span& out) {
  if (count_ == 0 || begin_ + at(0).length_bytes > snd_una) return false;
  return pop(out);
}

// Moves the cursor to the span that holds `from`.
void SendQueue::seek(StreamOffset from) {
  if (from < cursor_begin_) {
    cursor_ = 0;
    cursor_begin_ = begin_;
  }
  while (from >= cursor_begin_ + at(cursor_).length_bytes) {
    cursor_begin_ += at(cursor_).length_bytes;
    ++cursor_;
    ASSERT(cursor_ < count_);
  }
}

SendQueue::Described SendQueue::describe(Instant now, content::Catalog& catalog, const Range& range,
                                         Extents& out) {
  Described result;
  while (result.bytes < range.max_bytes && !out.full()) {
    const StreamOffset from = range.from + result.bytes;
    seek(from);
    const Span& span = at(cursor_);
    const uint64_t within = from - cursor_begin_;
    const uint64_t offset = span.offset_bytes + within;
    const auto wanted = static_cast<uint32_t>(
        std::min<uint64_t>(range.max_bytes - result.bytes, span.length_bytes - within));
    content::Extent extent{content::ChunkIndex(span.source), static_cast<uint32_t>(offset), wanted};
    if (span.is_object) {
      const content::ObjectHandle object(span.source);
      content::Lease passing;
      const content::Catalog::Range bytes{
          .offset_bytes = offset,
          .max_bytes = wanted,
          .end_bytes = range.again ? offset + wanted : span.offset_bytes + span.length_bytes};
      const auto found = catalog.find(now, object, bytes, range.again ? passing : lease_, extent);
      catalog.drop(passing);
      if (found != content::Catalog::Find::here) {
        result.stop = found == content::Catalog::Find::gone ? Stop::gone : Stop::missing;
        result.object = object;
        result.offset_bytes = offset;
        return result;
      }
    }
    const bool pushed = out.push_back(extent);
    ASSERT(pushed);
    result.bytes += extent.length_bytes;
  }
  return result;
}

}  // namespace sluice::tcp
