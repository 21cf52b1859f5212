#include "link.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::perf {

namespace {

constexpr size_t address_bytes = 6;
constexpr size_t learnt_max = 256;  // link addresses remembered

uint64_t address_at(std::span<const std::byte> frame, size_t offset) {
  uint64_t value = 0;
  for (const std::byte b : frame.subspan(offset, address_bytes)) {
    value = value << 8 | std::to_integer<uint64_t>(b);
  }
  return value;
}

Side other(Side side) {
  return side == Side::server ? Side::client : Side::server;
}

}  // namespace

void Link::add(Side side, Tap tap) {
  ends_.push_back({side, std::move(tap)});
}

void Link::configure(Side from, const PathOptions& options) {
  paths_[index(from)] = Path(options, frames_max);
}

std::vector<int> Link::descriptors() const {
  std::vector<int> all;
  for (const End& end : ends_) all.push_back(end.tap.descriptor());
  return all;
}

void Link::read_all(Instant now, size_t number) {
  const End& end = ends_[number];
  std::array<std::byte, 65'600> buffer;  // room for what must be refused
  for (size_t count = 0; count < reads_max; ++count) {
    const size_t length = end.tap.read(buffer);
    if (length == 0) return;
    if (length > frame_bytes_max) {
      ++counters_.oversize;
      continue;
    }
    const std::span<const std::byte> frame(buffer.data(), length);
    if (length < 2 * address_bytes + 2) continue;
    const uint64_t source = address_at(frame, address_bytes);
    if (learnt_.size() < learnt_max || learnt_.contains(source)) learnt_[source] = number;
    paths_[index(end.side)].offer(now, frame);
  }
}

void Link::forward(Side from, std::span<const std::byte> frame) {
  const Side to = other(from);
  const auto known = learnt_.find(address_at(frame, 0));
  for (size_t number = 0; number < ends_.size(); ++number) {
    if (ends_[number].side != to || (known != learnt_.end() && known->second != number)) continue;
    if (!ends_[number].tap.write(frame)) ++counters_.not_written;
  }
}

Instant Link::turn(Instant now) {
  for (size_t number = 0; number < ends_.size(); ++number) read_all(now, number);
  Instant next = Instant::never();
  for (const Side from : {Side::server, Side::client}) {
    Path& path = paths_[index(from)];
    while (const auto frame = path.take(now)) forward(from, *frame);
    next = std::min(next, path.next_due());
  }
  return next;
}

}  // namespace sluice::perf
