// Address and Prefix: one type for IPv4 and IPv6.
//
// An IPv4 address is kept as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that everything above
// the wire compares two words and never asks for the family.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/assert.h"
#include "base/bytes.h"
#include "wire/address_text.h"

namespace sluice::inet {

class Address {
 public:
  /// The unspecified IPv6 address, ::
  constexpr Address() = default;
  [[nodiscard]] static constexpr Address v4(uint32_t host_order) {
    return Address(0, mapped_word | (uint64_t{__builtin_bswap32(host_order)} << 32));
  }
  /// Requires: 16 bytes at `from`.
  [[nodiscard]] static Address v6(const std::byte* from) {
    Address address;
    std::memcpy(address.words_, from, 16);
    return address;
  }
  /// From two big-endian halves given as numbers: words(0x20010db800000000, 1) is 2001:db8::1.
  [[nodiscard]] static constexpr Address words(uint64_t high, uint64_t low) {
    return Address(__builtin_bswap64(high), __builtin_bswap64(low));
  }

  constexpr bool operator==(const Address& other) const {
    return ((words_[0] ^ other.words_[0]) | (words_[1] ^ other.words_[1])) == 0;
  }

  [[nodiscard]] constexpr bool is_v4() const {
    return words_[0] == 0 && (words_[1] & 0xffff'ffff) == mapped_word;
  }
  /// Host order. Requires: is_v4().
  [[nodiscard]] constexpr uint32_t v4_bits() const {
    return __builtin_bswap32(static_cast<uint32_t>(words_[1] >> 32));
  }
  /// The 16 bytes in network order.
  [[nodiscard]] const std::byte* data() const { return reinterpret_cast<const std::byte*>(words_); }
  [[nodiscard]] Bytes bytes() const { return {data(), 16}; }
  /// The halves as big-endian numbers.
  [[nodiscard]] constexpr uint64_t high() const { return __builtin_bswap64(words_[0]); }
  [[nodiscard]] constexpr uint64_t low() const { return __builtin_bswap64(words_[1]); }
  /// The halves as they lie in memory: for hashing.
  [[nodiscard]] constexpr uint64_t first_word() const { return words_[0]; }
  [[nodiscard]] constexpr uint64_t second_word() const { return words_[1]; }

  [[nodiscard]] constexpr bool is_unspecified() const {
    return *this == Address() || *this == v4(0);
  }
  /// 224.0.0.0/4 or ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const {
    return is_v4() ? v4_bits() >> 28 == 0xe : (words_[0] & 0xff) == 0xff;
  }
  /// 127.0.0.0/8 or ::1.
  [[nodiscard]] constexpr bool is_loopback() const {
    return is_v4() ? v4_bits() >> 24 == 127 : *this == words(0, 1);
  }
  /// fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const { return (words_[0] & 0xc0ff) == 0x80fe; }

  /// ff02::1:ffXX:XXXX of this address. Source: RFC 4291 section 2.7.1.
  [[nodiscard]] constexpr Address solicited_node() const {
    return words(0xff02'0000'0000'0000, 0x0000'0001'ff00'0000 | (low() & 0xff'ffff));
  }

 private:
  // ::ffff:0:0/96 as the second word lies in memory: bytes 00 00 ff ff, then the IPv4 address.
  static constexpr uint64_t mapped_word = 0xffff'0000;

  constexpr Address(uint64_t first, uint64_t second) : words_{first, second} {}
  uint64_t words_[2] = {0, 0};  // the bytes in network order
};

/// ff02::1
inline constexpr Address all_nodes = Address::words(0xff02'0000'0000'0000, 1);
/// ff02::2
inline constexpr Address all_routers = Address::words(0xff02'0000'0000'0000, 2);

/// fe80::/64 with the modified EUI-64 of a MAC. Source: RFC 4291 appendix A, RFC 2464 section 5.
[[nodiscard]] Address link_local_of(const wire::MacAddress& mac);
/// 33:33 and the last four bytes. Source: RFC 2464 section 7.
[[nodiscard]] wire::MacAddress multicast_mac_of(const Address& group);

/// "192.0.2.1" or "2001:db8::1" (also ::ffff:192.0.2.1, which is the IPv4 address).
/// Returns false when the text is not exactly one address.
[[nodiscard]] bool parse_address(std::string_view text, Address& out);
[[nodiscard]] wire::AddressText format(const Address& address);

/// An address with the length of the prefix that is on the link: "192.0.2.1/24".
struct Prefix {
  Address address;     // host bits are kept: they are our address on that link
  uint8_t length = 0;  // of its own family: 0 to 32, or 0 to 128

  bool operator==(const Prefix&) const = default;
  /// Are the first `length` bits the same, and the family too?
  [[nodiscard]] bool contains(const Address& other) const;
  /// IPv4 with a broadcast address (length <= 30): is it that?
  [[nodiscard]] bool is_broadcast(const Address& other) const;
};

/// "192.0.2.1/24"; without "/n" the whole address is the prefix.
[[nodiscard]] bool parse_prefix(std::string_view text, Prefix& out);
[[nodiscard]] wire::AddressText format(const Prefix& prefix);

}  // namespace sluice::inet
