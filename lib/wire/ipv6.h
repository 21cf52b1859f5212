// IPv6 headers and the walk over extension headers. Read first: RFC 8200.
//
//    0       1       2       3
//   +-------+-------+---------------+
//   |ver|class  | flow label        |
//   | payload length|next hdr|hop lim|
//   | source, 16 bytes              |
//   | destination, 16 bytes         |
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"

namespace sluice::wire {

inline constexpr size_t ipv6_header_bytes = 40;
inline constexpr size_t ipv6_address_bytes = 16;
inline constexpr uint16_t ipv6_minimum_mtu = 1280;  // RFC 8200 section 5

// Next-header values that are extension headers (RFC 8200 section 4).
inline constexpr uint8_t next_header_hop_by_hop = 0;
inline constexpr uint8_t next_header_routing = 43;
inline constexpr uint8_t next_header_fragment = 44;
inline constexpr uint8_t next_header_none = 59;
inline constexpr uint8_t next_header_destination = 60;

struct Ipv6Header {
  uint8_t ecn = 0;
  uint8_t next_header = 0;
  uint8_t hop_limit = 0;
  uint16_t payload_length = 0;             // within the bytes that are there
  const std::byte* source = nullptr;       // 16 bytes, in the packet
  const std::byte* destination = nullptr;  // 16 bytes, in the packet
};

enum class Ipv6Parse : uint8_t { ok, truncated, bad_version, bad_payload_length };

/// Parses the header of a packet that may be followed by padding.
[[nodiscard]] inline Ipv6Parse parse_ipv6(Bytes packet, Ipv6Header& out) {
  if (packet.size() < ipv6_header_bytes) return Ipv6Parse::truncated;
  const std::byte* at = packet.data();
  const uint16_t first = load_be16(at);
  if (first >> 12 != 6) return Ipv6Parse::bad_version;
  out.ecn = (first >> 4) & 3;
  out.payload_length = load_be16(at + 4);
  if (out.payload_length > packet.size() - ipv6_header_bytes) return Ipv6Parse::bad_payload_length;
  out.next_header = load_u8(at + 6);
  out.hop_limit = load_u8(at + 7);
  out.source = at + 8;
  out.destination = at + 24;
  return Ipv6Parse::ok;
}

/// How a walk over extension headers ended.
enum class ExtensionWalk : uint8_t {
  upper_layer,       // protocol and offset are those of a header that is not an extension
  no_next_header,    // RFC 8200 section 4.7: nothing follows
  fragment,          // a fragment header, atomic fragments included
  truncated,         // an extension header reaches beyond the packet
  too_many,          // more headers or bytes than anyone sends
  discard,           // an unknown option says: discard silently
  bad_option,        // an unknown option says: discard and answer (code 2), `pointer` is at it
  bad_option_quiet,  // the same, but no answer when the destination is multicast
  bad_routing,       // a routing header with segments left (code 0), `pointer` is at its type
  misplaced,         // hop-by-hop options not right after the IPv6 header (code 1), `pointer`
};

struct ExtensionResult {
  ExtensionWalk outcome = ExtensionWalk::truncated;
  uint8_t protocol = 0;           // upper_layer: its next-header value
  uint16_t offset_bytes = 0;      // upper_layer: where it begins, from the IPv6 header on
  uint16_t pointer_bytes = 0;     // bad_*, misplaced: where the fault is, from the IPv6 header on
  uint16_t protocol_pointer = 0;  // upper_layer: where the byte `protocol` was read
};

/// Walks from the IPv6 header to the upper layer. Bounded: at most `extension_headers_max` headers
/// and `extension_bytes_max` bytes.
/// Requires: parse_ipv6() accepted `packet`, which is cut to the length the header says.
/// Source: RFC 8200 sections 4.1 to 4.7.
[[nodiscard]] ExtensionResult walk_extensions(Bytes packet);

// RFC 8504 section 5.3 lets a node limit extension headers and options.
inline constexpr size_t extension_headers_max = 8;
inline constexpr size_t extension_bytes_max = 512;

struct Ipv6Emit {
  uint8_t next_header = 0;
  uint8_t ecn = ecn_not_capable;
  uint8_t hop_limit = 64;
  uint16_t payload_length = 0;
  uint32_t flow_label = 0;                 // 20 bits
  const std::byte* source = nullptr;       // 16 bytes
  const std::byte* destination = nullptr;  // 16 bytes
};

/// Returns: bytes written, ipv6_header_bytes. Requires: that much room.
inline size_t emit_ipv6(const Ipv6Emit& emit, MutableBytes out) {
  ASSERT(out.size() >= ipv6_header_bytes);
  std::byte* at = out.data();
  store_be32(at, 0x6000'0000u | (uint32_t{emit.ecn} << 20) | (emit.flow_label & 0xf'ffff));
  store_be16(at + 4, emit.payload_length);
  store_u8(at + 6, emit.next_header);
  store_u8(at + 7, emit.hop_limit);
  std::memcpy(at + 8, emit.source, ipv6_address_bytes);
  std::memcpy(at + 24, emit.destination, ipv6_address_bytes);
  return ipv6_header_bytes;
}

/// The pseudo-header's sum. Source: RFC 8200 section 8.1.
struct Ipv6Pseudo {
  const std::byte* source = nullptr;       // 16 bytes
  const std::byte* destination = nullptr;  // 16 bytes
  uint8_t protocol = 0;
  uint32_t length = 0;
};
[[nodiscard]] inline uint64_t ipv6_pseudo_sum(const Ipv6Pseudo& pseudo) {
  return uint64_t{sum_bytes({pseudo.source, ipv6_address_bytes})} +
         sum_bytes({pseudo.destination, ipv6_address_bytes}) + pseudo.protocol +
         (pseudo.length >> 16) + (pseudo.length & 0xffff);
}

}  // namespace sluice::wire
