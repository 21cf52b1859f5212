#include "content_source.h"

#include <algorithm>

namespace sluice::sim {

using namespace content;

std::string pattern(uint64_t seed, uint64_t offset, uint64_t length) {
  std::string bytes(length, '\0');
  for (uint64_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<char>(pattern_byte(seed, offset + i));
  }
  return bytes;
}

void ContentSource::add_file(const std::string& path, uint64_t size, uint64_t seed) {
  files_[path] = {.info = {.id = {next_slot_, 1},
                           .size_bytes = size,
                           .modified_unix_s = 1'700'000'000,
                           .etag = seed},
                  .seed = seed};
  ++next_slot_;
}

void ContentSource::change_file(const std::string& path, uint64_t size, uint64_t seed) {
  add_file(path, size, seed);
  outbox_.push_back(Revalidate{});
}

const ContentSource::File* ContentSource::find(ObjectId object) const {
  for (const auto& [path, file] : files_) {
    if (file.info.id == object) return &file;
  }
  return nullptr;
}

void ContentSource::handle(const ToStore& message) {
  if (const auto* lookup = std::get_if<Lookup>(&message)) {
    ++lookups_;
    const auto it = files_.find(std::string(lookup->path));
    if (it == files_.end()) {
      outbox_.push_back(LookupAnswer{lookup->ticket, LookupStatus::not_found, {}});
    } else {
      outbox_.push_back(LookupAnswer{lookup->ticket, it->second.status, it->second.info});
    }
  } else if (const auto* need = std::get_if<NeedPiece>(&message)) {
    if (need->prefetch && free_.empty()) {
      outbox_.push_back(PieceFailed{need->object, need->piece, PieceFailure::declined});
    } else {
      waiting_.push_back(*need);
    }
  } else if (const auto* retired = std::get_if<Retired>(&message)) {
    free_.push_back(retired->chunk);
    --retiring_;
  }
  while (!waiting_.empty() && !free_.empty()) {
    const NeedPiece next = waiting_.front();
    waiting_.pop_front();
    fill(next);
  }
  take_back();
}

// Those who wait get the chunks that nobody is in the middle of, and then those filled longest ago.
void ContentSource::take_back() {
  while (waiting_.size() > retiring_) {
    auto chosen = held_.end();
    for (auto it = held_.begin(); it != held_.end() && it->born + turns_min < turns_; ++it) {
      if (chosen == held_.end() ||
          (pins_.leases(chosen->chunk) > 0 && pins_.leases(it->chunk) == 0)) {
        chosen = it;
      }
    }
    if (chosen == held_.end()) return;
    outbox_.push_back(Retire{chosen->chunk});
    held_.erase(chosen);
    ++retiring_;
  }
}

void ContentSource::fill(const NeedPiece& need) {
  const File* file = find(need.object);
  const auto held = std::find_if(held_.begin(), held_.end(), [&](const Held& h) {
    return h.object == need.object && h.piece == need.piece;
  });
  if (file == nullptr || file->fail) {
    const PieceFailure reason = file == nullptr ? PieceFailure::stale : PieceFailure::io_error;
    outbox_.push_back(PieceFailed{need.object, need.piece, reason});
    return;
  }
  const uint64_t start = uint64_t{need.piece} * arena_.chunk_bytes;
  const auto length =
      static_cast<uint32_t>(std::min<uint64_t>(arena_.chunk_bytes, file->info.size_bytes - start));
  if (held != held_.end()) {
    outbox_.push_back(PieceReady{need.object, need.piece, {held->chunk, 0, length}});
    return;
  }
  const Extent extent{free_.front(), 0, length};
  free_.pop_front();
  const MutableBytes bytes = arena_.bytes(extent);
  for (uint32_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>(pattern_byte(file->seed, start + i));
  }
  held_.push_back({extent.chunk, need.object, need.piece, turns_});
  ++fills_;
  outbox_.push_back(PieceReady{need.object, need.piece, extent});
}

bool ContentSource::poll(ToWorker& out) {
  if (outbox_.empty()) {
    ++turns_;
    take_back();
  }
  if (outbox_.empty()) return false;
  out = outbox_.front();
  outbox_.pop_front();
  return true;
}

}  // namespace sluice::sim
