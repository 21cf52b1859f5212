#include "plain_digests.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace sluice::sim {
namespace {

using replica::Sha256;

// CRC-32C, reflected polynomial 0x82f63b78, eight bytes at a time ("slicing by 8").
std::array<std::array<uint32_t, 256>, 8> make_crc_tables() {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    tables[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t t = 1; t < 8; ++t) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
    }
  }
  return tables;
}

#ifdef __x86_64__
// With the processor's instruction for it: thousands of seeds sum a lot.
__attribute__((target("sse4.2"))) uint32_t crc32c_by_instruction(Bytes data) {
  uint64_t crc = ~0u;
  while (data.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    crc = __builtin_ia32_crc32di(crc, word);
    data = data.subspan(8);
  }
  auto rest = static_cast<uint32_t>(crc);
  for (const std::byte byte : data) {
    rest = __builtin_ia32_crc32qi(rest, static_cast<uint8_t>(byte));
  }
  return ~rest;
}
#endif

uint32_t crc32c(Bytes data) {
#ifdef __x86_64__
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return crc32c_by_instruction(data);
#endif
  static const auto tables = make_crc_tables();
  uint32_t crc = ~0u;
  while (data.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    word ^= crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
    data = data.subspan(8);
  }
  for (const std::byte byte : data) {
    crc = (crc >> 8) ^ tables[0][(crc ^ static_cast<uint32_t>(byte)) & 0xff];
  }
  return ~crc;
}

// FIPS 180-4 section 4.2.2.
constexpr std::array<uint32_t, 64> round_constants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void mix_block(std::array<uint32_t, 8>& state, const std::byte* block) {
  std::array<uint32_t, 64> w{};
  for (size_t i = 0; i < 16; ++i) w[i] = load_be32(block + 4 * i);
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
    const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  const std::array<uint32_t, 8> mixed{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += mixed[i];
}

Sha256 sha256(Bytes data) {
  std::array<uint32_t, 8> state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const uint64_t bits = uint64_t{data.size()} * 8;
  while (data.size() >= 64) {
    mix_block(state, data.data());
    data = data.subspan(64);
  }
  std::array<std::byte, 128> rest{};
  std::copy(data.begin(), data.end(), rest.begin());
  rest[data.size()] = std::byte{0x80};
  const size_t length = data.size() < 56 ? 64 : 128;
  store_be64(&rest[length - 8], bits);
  for (size_t at = 0; at < length; at += 64) mix_block(state, &rest[at]);
  Sha256 digest;
  for (size_t i = 0; i < 8; ++i) store_be32(&digest[4 * i], state[i]);
  return digest;
}

Sha256 hmac_sha256(Bytes key, Bytes data) {
  std::array<std::byte, 64> block{};
  if (key.size() > block.size()) {
    const Sha256 shorter = sha256(key);
    std::copy(shorter.begin(), shorter.end(), block.begin());
  } else {
    std::copy(key.begin(), key.end(), block.begin());
  }
  std::vector<std::byte> inner(64), outer(64);
  for (size_t i = 0; i < 64; ++i) {
    inner[i] = block[i] ^ std::byte{0x36};
    outer[i] = block[i] ^ std::byte{0x5c};
  }
  inner.insert(inner.end(), data.begin(), data.end());
  const Sha256 hash = sha256(inner);
  outer.insert(outer.end(), hash.begin(), hash.end());
  return sha256(outer);
}

}  // namespace

replica::Digests plain_digests() {
  return {.crc32c = crc32c, .sha256 = sha256, .hmac_sha256 = hmac_sha256};
}

}  // namespace sluice::sim
