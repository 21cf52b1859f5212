#include "inet/address.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sluice::inet {
namespace {

constexpr size_t groups_count = 8;

// Returns false unless all of `text` is a number of at most `digits_max` digits.
struct NumberShape {
  int base = 10;
  size_t digits_max = 3;
};
bool parse_number(std::string_view text, const NumberShape& shape, uint32_t& out) {
  if (text.empty() || text.size() > shape.digits_max) return false;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), out, shape.base);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

bool parse_v4(std::string_view text, uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i) {
    const size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return false;
    const std::string_view part = text.substr(0, dot);
    uint32_t octet = 0;
    if (!parse_number(part, {}, octet) || octet > 255) return false;
    if (part.size() > 1 && part[0] == '0') return false;  // octal, to some
    out = out << 8 | octet;
    text.remove_prefix(i < 3 ? dot + 1 : dot);
  }
  return true;
}

// Parses "a:b:c" (groups joined by single colons, perhaps ending in an IPv4 address) or "".
bool parse_groups(std::string_view text, FixedVector<uint16_t, groups_count>& out) {
  if (text.empty()) return true;
  for (size_t i = 0; i < groups_count; ++i) {
    const size_t colon = text.find(':');
    const std::string_view part = text.substr(0, colon);
    uint32_t value = 0;
    if (colon == std::string_view::npos && part.find('.') != std::string_view::npos) {
      return parse_v4(part, value) && out.push_back(static_cast<uint16_t>(value >> 16)) &&
             out.push_back(static_cast<uint16_t>(value & 0xffff));
    }
    if (!parse_number(part, {.base = 16, .digits_max = 4}, value)) return false;
    if (!out.push_back(static_cast<uint16_t>(value))) return false;
    if (colon == std::string_view::npos) return true;
    text.remove_prefix(colon + 1);
  }
  return false;
}

bool parse_v6(std::string_view text, Address& out) {
  FixedVector<uint16_t, groups_count> head;
  FixedVector<uint16_t, groups_count> tail;
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!parse_groups(text, head) || head.size() != groups_count) return false;
  } else {
    const std::string_view before = text.substr(0, gap);
    if (before.find('.') != std::string_view::npos) return false;
    if (!parse_groups(before, head) || !parse_groups(text.substr(gap + 2), tail)) return false;
    if (head.size() + tail.size() >= groups_count) return false;
  }
  std::array<std::byte, 16> bytes{};
  for (size_t i = 0; i < head.size(); ++i) store_be16(bytes.data() + 2 * i, head[i]);
  const size_t tail_at = groups_count - tail.size();
  for (size_t i = 0; i < tail.size(); ++i) store_be16(bytes.data() + 2 * (tail_at + i), tail[i]);
  out = Address::v6(bytes.data());
  return true;
}

uint64_t mask_of(unsigned bits) {
  return bits == 0 ? 0 : ~uint64_t{0} << (64 - std::min(bits, 64u));
}

}  // namespace

Address link_local_of(const wire::MacAddress& mac) {
  const auto octet = [&mac](size_t i) { return uint64_t{mac.octets[i]}; };
  const uint64_t low = (octet(0) ^ 2) << 56 | octet(1) << 48 | octet(2) << 40 | 0xfffeull << 24 |
                       octet(3) << 16 | octet(4) << 8 | octet(5);
  return Address::words(0xfe80'0000'0000'0000, low);
}

wire::MacAddress multicast_mac_of(const Address& group) {
  wire::MacAddress mac{{0x33, 0x33, 0, 0, 0, 0}};
  std::memcpy(mac.octets.data() + 2, group.data() + 12, 4);
  return mac;
}

bool parse_address(std::string_view text, Address& out) {
  if (text.find(':') != std::string_view::npos) return parse_v6(text, out);
  uint32_t bits = 0;
  if (!parse_v4(text, bits)) return false;
  out = Address::v4(bits);
  return true;
}

wire::AddressText format(const Address& address) {
  return address.is_v4() ? wire::format_ipv4(address.v4_bits()) : wire::format_ipv6(address.data());
}

bool Prefix::contains(const Address& other) const {
  if (address.is_v4() != other.is_v4()) return false;
  const unsigned bits = address.is_v4() ? 96u + length : length;
  const uint64_t high = (address.high() ^ other.high()) & mask_of(std::min(bits, 64u));
  const uint64_t low = (address.low() ^ other.low()) & mask_of(bits > 64 ? bits - 64 : 0);
  return (high | low) == 0;
}

bool Prefix::is_broadcast(const Address& other) const {
  // RFC 3021: a /31 has no broadcast address.
  if (!address.is_v4() || length > 30 || !contains(other)) return false;
  const auto host = static_cast<uint32_t>(uint64_t{0xffff'ffff} >> length);
  return (other.v4_bits() & host) == host;
}

bool parse_prefix(std::string_view text, Prefix& out) {
  const size_t slash = text.find('/');
  if (!parse_address(text.substr(0, slash), out.address)) return false;
  const uint32_t longest = out.address.is_v4() ? 32 : 128;
  uint32_t length = longest;
  if (slash != std::string_view::npos) {
    if (!parse_number(text.substr(slash + 1), {}, length) || length > longest) return false;
  }
  out.length = static_cast<uint8_t>(length);
  return true;
}

wire::AddressText format(const Prefix& prefix) {
  wire::AddressText text = format(prefix.address);
  std::array<char, 4> digits{'/'};
  const auto end = std::to_chars(digits.data() + 1, digits.data() + digits.size(), prefix.length);
  text.append({digits.data(), static_cast<size_t>(end.ptr - digits.data())});
  return text;
}

}  // namespace sluice::inet
