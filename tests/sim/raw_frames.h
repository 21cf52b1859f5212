// Raw frames for the reference client: bytes, checksums and headers, written without any of lib/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::sim {

using Frame = std::vector<uint8_t>;

struct HostAddress {
  std::array<uint8_t, 6> mac{};
  std::array<uint8_t, 16> ip{};  // IPv4 in the last four bytes when !is_ipv6
  bool is_ipv6 = false;
};

/// Host `last` of 10.0.0.0/24 or fd00::/64.
[[nodiscard]] HostAddress make_host(bool ipv6, uint8_t last);

[[nodiscard]] inline uint16_t get16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] << 8 | p[1]);
}
[[nodiscard]] inline uint32_t get32(const uint8_t* p) {
  return uint32_t{get16(p)} << 16 | get16(p + 2);
}
inline void put16(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void put32(uint8_t* p, uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}

/// The Internet checksum of `n` bytes, added to `sum`; finish() folds and complements it.
[[nodiscard]] uint32_t sum16(const uint8_t* p, size_t n, uint32_t sum);
[[nodiscard]] uint16_t finish(uint32_t sum);
[[nodiscard]] uint16_t transport_checksum(const uint8_t* ip, bool is_ipv6, uint8_t protocol,
                                          const uint8_t* l4, size_t l4_bytes);

struct ParsedTcp {
  const uint8_t* tcp = nullptr;
  size_t tcp_bytes = 0;
  uint8_t ecn = 0;  // the two bits of the IP header
};
/// Returns false when the frame is not TCP from `server` to `self`; a wrong header or checksum is
/// added to `violations`.
[[nodiscard]] bool parse_tcp(const HostAddress& self, const HostAddress& server, const Frame& frame,
                             ParsedTcp& out, std::vector<std::string>& violations);

/// Ethernet and IP headers in front of `tcp_bytes` of TCP, written into `frame`, which is sized
/// for them. Returns: where TCP begins.
uint8_t* put_headers(const HostAddress& self, const HostAddress& server, size_t tcp_bytes,
                     Frame& frame);

/// Answers ARP requests and neighbour solicitations for `self`. Returns true and fills `reply` if
/// `frame` was one.
[[nodiscard]] bool answer_neighbor(const HostAddress& self, const Frame& frame, Frame& reply);

}  // namespace sluice::sim
