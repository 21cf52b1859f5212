#include "tcp/isn.h"

#include <array>

namespace sluice::tcp {
namespace {

constexpr uint64_t domain_isn = 0x69736e;  // "isn": not the key of the flow's hash
constexpr int64_t isn_tick_ns = 4'000;

}  // namespace

SeqNumber initial_seq_number(const SipKey& key, uint64_t flow_hash, Instant now) {
  std::array<std::byte, 8> packed;
  store_be64(packed.data(), flow_hash);
  const auto clock = static_cast<uint32_t>(now.ns() / isn_tick_ns);
  const uint64_t hidden = siphash24({key.k0 ^ domain_isn, key.k1}, packed);
  return SeqNumber(clock + static_cast<uint32_t>(hidden));
}

}  // namespace sluice::tcp
