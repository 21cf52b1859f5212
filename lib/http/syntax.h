// The character classes of HTTP and URIs, and the few text operations that all parsers here share.
//
// Read first: RFC 9110 section 5.6, RFC 3986 appendix A.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluice::http {

namespace character {
inline constexpr uint8_t token = 1;      // tchar
inline constexpr uint8_t path = 2;       // may stand in a path: see in_path below
inline constexpr uint8_t query = 4;      // may stand in a query
inline constexpr uint8_t uri = 8;        // pchar, "/", "?" and "%": needs no encoding in a query
inline constexpr uint8_t reg_name = 16;  // of a host name, but "%"
inline constexpr uint8_t plain = 32;     // pchar without "%": needs no encoding in a path
inline constexpr uint8_t digit = 64;
inline constexpr uint8_t field = 128;  // field-vchar, SP or HTAB
}  // namespace character

[[nodiscard]] constexpr std::array<uint8_t, 256> make_character_classes() {
  std::array<uint8_t, 256> classes{};
  const auto add = [&classes](std::string_view set, uint8_t bits) {
    for (const char c : set) {
      uint8_t& entry = classes[static_cast<unsigned char>(c)];
      entry = static_cast<uint8_t>(entry | bits);
    }
  };
  constexpr std::string_view alpha = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr std::string_view digits = "0123456789";
  constexpr std::string_view sub_delims = "!$&'()*+,;=";
  constexpr uint8_t everywhere = character::token | character::path | character::query |
                                 character::uri | character::reg_name | character::plain;
  constexpr uint8_t in_uri = character::path | character::query | character::uri | character::plain;
  add(alpha, everywhere);
  add(digits, everywhere | character::digit);
  add("!#$%&'*+-.^_`|~", character::token);
  add("-._~", in_uri | character::reg_name);
  add(sub_delims, in_uri | character::reg_name);
  add(":@", in_uri);
  add("/", in_uri);
  add("%", character::path | character::query | character::uri);
  add("?", character::query | character::uri);
  // Deviation from RFC 3986: clients that follow the WHATWG URL standard, curl and wget send these
  // as they are. They have no second meaning, so they stand for themselves.
  add("[]^`{|}", character::path | character::query);
  add("\\", character::query);
  for (size_t c = 0; c < classes.size(); ++c) {
    // RFC 9110 section 5.5: VCHAR, obs-text, and SP or HTAB in between.
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
      classes[c] = static_cast<uint8_t>(classes[c] | character::field);
    }
  }
  return classes;
}

inline constexpr std::array<uint8_t, 256> character_classes = make_character_classes();

[[nodiscard]] constexpr bool is_in(char c, uint8_t classes) {
  return (character_classes[static_cast<unsigned char>(c)] & classes) != 0;
}

/// Length of the run of bytes of a class that `text` starts with.
[[nodiscard]] inline size_t run_length(std::string_view text, uint8_t classes) {
  size_t length = 0;
  while (length < text.size() && is_in(text[length], classes)) ++length;
  return length;
}

/// The value of a hex digit, or -1.
[[nodiscard]] constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Position of the first control byte (below 0x20 except HTAB, or DEL) from `from` on; text.size()
/// when there is none. Eight bytes at a time.
[[nodiscard]] inline size_t find_control(std::string_view text, size_t from) {
  constexpr uint64_t ones = 0x0101010101010101ULL;
  constexpr uint64_t highs = 0x8080808080808080ULL;
  while (from + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + from, sizeof word);
    // The lowest mark of each is exact; borrows reach only the bytes above a true one.
    const uint64_t below_space = (word - ones * 0x20) & ~word & highs;
    const uint64_t flipped = word ^ (ones * 0x7f);
    const uint64_t is_delete = (flipped - ones) & ~flipped & highs;
    const uint64_t marks = below_space | is_delete;
    if (marks == 0) {
      from += 8;
      continue;
    }
    from += static_cast<size_t>(std::countr_zero(marks)) / 8;
    if (text[from] != '\t') return from;
    ++from;
  }
  while (from < text.size() && is_in(text[from], character::field)) ++from;
  return from;
}

/// True when `text` is `lower` in any case. Requires: `lower` has no upper-case letter.
[[nodiscard]] constexpr bool equals_any_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char folded = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if (folded != lower[i]) return false;
  }
  return true;
}

/// Without SP and HTAB at both ends (OWS, RFC 9110 section 5.6.3).
[[nodiscard]] constexpr std::string_view trim_space(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The members of a comma-separated list without quoted strings in it, trimmed; empty ones are
/// passed over (RFC 9110 section 5.6.1.2).
class ListCursor {
 public:
  constexpr explicit ListCursor(std::string_view list) : rest_(list) {}

  [[nodiscard]] constexpr bool next(std::string_view& member) {
    while (!rest_.empty()) {
      const size_t comma = rest_.find(',');
      member = trim_space(rest_.substr(0, comma));
      rest_ = comma == std::string_view::npos ? std::string_view() : rest_.substr(comma + 1);
      if (!member.empty()) return true;
    }
    return false;
  }

 private:
  std::string_view rest_;
};

/// The field lines of a head that was parsed without fault.
class FieldCursor {
 public:
  /// `fields`: Request::fields.
  explicit FieldCursor(std::string_view fields) : rest_(fields) {}

  [[nodiscard]] bool next(std::string_view& name, std::string_view& value) {
    if (rest_.empty()) return false;
    const std::string_view line = rest_.substr(0, rest_.find('\r'));
    rest_.remove_prefix(line.size() + 2 <= rest_.size() ? line.size() + 2 : rest_.size());
    const size_t colon = line.find(':');
    name = line.substr(0, colon);
    value =
        colon == std::string_view::npos ? std::string_view() : trim_space(line.substr(colon + 1));
    return true;
  }

 private:
  std::string_view rest_;
};

}  // namespace sluice::http
