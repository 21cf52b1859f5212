// The internet checksum. Read first: RFC 1071, RFC 1624.
//
// A *sum* here is the folded 16-bit one's-complement sum of the big-endian words of some bytes, not
// complemented; the last odd byte counts as if a zero followed. Sums of adjoining runs of bytes can
// be added, whatever their lengths: a run that begins at an odd offset has its sum byte-swapped
// (RFC 1071 section 2 (B)). 0x0000 and 0xffff both mean zero.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sluice::wire {

/// Folds to 16 bits.
[[nodiscard]] inline uint16_t fold_sum(uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffff'ffff);
  sum = (sum >> 32) + (sum & 0xffff'ffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(sum);
}

/// The sum of long runs; uses AVX2 where the CPU has it. Prefer sum_bytes().
[[nodiscard]] uint16_t sum_long(Bytes bytes);
/// The same on a CPU without AVX2: apart, so that tests reach it on any machine.
[[nodiscard]] uint16_t sum_long_portable(Bytes bytes);

/// The sum of `bytes`.
[[nodiscard]] inline uint16_t sum_bytes(Bytes bytes) {
  if (bytes.size() > 96) return sum_long(bytes);
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  uint64_t sum = 0;  // of little-endian words: the byte order of a sum can be mended at the end
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    sum += (word & 0xffff'ffff) + (word >> 32);
  }
  if (left >= 4) {
    uint32_t word;
    std::memcpy(&word, at, 4);
    sum += word;
    at += 4;
    left -= 4;
  }
  if (left >= 2) {
    uint16_t word;
    std::memcpy(&word, at, 2);
    sum += word;
    at += 2;
    left -= 2;
  }
  if (left > 0) sum += load_u8(at);
  return __builtin_bswap16(fold_sum(sum));
}

/// Copies `from` to `to` and returns the sum of it: one pass over memory where payload must be
/// copied anyway. Requires: to.size() == from.size(), no overlap.
[[nodiscard]] uint16_t copy_and_sum(MutableBytes to, Bytes from);

/// The sum of a run of `first_bytes` bytes with sum `first`, followed by a run with sum `next`.
struct SumPair {
  uint16_t first = 0;
  uint64_t first_bytes = 0;
  uint16_t next = 0;
};
[[nodiscard]] inline uint16_t join_sums(const SumPair& pair) {
  const uint16_t next = pair.first_bytes % 2 != 0 ? __builtin_bswap16(pair.next) : pair.next;
  return fold_sum(uint64_t{pair.first} + next);
}

/// The sum of what follows the first `first_bytes` bytes, from the sum of the whole and the sum of
/// that first part. With sums kept per block this turns a segment's sum into a subtraction and two
/// edges.
struct SumDifference {
  uint16_t whole = 0;
  uint16_t first = 0;
  uint64_t first_bytes = 0;
};
[[nodiscard]] inline uint16_t rest_of_sum(const SumDifference& difference) {
  const auto complement = static_cast<uint16_t>(~difference.first);
  const uint16_t rest = fold_sum(uint64_t{difference.whole} + complement);
  return difference.first_bytes % 2 != 0 ? __builtin_bswap16(rest) : rest;
}

/// A checksum in the making, over pieces of any length in their order on the wire.
class Checksum {
 public:
  void add(Bytes bytes) { add_sum(sum_bytes(bytes), bytes.size()); }
  /// As add(), for `length_bytes` bytes whose sum is known.
  void add_sum(uint16_t sum, uint64_t length_bytes) {
    sum_ += odd_ ? __builtin_bswap16(sum) : sum;
    odd_ ^= length_bytes % 2 != 0;
  }
  /// Words of a pseudo-header, or of fields whose bytes are not at hand.
  void add_u16(uint16_t word) { sum_ += word; }
  void add_u32(uint32_t word) { sum_ += (word >> 16) + (word & 0xffff); }

  [[nodiscard]] uint16_t sum() const { return fold_sum(sum_); }
  /// The value of the checksum field (host order: store_be16).
  [[nodiscard]] uint16_t value() const { return static_cast<uint16_t>(~sum()); }
  /// For bytes received with their checksum field: is it right?
  [[nodiscard]] bool is_valid() const { return sum() == 0xffff; }

 private:
  uint64_t sum_ = 0;
  bool odd_ = false;
};

/// The checksum after one 16-bit word under it changed.
/// Source: RFC 1624 section 3, equation 3.
struct WordChange {
  uint16_t checksum = 0;
  uint16_t before = 0;
  uint16_t after = 0;
};
[[nodiscard]] inline uint16_t update_checksum(const WordChange& change) {
  const auto not_checksum = static_cast<uint16_t>(~change.checksum);
  const auto not_before = static_cast<uint16_t>(~change.before);
  return static_cast<uint16_t>(~fold_sum(uint64_t{not_checksum} + not_before + change.after));
}

}  // namespace sluice::wire
