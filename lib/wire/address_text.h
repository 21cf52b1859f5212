// Addresses as text.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/fixed_vector.h"
#include "wire/ethernet.h"

namespace sluice::wire {

/// Text in place, long enough for any address ("ffff:...:255.255.255.255", 45 characters).
class AddressText {
 public:
  [[nodiscard]] std::string_view view() const { return {characters_.begin(), characters_.size()}; }
  operator std::string_view() const { return view(); }
  /// Appends; what does not fit is cut.
  void append(std::string_view text) {
    for (const char c : text) {
      if (!characters_.push_back(c)) return;
    }
  }

 private:
  FixedVector<char, 48> characters_;
};

/// "192.0.2.1"
[[nodiscard]] AddressText format_ipv4(uint32_t address);
/// "2001:db8::1". Requires: 16 bytes at `address`. Source: RFC 5952.
[[nodiscard]] AddressText format_ipv6(const std::byte* address);
/// "02:00:00:00:00:01"
[[nodiscard]] AddressText format_mac(const MacAddress& mac);

}  // namespace sluice::wire
