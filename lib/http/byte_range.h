// Byte ranges: RFC 9110 section 14.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::http {

struct ByteRange {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;

  bool operator==(const ByteRange&) const = default;
};

enum class RangeOutcome : uint8_t {
  ignored,        // not a valid bytes range, or several that are not one run: send all (200)
  satisfiable,    // one run of bytes (206)
  unsatisfiable,  // valid, but nothing of it is there (416)
};

struct RangeResult {
  RangeOutcome outcome = RangeOutcome::ignored;
  ByteRange range;  // satisfiable: within the size, and not empty
};

// RFC 9110 section 14.2: a server may ignore ranges that are many, small or overlapping.
inline constexpr size_t ranges_max = 16;

/// Reads the value of a Range field for a representation of `size_bytes`.
/// Several ranges that overlap or touch, in any order, are answered as the one run they cover.
/// Several that leave a gap are ignored: multipart/byteranges is never sent.
[[nodiscard]] RangeResult parse_range(std::string_view value, uint64_t size_bytes);

}  // namespace sluice::http
