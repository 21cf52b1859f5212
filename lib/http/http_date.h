// HTTP dates: RFC 9110 section 5.6.7.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace sluice::http {

inline constexpr size_t http_date_bytes = 29;  // "Sun, 06 Nov 1994 08:49:37 GMT"

/// Writes an IMF-fixdate. Years are kept within 1 to 9999.
/// Units: seconds since 1970-01-01 00:00:00 UTC.
void format_http_date(int64_t unix_s, std::span<char, http_date_bytes> out);

/// Reads any of the three formats: IMF-fixdate, RFC 850, asctime. `now_unix_s` decides the century
/// of the second: not more than 50 years ahead.
/// Returns nothing when `text` is not exactly one valid date.
[[nodiscard]] std::optional<int64_t> parse_http_date(std::string_view text, int64_t now_unix_s);

/// The present second, and its text for the Date field, formatted once a second.
class DateCache {
 public:
  DateCache() { set(0); }
  explicit DateCache(int64_t unix_s) { set(unix_s); }

  void set(int64_t unix_s) {
    if (unix_s == unix_s_) return;
    unix_s_ = unix_s;
    format_http_date(unix_s, text_);
  }
  [[nodiscard]] int64_t unix_s() const { return unix_s_; }
  [[nodiscard]] std::string_view text() const { return {text_.data(), text_.size()}; }

 private:
  int64_t unix_s_ = std::numeric_limits<int64_t>::min();
  std::array<char, http_date_bytes> text_{};
};

}  // namespace sluice::http
