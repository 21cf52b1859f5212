#include "digest/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace sluice::digest {
namespace {

std::string hex(const replica::Sha256& digest) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : digest) {
    text += digits[static_cast<unsigned>(byte) >> 4];
    text += digits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

std::vector<std::byte> repeated(size_t count, unsigned value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

// RFC 3720 appendix B.4. The RFC prints the CRC in the order of transmission, least significant
// byte first.
TEST(Crc32c, MatchesRfc3720) {
  EXPECT_EQ(crc32c(repeated(32, 0)), 0x8a9136aaU);
  EXPECT_EQ(crc32c(repeated(32, 0xff)), 0x62a8ab43U);
  std::vector<std::byte> rising(32);
  for (size_t i = 0; i < 32; ++i) rising[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
  std::reverse(rising.begin(), rising.end());
  EXPECT_EQ(crc32c(rising), 0x113fdb5cU);
  // An iSCSI SCSI READ (10) command PDU.
  std::vector<std::byte> command(48);
  command[0] = std::byte{0x01};
  command[1] = std::byte{0xc0};
  command[16] = std::byte{0x14};
  command[22] = std::byte{0x04};
  command[27] = std::byte{0x14};
  command[31] = std::byte{0x18};
  command[32] = std::byte{0x28};
  command[40] = std::byte{0x02};
  EXPECT_EQ(crc32c(command), 0xd9963a56U);
}

TEST(Crc32c, OfTheCheckStringAndOfNothing) {
  EXPECT_EQ(crc32c(as_byte_span("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32c, OfAPieceNoticesEveryByte) {
  std::vector<std::byte> piece = repeated(4096 + 13, 0x5a);
  const uint32_t whole = crc32c(piece);
  for (size_t i = 0; i < piece.size(); i += 101) {
    piece[i] ^= std::byte{1};
    EXPECT_NE(crc32c(piece), whole) << i;
    piece[i] ^= std::byte{1};
  }
}

// FIPS 180-4 examples of NIST.
TEST(Sha256, MatchesNist) {
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256(as_byte_span("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256(as_byte_span("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

// RFC 4231 sections 4.2, 4.3, 4.7 and 4.8.
TEST(HmacSha256, MatchesRfc4231) {
  EXPECT_EQ(hex(hmac_sha256(repeated(20, 0x0b), as_byte_span("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(hmac_sha256(as_byte_span("Jefe"), as_byte_span("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(
      hex(hmac_sha256(repeated(131, 0xaa),
                      as_byte_span("Test Using Larger Than Block-Size Key - Hash Key First"))),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacSha256, TakesNoKeyAndNoData) {
  const std::string empty = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
  EXPECT_EQ(hex(hmac_sha256({}, {})), empty);
  (void)hmac_sha256(as_byte_span("another key first"), {});
  EXPECT_EQ(hex(hmac_sha256({}, {})), empty);
}

}  // namespace
}  // namespace sluice::digest
