#include "digest/digest.h"

#include <isa-l/crc.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/assert.h"

namespace sluice::digest {
namespace {

// ISA-L takes lengths as int: longer data goes in steps of this.
constexpr size_t step_bytes = size_t{1} << 30;

unsigned char* as_uchar(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* as_uchar(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

}  // namespace

uint32_t crc32c(Bytes data) {
  // crc32_iscsi() neither sets the register nor complements it: both are the caller's.
  uint32_t crc = 0xffffffff;
  while (!data.empty()) {
    const size_t step = std::min(data.size(), step_bytes);
    // It only reads, but was declared without const.
    crc =
        crc32_iscsi(const_cast<unsigned char*>(as_uchar(data.data())), static_cast<int>(step), crc);
    data = data.subspan(step);
  }
  return ~crc;
}

replica::Sha256 sha256(Bytes data) {
  replica::Sha256 out;
  static_assert(sizeof out == SHA256_DIGEST_LENGTH);
  ASSERT(SHA256(as_uchar(data.data()), data.size(), as_uchar(out.data())) != nullptr);
  return out;
}

replica::Sha256 hmac_sha256(Bytes key, Bytes data) {
  // RFC 2104 section 2: a key longer than a block is hashed first. Here, so that any length fits.
  replica::Sha256 hashed;
  if (key.size() > SHA256_CBLOCK) {
    hashed = sha256(key);
    key = hashed;
  }
  // HMAC() takes a null key for "the last one's".
  static constexpr unsigned char no_key = 0;
  replica::Sha256 out;
  unsigned int size = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), key.empty() ? &no_key : as_uchar(key.data()), static_cast<int>(key.size()),
           as_uchar(data.data()), data.size(), as_uchar(out.data()), &size);
  ASSERT(made != nullptr && size == out.size());
  return out;
}

replica::Digests digests() {
  return {.crc32c = crc32c, .sha256 = sha256, .hmac_sha256 = hmac_sha256};
}

}  // namespace sluice::digest
