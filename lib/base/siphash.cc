#include "base/siphash.h"

#include <bit>
#include <cstring>

namespace sluice {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  explicit State(const SipKey& key)
      : v0(key.k0 ^ 0x736f6d6570736575ULL),
        v1(key.k1 ^ 0x646f72616e646f6dULL),
        v2(key.k0 ^ 0x6c7967656e657261ULL),
        v3(key.k1 ^ 0x7465646279746573ULL) {}

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void absorb(Bytes data) {
    size_t at = 0;
    for (; at + 8 <= data.size(); at += 8) {
      uint64_t word;
      std::memcpy(&word, data.data() + at, 8);
      v3 ^= word;
      round();
      round();
      v0 ^= word;
    }
    uint64_t last = static_cast<uint64_t>(data.size()) << 56;
    for (unsigned i = 0; at + i < data.size(); ++i) {
      last |= static_cast<uint64_t>(load_u8(data.data() + at + i)) << (8 * i);
    }
    v3 ^= last;
    round();
    round();
    v0 ^= last;
  }

  uint64_t finish() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

uint64_t siphash24(const SipKey& key, Bytes data) {
  State state(key);
  state.absorb(data);
  state.v2 ^= 0xff;
  return state.finish();
}

SipDigest siphash24_128(const SipKey& key, Bytes data) {
  State state(key);
  state.v1 ^= 0xee;
  state.absorb(data);
  state.v2 ^= 0xee;
  SipDigest digest;
  digest.low = state.finish();
  state.v1 ^= 0xdd;
  digest.high = state.finish();
  return digest;
}

}  // namespace sluice
