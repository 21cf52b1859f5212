#include "tcp/isn.h"

namespace sluice::tcp {
namespace {

// Tells the two functions of one key apart.
constexpr uint64_t domain_isn = 0x69736e;      // "isn"
constexpr uint64_t domain_timestamp = 0x7473;  // "ts"
constexpr int64_t isn_tick_ns = 4'000;

SipKey derived(const SipKey& key, uint64_t domain) {
  return {key.k0 ^ domain, key.k1};
}

}  // namespace

SeqNumber initial_seq_number(const SipKey& key, const Flow& flow, Instant now) {
  const auto clock = static_cast<uint32_t>(now.ns() / isn_tick_ns);
  return SeqNumber(clock + static_cast<uint32_t>(flow_hash(derived(key, domain_isn), flow)));
}

uint32_t timestamp_offset(const SipKey& key, const Flow& flow) {
  return static_cast<uint32_t>(flow_hash(derived(key, domain_timestamp), flow));
}

}  // namespace sluice::tcp
