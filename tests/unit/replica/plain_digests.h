// Digests without an edge, for tests of pure code: a real CRC-32C, and SipHash where SHA-256
// stands. Nothing outside a test may compare what these give with another's.
#pragma once

#include "base/siphash.h"
#include "replica/digests.h"

namespace sluice::replica {

inline uint32_t plain_crc32c(Bytes data) {
  uint32_t crc = 0xffffffff;
  for (const std::byte byte : data) {
    crc ^= static_cast<uint32_t>(byte);
    // RFC 3720 section 12.1: the polynomial 0x11edc6f41, here with its bits reversed.
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
  }
  return ~crc;
}

inline Sha256 plain_sha256(Bytes data) {
  Sha256 out;
  for (uint64_t half = 0; half < 2; ++half) {
    const SipDigest digest = siphash24_128({half, 0x5ca1ab1e}, data);
    std::memcpy(out.data() + half * 16, &digest.low, 8);
    std::memcpy(out.data() + half * 16 + 8, &digest.high, 8);
  }
  return out;
}

inline Sha256 plain_hmac_sha256(Bytes key, Bytes data) {
  const Sha256 hashed_key = plain_sha256(key);
  Sha256 out;
  for (uint64_t half = 0; half < 2; ++half) {
    SipKey sip;
    std::memcpy(&sip, hashed_key.data() + half * 16, 16);
    const SipDigest digest = siphash24_128(sip, data);
    std::memcpy(out.data() + half * 16, &digest.low, 8);
    std::memcpy(out.data() + half * 16 + 8, &digest.high, 8);
  }
  return out;
}

inline constexpr Digests plain_digests{
    .crc32c = plain_crc32c, .sha256 = plain_sha256, .hmac_sha256 = plain_hmac_sha256};

}  // namespace sluice::replica
