#include "wire/checksum.h"

#include <immintrin.h>

#include <cstring>

#include "base/assert.h"

namespace sluice::wire {
namespace {

// Sums of 32-bit little-endian words in 64-bit lanes: no carry is lost below 2^32 words.

uint64_t sum_words(const std::byte* at, size_t blocks) {
  uint64_t even = 0;
  uint64_t odd = 0;
  for (size_t i = 0; i < blocks; ++i, at += 32) {
    uint64_t words[4];
    std::memcpy(words, at, 32);
    even += (words[0] & 0xffff'ffff) + (words[1] & 0xffff'ffff);
    odd += (words[0] >> 32) + (words[1] >> 32);
    even += (words[2] & 0xffff'ffff) + (words[3] & 0xffff'ffff);
    odd += (words[2] >> 32) + (words[3] >> 32);
  }
  return (even & 0xffff'ffff) + (even >> 32) + (odd & 0xffff'ffff) + (odd >> 32);
}

uint64_t copy_words(std::byte* to, const std::byte* from, size_t blocks) {
  std::memcpy(to, from, blocks * 32);
  return sum_words(to, blocks);
}

__attribute__((target("avx2"))) uint64_t sum_lanes(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi64x(0xffff'ffff);
  // Fold once before lanes are added, so that nothing overflows.
  const __m256i sum =
      _mm256_add_epi64(_mm256_add_epi64(_mm256_and_si256(a, low), _mm256_srli_epi64(a, 32)),
                       _mm256_add_epi64(_mm256_and_si256(b, low), _mm256_srli_epi64(b, 32)));
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

__attribute__((target("avx2"))) uint64_t sum_words_avx2(const std::byte* at, size_t blocks) {
  const __m256i low = _mm256_set1_epi64x(0xffff'ffff);
  __m256i even = _mm256_setzero_si256();
  __m256i odd = _mm256_setzero_si256();
  __m256i even2 = _mm256_setzero_si256();
  __m256i odd2 = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 2 <= blocks; i += 2, at += 64) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32));
    even = _mm256_add_epi64(even, _mm256_and_si256(first, low));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(first, 32));
    even2 = _mm256_add_epi64(even2, _mm256_and_si256(second, low));
    odd2 = _mm256_add_epi64(odd2, _mm256_srli_epi64(second, 32));
  }
  if (i < blocks) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    even = _mm256_add_epi64(even, _mm256_and_si256(first, low));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(first, 32));
  }
  return sum_lanes(_mm256_add_epi64(even, even2), _mm256_add_epi64(odd, odd2));
}

__attribute__((target("avx2"))) uint64_t copy_words_avx2(std::byte* to, const std::byte* from,
                                                         size_t blocks) {
  const __m256i low = _mm256_set1_epi64x(0xffff'ffff);
  __m256i even = _mm256_setzero_si256();
  __m256i odd = _mm256_setzero_si256();
  for (size_t i = 0; i < blocks; ++i, from += 32, to += 32) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
    even = _mm256_add_epi64(even, _mm256_and_si256(words, low));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(words, 32));
  }
  return sum_lanes(even, odd);
}

const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;

constexpr size_t block_bytes = 32;

// Blocks are of even length, so what follows them joins without a swap.
uint16_t join_tail(uint64_t sum_of_blocks, Bytes tail) {
  return fold_sum(uint64_t{__builtin_bswap16(fold_sum(sum_of_blocks))} + sum_bytes(tail));
}

}  // namespace

uint16_t sum_long(Bytes bytes) {
  const size_t blocks = bytes.size() / block_bytes;
  if (!has_avx2) return sum_long_portable(bytes);
  return join_tail(sum_words_avx2(bytes.data(), blocks), bytes.subspan(blocks * block_bytes));
}

uint16_t sum_long_portable(Bytes bytes) {
  const size_t blocks = bytes.size() / block_bytes;
  return join_tail(sum_words(bytes.data(), blocks), bytes.subspan(blocks * block_bytes));
}

uint16_t copy_and_sum(MutableBytes to, Bytes from) {
  ASSERT(to.size() == from.size());
  const size_t blocks = from.size() / block_bytes;
  const uint64_t sum = has_avx2 ? copy_words_avx2(to.data(), from.data(), blocks)
                                : copy_words(to.data(), from.data(), blocks);
  const Bytes tail = from.subspan(blocks * block_bytes);
  if (!tail.empty()) std::memcpy(to.data() + blocks * block_bytes, tail.data(), tail.size());
  return join_tail(sum, tail);
}

}  // namespace sluice::wire
