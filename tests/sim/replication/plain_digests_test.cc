#include "plain_digests.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::sim {
namespace {

std::string hex(Bytes bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

// RFC 3720 appendix B.4.
TEST(PlainDigests, Crc32c) {
  const std::vector<std::byte> zeros(32), ones(32, std::byte{0xff});
  EXPECT_EQ(plain_digests().crc32c(zeros), 0x8a9136aau);
  EXPECT_EQ(plain_digests().crc32c(ones), 0x62a8ab43u);
  EXPECT_EQ(plain_digests().crc32c(as_byte_span("123456789")), 0xe3069283u);
}

// FIPS 180-4's examples.
TEST(PlainDigests, Sha256) {
  EXPECT_EQ(hex(plain_digests().sha256(as_byte_span("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(plain_digests().sha256(
                as_byte_span("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

// RFC 4231 section 4.3.
TEST(PlainDigests, HmacSha256) {
  EXPECT_EQ(hex(plain_digests().hmac_sha256(as_byte_span("Jefe"),
                                            as_byte_span("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace sluice::sim
