#include "reader.h"

#include <algorithm>
#include <cstring>

namespace sluice::sim {

using namespace content;

namespace {

constexpr SipKey path_key{3, 4};

CatalogLimits limits_of(const ReaderOptions& options) {
  return {.objects_max = 16,
          .pieces_max = 32,
          .waiters_max = 1,
          .chunk_count = options.arena.chunk_count,
          .chunk_bytes = options.arena.chunk_bytes,
          .readahead_pieces = 1,
          .fresh_for = options.fresh_for};
}

}  // namespace

Reader::Reader(const ReaderOptions& options, stats::Counters& counters)
    : options_(options),
      prng_(options.seed),
      pins_(options.arena.chunk_count, 0),
      catalog_(limits_of(options), pins_, counters) {}

bool Reader::pop(ToStore& out) {
  if (!to_ask_) return false;
  to_ask_ = false;
  out = Lookup{ticket_, reading_.path};
  return true;
}

int64_t Reader::next_ns() const {
  int64_t next = ring_.empty() ? INT64_MAX : ring_.front().due_ns;
  const bool asks = state_ == State::pausing && (!idle_ || !wanted_.empty());
  return asks ? std::min(next, pause_until_ns_) : next;
}

void Reader::handle(int64_t now_ns, const ToWorker& message) {
  const Instant now = Instant::from_ns(now_ns);
  if (const auto* answer = std::get_if<LookupAnswer>(&message)) {
    if (state_ != State::asking || answer->ticket != ticket_) {
      return on_wrong("an answer to no question");
    }
    reading_.status = answer->status;
    reading_.info = answer->info;
    reading_.answered_ns = now_ns;
    const SipDigest key = siphash24_128(path_key, as_byte_span(reading_.path));
    if (answer->status != LookupStatus::found) {
      catalog_.forget_path(key);
      (void)on_answer(reading_);
      return end(now_ns, false);
    }
    begin(now_ns, catalog_.insert(now, key, answer->info, {}));
  } else if (const auto* ready = std::get_if<PieceReady>(&message)) {
    catalog_.handle(now, *ready);
  } else if (const auto* failed = std::get_if<PieceFailed>(&message)) {
    catalog_.handle(now, *failed);
  } else if (const auto* retire = std::get_if<Retire>(&message)) {
    catalog_.handle(now, *retire);
  } else {
    catalog_.handle(now, Revalidate{});
  }
}

void Reader::turn(int64_t now_ns) {
  while (!ring_.empty() && ring_.front().due_ns <= now_ns) {
    const InRing train = ring_.front();
    ring_.pop_front();
    compare(train);
    pins_.unpin(train.extent.chunk);
  }
  ChunkIndex released;
  while (pins_.poll_released(released)) catalog_.handle_released(released);
  Catalog::Woken woken;
  while (catalog_.poll_woken(woken)) {
    if (state_ != State::waiting) continue;
    state_ = State::reading;
    failed_ = woken.failed;
  }
  if (state_ == State::pausing && now_ns >= pause_until_ns_ && (!idle_ || !wanted_.empty())) {
    ask(now_ns);
  }
  if (state_ == State::reading) go_on(now_ns);
  if (state_ == State::draining && ring_.empty()) end(now_ns, !failed_);
}

void Reader::ask(int64_t now_ns) {
  reading_ = Reading{};
  reading_.path = wanted_.empty() ? options_.paths[prng_.below(options_.paths.size())] : wanted_;
  wanted_.clear();
  reading_.asked_ns = now_ns;
  state_ = State::asking;
  const SipDigest key = siphash24_128(path_key, as_byte_span(reading_.path));
  const ObjectHandle known = catalog_.find_path(Instant::from_ns(now_ns), key);
  if (!known.is_none()) {
    reading_.status = LookupStatus::found;
    reading_.info = catalog_.info(known);
    reading_.answered_ns = now_ns;
    return begin(now_ns, known);
  }
  ++ticket_;
  to_ask_ = true;
}

void Reader::begin(int64_t now_ns, ObjectHandle object) {
  expected_ = on_answer(reading_);
  if (expected_ == nullptr || object.is_none()) return end(now_ns, false);
  object_ = object;
  catalog_.acquire(object);
  const uint64_t size = reading_.info.size_bytes;
  offset_bytes_ = 0;
  end_bytes_ = size;
  if (size > 0 && prng_.chance(1, 3)) {  // a range
    offset_bytes_ = prng_.below(size);
    end_bytes_ = offset_bytes_ + 1 + prng_.below(size - offset_bytes_);
  }
  failed_ = false;
  state_ = State::reading;
  go_on(now_ns);
}

void Reader::go_on(int64_t now_ns) {
  while (offset_bytes_ < end_bytes_ && !failed_) {
    Extent extent;
    const auto max_bytes = static_cast<uint32_t>(std::min<uint64_t>(
        1 + prng_.below(options_.arena.chunk_bytes), end_bytes_ - offset_bytes_));
    const Catalog::Find found = catalog_.find(
        Instant::from_ns(now_ns), object_, {offset_bytes_, max_bytes, end_bytes_}, lease_, extent);
    if (found == Catalog::Find::gone) {
      failed_ = true;
    } else if (found == Catalog::Find::missing) {
      catalog_.wait(object_, offset_bytes_, 0);
      state_ = State::waiting;
      return;
    } else {
      pins_.pin(extent.chunk);
      const int64_t in_ring_ns =
          static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.ring_ns_max) + 1));
      const int64_t due_ns =
          std::max(now_ns + in_ring_ns, ring_.empty() ? int64_t{0} : ring_.back().due_ns);
      ring_.push_back({due_ns, extent, offset_bytes_});
      offset_bytes_ += extent.length_bytes;
    }
  }
  catalog_.drop(lease_);
  state_ = State::draining;
  if (ring_.empty()) end(now_ns, !failed_);
}

void Reader::compare(const InRing& train) {
  const MutableBytes bytes = options_.arena.bytes(train.extent);
  const char* expected = expected_->data() + train.offset_bytes;
  if (std::memcmp(bytes.data(), expected, bytes.size()) == 0) return;
  bool excused = true;
  for (uint32_t i = 0; i < bytes.size() && excused; ++i) {
    excused = bytes[i] == static_cast<std::byte>(expected[i]) ||
              is_rotten(train.extent.chunk.value(), train.extent.offset_bytes + i);
  }
  if (excused) return;
  on_wrong("wrong bytes of " + reading_.path + " (" + std::to_string(expected_->size()) +
           " bytes) at " + std::to_string(train.offset_bytes) + ", chunk " +
           std::to_string(train.extent.chunk.value()));
}

void Reader::end(int64_t now_ns, bool complete) {
  if (!object_.is_none()) {
    catalog_.cancel_wait(0);
    catalog_.release(object_);
    object_ = ObjectHandle::none();
  }
  reading_.complete = complete;
  reading_.ended_ns = now_ns;
  state_ = State::pausing;
  pause_until_ns_ =
      now_ns + 1 +
      static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.pause_ns_max) + 1));
  on_end(reading_);
}

}  // namespace sluice::sim
