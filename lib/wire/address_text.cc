#include "wire/address_text.h"

#include <charconv>

namespace sluice::wire {
namespace {

void append_number(AddressText& text, uint32_t value, int base) {
  std::array<char, 12> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base);
  text.append({digits.data(), static_cast<size_t>(end.ptr - digits.data())});
}

constexpr int groups_count = 8;

struct ZeroRun {
  int begin = 0;
  int length = 0;
};

// RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals.
ZeroRun longest_zero_run(const std::array<uint16_t, groups_count>& groups) {
  ZeroRun best;
  ZeroRun run;
  for (int i = 0; i < groups_count; ++i) {
    if (groups[static_cast<size_t>(i)] != 0) {
      run = {};
      continue;
    }
    if (run.length == 0) run.begin = i;
    ++run.length;
    if (run.length > best.length) best = run;
  }
  return best.length >= 2 ? best : ZeroRun{};
}

}  // namespace

AddressText format_ipv4(uint32_t address) {
  AddressText text;
  for (uint32_t i = 0; i < 4; ++i) {
    if (i > 0) text.append(".");
    append_number(text, address >> (24 - 8 * i) & 0xff, 10);
  }
  return text;
}

AddressText format_ipv6(const std::byte* address) {
  std::array<uint16_t, groups_count> groups;
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = load_be16(address + 2 * i);
  const ZeroRun zeros = longest_zero_run(groups);
  AddressText text;
  for (int i = 0; i < groups_count; ++i) {
    if (zeros.length > 0 && i == zeros.begin) {
      text.append("::");
      i += zeros.length - 1;
      continue;
    }
    const bool after_zeros = zeros.length > 0 && i == zeros.begin + zeros.length;
    if (i > 0 && !after_zeros) text.append(":");
    append_number(text, groups[static_cast<size_t>(i)], 16);
  }
  return text;
}

AddressText format_mac(const MacAddress& mac) {
  AddressText text;
  for (size_t i = 0; i < mac_bytes; ++i) {
    if (i > 0) text.append(":");
    if (mac.octets[i] < 16) text.append("0");
    append_number(text, mac.octets[i], 16);
  }
  return text;
}

}  // namespace sluice::wire
