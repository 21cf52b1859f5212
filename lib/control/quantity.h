// Quantities as people write them: sizes, times, lists of CPU cores. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace sluice::control {

/// "4096", "64K", "512M", "1.5G", "2T", also "64KiB" and "64kB": always powers of 1024.
/// Errors: says what a size looks like.
[[nodiscard]] Result<uint64_t> parse_size(std::string_view text);

/// "30s", "500ms", "250us", "2m", "1h"; a bare number is seconds.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

/// "0", "2-5", "1,3,8-9", in the order written. Errors: not a list, a core twice, more than 1024.
[[nodiscard]] Result<std::vector<uint32_t>> parse_core_list(std::string_view text);

/// A whole number. Errors: says the range.
struct Range {
  uint64_t least = 0;
  uint64_t most = 0;
};
[[nodiscard]] Result<uint64_t> parse_number(std::string_view text, const Range& range);

/// "0 B", "1023 B", "1.5 KiB", "256 MiB", "1.25 TiB": at most two decimals.
[[nodiscard]] std::string format_size(uint64_t bytes);
/// "1,234,567"
[[nodiscard]] std::string format_count(uint64_t n);
/// "1-3,7"
[[nodiscard]] std::string format_core_list(const std::vector<uint32_t>& cores);

}  // namespace sluice::control
