#include "control/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace sluice::control {
namespace {

// Digits with at most one point, cut off the front of `text`.
struct Decimal {
  uint64_t whole = 0;
  uint64_t fraction = 0;       // of fraction_unit
  uint64_t fraction_unit = 1;  // 1, 10, 100 or 1000
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool take_whole(std::string_view& text, uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take_decimal(std::string_view& text, Decimal& out) {
  if (!take_whole(text, out.whole)) return false;
  if (text.empty() || text.front() != '.') return true;
  text.remove_prefix(1);
  size_t digits = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), ++digits) {
    if (digits == 3) return false;
    out.fraction = out.fraction * 10 + static_cast<uint64_t>(text.front() - '0');
    out.fraction_unit *= 10;
  }
  return digits > 0;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// value * unit, or false where 63 bits do not hold it.
bool scale(const Decimal& value, uint64_t unit, uint64_t& out) {
  uint64_t whole = 0;
  uint64_t part = 0;
  if (__builtin_mul_overflow(value.whole, unit, &whole)) return false;
  if (__builtin_mul_overflow(value.fraction, unit, &part)) return false;
  if (__builtin_add_overflow(whole, part / value.fraction_unit, &out)) return false;
  return out <= static_cast<uint64_t>(INT64_MAX);
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&] {
    return fail(
        fmt::format("'{}' is not a size: write bytes, or a number with K, M, G or T, "
                    "as in 512M",
                    text));
  };
  std::string_view rest = text;
  Decimal value;
  if (!take_decimal(rest, value)) return wrong();
  std::string unit = lower(rest);
  if (unit.size() > 1 && unit.ends_with("ib")) {
    unit.resize(unit.size() - 2);
  } else if (unit.ends_with('b')) {
    unit.resize(unit.size() - 1);
  }
  static constexpr std::string_view units = "kmgt";
  uint32_t shift = 0;
  if (!unit.empty()) {
    const size_t index = units.find(unit);
    if (unit.size() != 1 || index == std::string_view::npos) return wrong();
    shift = static_cast<uint32_t>(10 * (index + 1));
  } else if (value.fraction_unit != 1) {
    return wrong();
  }
  uint64_t bytes = 0;
  if (!scale(value, uint64_t{1} << shift, bytes)) return wrong();
  return bytes;
}

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    uint64_t ns;
  };
  static constexpr std::array<Unit, 6> units{{{"", 1'000'000'000},
                                              {"s", 1'000'000'000},
                                              {"ms", 1'000'000},
                                              {"us", 1'000},
                                              {"m", 60'000'000'000},
                                              {"h", 3'600'000'000'000}}};
  std::string_view rest = text;
  Decimal value;
  uint64_t ns = 0;
  if (take_decimal(rest, value)) {
    for (const Unit& unit : units) {
      if (unit.name == rest && scale(value, unit.ns, ns)) {
        return Duration::from_ns(static_cast<int64_t>(ns));
      }
    }
  }
  return fail(
      fmt::format("'{}' is not a time: write a number with us, ms, s, m or h, as in 30s", text));
}

Result<std::vector<uint32_t>> parse_core_list(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(fmt::format("'{}' is not a list of cores ({}): write one as in 1,3-5", text, why));
  };
  std::vector<uint32_t> cores;
  std::string_view rest = text;
  while (true) {
    uint64_t first = 0;
    if (!take_whole(rest, first)) return wrong("a number is missing");
    uint64_t last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      if (!take_whole(rest, last)) return wrong("a number is missing");
    }
    if (last < first) return wrong("a range runs backwards");
    if (last >= 1024) return wrong("core numbers end at 1023");
    for (uint64_t core = first; core <= last; ++core) {
      const auto number = static_cast<uint32_t>(core);
      if (std::find(cores.begin(), cores.end(), number) != cores.end()) {
        return wrong("a core stands twice");
      }
      cores.push_back(number);
    }
    if (rest.empty()) return cores;
    if (rest.front() != ',') return wrong("a comma is missing");
    rest.remove_prefix(1);
  }
}

Result<uint64_t> parse_number(std::string_view text, const Range& range) {
  uint64_t value = 0;
  std::string_view rest = text;
  if (!take_whole(rest, value) || !rest.empty() || value < range.least || value > range.most) {
    return fail(fmt::format("'{}' is not a number from {} to {}", text, range.least, range.most));
  }
  return value;
}

std::string format_size(uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  uint64_t scale = 1;
  while (unit + 1 < units.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  // Two decimals, without trailing zeros.
  const uint64_t hundredths = bytes / scale * 100 + bytes % scale * 100 / scale;
  std::string number = fmt::format("{}", hundredths / 100);
  if (hundredths % 100 != 0) {
    number += fmt::format(".{:02}", hundredths % 100);
    if (number.back() == '0') number.pop_back();
  }
  return fmt::format("{} {}", number, units[unit]);
}

std::string format_count(uint64_t n) {
  std::string digits = fmt::format("{}", n);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string format_core_list(const std::vector<uint32_t>& cores) {
  std::string out;
  for (size_t i = 0; i < cores.size();) {
    size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    if (!out.empty()) out += ',';
    out += last == i ? fmt::format("{}", cores[i]) : fmt::format("{}-{}", cores[i], cores[last]);
    i = last + 1;
  }
  return out;
}

}  // namespace sluice::control
