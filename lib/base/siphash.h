// SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash of every table that a peer's bytes
// index.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sluice {

/// A 128-bit secret. Drawn from the kernel at start; fixed in tests.
struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

[[nodiscard]] uint64_t siphash24(const SipKey& key, Bytes data);

/// The 128-bit output variant, for keys that stand for the hashed text itself.
struct SipDigest {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const SipDigest&) const = default;
};
[[nodiscard]] SipDigest siphash24_128(const SipKey& key, Bytes data);

}  // namespace sluice
