#include "tcp/send_queue.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::tcp {

void SendQueue::reset(StreamOffset begin) {
  *this = SendQueue();
  begin_ = end_ = begin;
}

bool SendQueue::push(SpanPool& pool, const Span& span) {
  if (count_ == spans_max) return false;
  const uint32_t node = pool.take(count_, span);
  if (node == SpanPool::none) return false;
  // Bounded by spans_max; two as a rule.
  uint32_t* link = &first_;
  while (*link != SpanPool::none) link = &pool.next(*link);
  *link = node;
  ++count_;
  end_ += span.length_bytes;
  return true;
}

bool SendQueue::pop(SpanPool& pool, Span& out) {
  if (count_ == 0) return false;
  const uint32_t node = first_;
  out = pool.span(node);
  begin_ += out.length_bytes;
  first_ = pool.next(node);
  pool.give_back(node, count_);
  --count_;
  return true;
}

bool SendQueue::pop_acknowledged(SpanPool& pool, StreamOffset snd_una, Span& out) {
  if (count_ == 0 || begin_ + pool.length(first_) > snd_una) return false;
  return pop(pool, out);
}

// The span that holds `from`. Bounded by spans_max.
SendQueue::Place SendQueue::seek(SpanPool& pool, StreamOffset from) const {
  Place place{first_, begin_};
  while (from >= place.begin + pool.length(place.node)) {
    place.begin += pool.length(place.node);
    place.node = pool.next(place.node);
    ASSERT(place.node != SpanPool::none);
  }
  return place;
}

SendQueue::Described SendQueue::describe(Instant now, content::Catalog& catalog, SpanPool& pool,
                                         const Range& range, Extents& out) {
  Described result;
  while (result.bytes < range.max_bytes && !out.full()) {
    const StreamOffset from = range.from + result.bytes;
    const Place place = seek(pool, from);
    const Span span = pool.span(place.node);
    const uint64_t within = from - place.begin;
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
