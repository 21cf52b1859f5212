#include "http/byte_range.h"

#include <algorithm>
#include <limits>

#include "base/fixed_vector.h"
#include "http/syntax.h"

namespace sluice::http {
namespace {

constexpr uint64_t number_max = std::numeric_limits<uint64_t>::max();

// 1*DIGIT, saturated.
uint64_t saturated_number(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (number_max - digit) / 10) return number_max;
    value = value * 10 + digit;
  }
  return value;
}

// a < b for numbers of any length.
bool is_less(std::string_view a, std::string_view b) {
  const auto without_zeros = [](std::string_view digits) {
    return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
  };
  const std::string_view left = without_zeros(a);
  const std::string_view right = without_zeros(b);
  return left.size() != right.size() ? left.size() < right.size() : left < right;
}

enum class SpecOutcome : uint8_t {
  invalid,
  unsatisfiable,
  satisfiable,
  // RFC 9110 section 14.1.2: a suffix of an empty representation is satisfiable, yet no 206 can say
  // so (there is no last position): all of it is sent, which is nothing.
  all_of_nothing,
};

struct Spec {
  SpecOutcome outcome = SpecOutcome::invalid;
  ByteRange range;
};

// int-range = first-pos "-" [ last-pos ]; suffix-range = "-" suffix-length
Spec parse_spec(std::string_view text, uint64_t size_bytes) {
  const std::string_view first = text.substr(0, run_length(text, character::digit));
  text.remove_prefix(first.size());
  if (!text.starts_with('-')) return {};
  text.remove_prefix(1);
  const std::string_view last = text.substr(0, run_length(text, character::digit));
  if (last.size() != text.size() || (first.empty() && last.empty())) return {};

  if (first.empty()) {
    const uint64_t wanted = saturated_number(last);
    if (wanted == 0) return {.outcome = SpecOutcome::unsatisfiable};
    if (size_bytes == 0) return {.outcome = SpecOutcome::all_of_nothing};
    const uint64_t length = std::min(wanted, size_bytes);
    return {SpecOutcome::satisfiable, {size_bytes - length, length}};
  }
  if (!last.empty() && is_less(last, first)) return {};
  const uint64_t from = saturated_number(first);
  if (from >= size_bytes) return {.outcome = SpecOutcome::unsatisfiable};
  const uint64_t to =
      last.empty() ? size_bytes - 1 : std::min(saturated_number(last), size_bytes - 1);
  return {SpecOutcome::satisfiable, {from, to - from + 1}};
}

// The one run that the ranges cover, if they leave no gap.
RangeResult coalesce(std::span<ByteRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset_bytes < b.offset_bytes; });
  const uint64_t start = ranges.front().offset_bytes;
  uint64_t end = start;
  for (const ByteRange& range : ranges) {
    if (range.offset_bytes > end) return {};
    end = std::max(end, range.offset_bytes + range.length_bytes);
  }
  return {RangeOutcome::satisfiable, {start, end - start}};
}

}  // namespace

RangeResult parse_range(std::string_view value, uint64_t size_bytes) {
  // ranges-specifier = range-unit "=" range-set; unit names in any case.
  const size_t equals = value.find('=');
  if (equals == std::string_view::npos || !equals_any_case(value.substr(0, equals), "bytes")) {
    return {};
  }
  FixedVector<ByteRange, ranges_max> satisfiable;
  size_t specs = 0;
  bool is_all_of_nothing = false;
  ListCursor list(value.substr(equals + 1));
  std::string_view member;
  while (list.next(member)) {
    const Spec spec = parse_spec(member, size_bytes);
    if (spec.outcome == SpecOutcome::invalid || ++specs > ranges_max) return {};
    if (spec.outcome == SpecOutcome::all_of_nothing) is_all_of_nothing = true;
    if (spec.outcome == SpecOutcome::satisfiable && !satisfiable.push_back(spec.range)) return {};
  }
  if (specs == 0) return {};
  if (!satisfiable.empty()) return coalesce({satisfiable.begin(), satisfiable.size()});
  if (is_all_of_nothing) return {};
  return {.outcome = RangeOutcome::unsatisfiable};
}

}  // namespace sluice::http
