// SeqNumber and StreamOffset: TCP's 32-bit circle, and the straight line that we count on.
//
// Read first: RFC 9293 section 3.4. Sequence numbers are compared modulo 2^32 and live only in
// headers; a connection counts in StreamOffsets, which never wrap, and converts at the edge:
//
//   StreamOffset   0     1 ........ n      n+1
//                 SYN   first ... last     FIN          sequence number = initial + offset
#pragma once

#include <compare>
#include <cstdint>

namespace sluice::tcp {

/// A sequence or acknowledgment number as in the header. There is no total order on a circle, hence
/// no operator<=>: the comparisons hold for numbers less than 2^31 apart.
class SeqNumber {
 public:
  constexpr SeqNumber() = default;
  constexpr explicit SeqNumber(uint32_t value) : value_(value) {}
  [[nodiscard]] constexpr uint32_t value() const { return value_; }

  friend constexpr bool operator==(SeqNumber, SeqNumber) = default;
  friend constexpr bool operator<(SeqNumber a, SeqNumber b) { return a - b < 0; }
  friend constexpr bool operator<=(SeqNumber a, SeqNumber b) { return a - b <= 0; }
  friend constexpr bool operator>(SeqNumber a, SeqNumber b) { return a - b > 0; }
  friend constexpr bool operator>=(SeqNumber a, SeqNumber b) { return a - b >= 0; }

  friend constexpr SeqNumber operator+(SeqNumber a, uint32_t n) { return SeqNumber(a.value_ + n); }
  friend constexpr SeqNumber operator-(SeqNumber a, uint32_t n) { return SeqNumber(a.value_ - n); }
  /// The signed distance from b to a.
  friend constexpr int32_t operator-(SeqNumber a, SeqNumber b) {
    return static_cast<int32_t>(a.value_ - b.value_);
  }

 private:
  uint32_t value_ = 0;
};

/// A position in one direction of a connection, counted from its initial sequence number: 0 is the
/// SYN, the first byte of data is 1. Never wraps.
class StreamOffset {
 public:
  constexpr StreamOffset() = default;
  constexpr explicit StreamOffset(uint64_t value) : value_(value) {}
  [[nodiscard]] constexpr uint64_t value() const { return value_; }

  constexpr auto operator<=>(const StreamOffset&) const = default;
  constexpr StreamOffset& operator+=(uint64_t n) {
    value_ += n;
    return *this;
  }
  friend constexpr StreamOffset operator+(StreamOffset a, uint64_t n) {
    return StreamOffset(a.value_ + n);
  }
  /// Requires: a is not less than n.
  friend constexpr StreamOffset operator-(StreamOffset a, uint64_t n) {
    return StreamOffset(a.value_ - n);
  }
  /// The distance from b to a. Requires: b <= a.
  friend constexpr uint64_t operator-(StreamOffset a, StreamOffset b) {
    return a.value_ - b.value_;
  }

 private:
  uint64_t value_ = 0;
};

/// The header's number for an offset.
[[nodiscard]] constexpr SeqNumber wrap(SeqNumber initial, StreamOffset offset) {
  return initial + static_cast<uint32_t>(offset.value());
}

/// The offset that `number` stands for, as the one nearest to `near`. A number from before the
/// connection's beginning comes back as a value of 2^63 and more: far outside of every window, as
/// it should be.
[[nodiscard]] constexpr StreamOffset unwrap(SeqNumber initial, SeqNumber number,
                                            StreamOffset near) {
  const int64_t distance = number - wrap(initial, near);
  return StreamOffset(near.value() + static_cast<uint64_t>(distance));
}

static_assert(SeqNumber(0xffffffff) < SeqNumber(1));
static_assert(unwrap(SeqNumber(0xfffffff0), SeqNumber(0x10), StreamOffset(5)).value() == 0x20);

}  // namespace sluice::tcp
