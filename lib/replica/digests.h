// Digests: the checksums and keyed hashes that replication needs, as plain functions of bytes. The
// digest edge gives those of ISA-L and OpenSSL (lib/digest); the pure code knows only these
// signatures.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sluice::replica {

using Sha256 = std::array<std::byte, 32>;

struct Digests {
  /// CRC-32C (RFC 3720 appendix B.4), initial value and final complement included.
  uint32_t (*crc32c)(Bytes data) = nullptr;
  /// FIPS 180-4.
  Sha256 (*sha256)(Bytes data) = nullptr;
  /// RFC 2104 over SHA-256.
  Sha256 (*hmac_sha256)(Bytes key, Bytes data) = nullptr;
};

}  // namespace sluice::replica
