#include "tcp/source_limits.h"

#include <array>
#include <bit>

#include "base/assert.h"
#include "base/bytes.h"

namespace sluice::tcp {
namespace {

constexpr uint64_t domain_source = 0x737263;  // "src"

size_t capacity_for(const SourceLimitOptions& options, uint32_t connections_max) {
  return options.enabled() ? std::bit_ceil(size_t{connections_max} * 2) : 1;
}

// The first `length` of 64 bits.
constexpr uint64_t first_bits(unsigned length) {
  if (length == 0) return 0;
  return length >= 64 ? ~uint64_t{0} : ~(~uint64_t{0} >> length);
}

}  // namespace

SourceLimits::SourceLimits(const SourceLimitOptions& options, uint32_t connections_max,
                           const SipKey& key)
    : options_(options),
      key_({key.k0 ^ domain_source, key.k1}),
      entries_(capacity_for(options, connections_max)),
      mask_(static_cast<uint32_t>(entries_.size()) - 1) {}

uint64_t SourceLimits::memory_bytes(const SourceLimitOptions& options, uint32_t connections_max) {
  return capacity_for(options, connections_max) * sizeof(Entry);
}

SourceLimits::Prefix SourceLimits::prefix_of(const inet::Address& remote) const {
  // IPv4 lies in the last 32 bits (RFC 4291 section 2.5.5.2).
  const unsigned length = remote.is_v4() ? 96u + options_.prefix_v4 : options_.prefix_v6;
  return {remote.high() & first_bits(length),
          remote.low() & first_bits(length > 64 ? length - 64 : 0)};
}

uint32_t SourceLimits::home_of(const Prefix& source) const {
  std::array<std::byte, 16> packed;
  store_be64(packed.data(), source.high);
  store_be64(packed.data() + 8, source.low);
  return static_cast<uint32_t>(siphash24(key_, packed)) & mask_;
}

SourceLimits::Count SourceLimits::count(const inet::Address& remote) const {
  const Prefix source = prefix_of(remote);
  // Bounded: half of the entries are free.
  for (uint32_t at = home_of(source); entries_[at].count.open > 0; at = (at + 1) & mask_) {
    if (entries_[at].source == source) return entries_[at].count;
  }
  return {};
}

void SourceLimits::change(const inet::Address& remote, const Change& change) {
  if (!options_.enabled()) return;
  const Prefix source = prefix_of(remote);
  uint32_t at = home_of(source);
  while (entries_[at].count.open > 0 && !(entries_[at].source == source)) at = (at + 1) & mask_;
  Entry& entry = entries_[at];
  if (entry.count.open == 0) {
    ASSERT(change.open > 0);
    entry.source = source;
    ++size_;
    ASSERT(size_t{size_} * 2 <= entries_.size());
  }
  entry.count.open += static_cast<uint32_t>(change.open);
  entry.count.half_open += static_cast<uint32_t>(change.half_open);
  if (entry.count.open > 0) return;
  ASSERT(entry.count.half_open == 0);
  --size_;
  remove(at);
}

// Moves later entries back, so that no probe ends too early (Knuth, volume 3, 6.4 algorithm R).
void SourceLimits::remove(uint32_t hole) {
  for (uint32_t at = (hole + 1) & mask_; entries_[at].count.open > 0; at = (at + 1) & mask_) {
    const uint32_t home = home_of(entries_[at].source);
    if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = {};
}

}  // namespace sluice::tcp
