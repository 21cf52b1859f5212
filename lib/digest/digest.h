// The digests of replication (replica/digests.h) by ISA-L and OpenSSL. Thread-safe, no state.
#pragma once

#include "replica/digests.h"

namespace sluice::digest {

/// CRC-32C as RFC 3720 appendix B.4 has it: initial value all ones, result complemented.
[[nodiscard]] uint32_t crc32c(Bytes data);
/// FIPS 180-4.
[[nodiscard]] replica::Sha256 sha256(Bytes data);
/// RFC 2104 over SHA-256. A key of any length, also none.
[[nodiscard]] replica::Sha256 hmac_sha256(Bytes key, Bytes data);

/// The three above.
[[nodiscard]] replica::Digests digests();

}  // namespace sluice::digest
