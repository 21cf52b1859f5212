// ICMPv4 and ICMPv6 messages. Read first: RFC 792, RFC 4443.
//
//    0       1       2       3
//   +-------+-------+---------------+
//   | type  | code  | checksum      |
//   | rest of header                |   echo: identifier, sequence; too big: MTU; ...
//   | data: echo data, or the packet that an error is about           |
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"

namespace sluice::wire {

inline constexpr size_t icmp_header_bytes = 8;

namespace icmpv4 {
inline constexpr uint8_t echo_reply = 0;
inline constexpr uint8_t unreachable = 3;
inline constexpr uint8_t echo_request = 8;
inline constexpr uint8_t time_exceeded = 11;
inline constexpr uint8_t parameter_problem = 12;
// Codes of `unreachable` (RFC 792, RFC 1122 section 3.2.2.1, RFC 1191).
inline constexpr uint8_t code_network = 0;
inline constexpr uint8_t code_host = 1;
inline constexpr uint8_t code_protocol = 2;
inline constexpr uint8_t code_port = 3;
inline constexpr uint8_t code_fragmentation_needed = 4;
inline constexpr uint8_t code_network_prohibited = 9;
inline constexpr uint8_t code_host_prohibited = 10;
inline constexpr uint8_t code_prohibited = 13;
}  // namespace icmpv4

namespace icmpv6 {
inline constexpr uint8_t unreachable = 1;
inline constexpr uint8_t packet_too_big = 2;
inline constexpr uint8_t time_exceeded = 3;
inline constexpr uint8_t parameter_problem = 4;
inline constexpr uint8_t echo_request = 128;
inline constexpr uint8_t echo_reply = 129;
inline constexpr uint8_t router_solicitation = 133;
inline constexpr uint8_t router_advertisement = 134;
inline constexpr uint8_t neighbor_solicitation = 135;
inline constexpr uint8_t neighbor_advertisement = 136;
inline constexpr uint8_t redirect = 137;
inline constexpr uint8_t mld_query = 130;
inline constexpr uint8_t mld_report_v1 = 131;
inline constexpr uint8_t mld_report_v2 = 143;
// RFC 4443: types below 128 are errors.
inline constexpr uint8_t first_informational = 128;
// Codes of `unreachable`.
inline constexpr uint8_t code_no_route = 0;
inline constexpr uint8_t code_prohibited = 1;
inline constexpr uint8_t code_address = 3;
inline constexpr uint8_t code_port = 4;
// Codes of `parameter_problem`.
inline constexpr uint8_t code_header_field = 0;
inline constexpr uint8_t code_next_header = 1;
inline constexpr uint8_t code_option = 2;
}  // namespace icmpv6

struct IcmpView {
  uint8_t type = 0;
  uint8_t code = 0;
  uint32_t rest = 0;  // the second word
  Bytes data;         // what follows the 8 bytes
};

/// Returns false when it is shorter than its header. The checksum is not looked at.
[[nodiscard]] inline bool parse_icmp(Bytes message, IcmpView& out) {
  if (message.size() < icmp_header_bytes) return false;
  out.type = load_u8(message.data());
  out.code = load_u8(message.data() + 1);
  out.rest = load_be32(message.data() + 4);
  out.data = message.subspan(icmp_header_bytes);
  return true;
}

struct IcmpEmit {
  uint8_t type = 0;
  uint8_t code = 0;
  uint16_t checksum = 0;
  uint32_t rest = 0;
};

/// Returns: bytes written, icmp_header_bytes. Requires: that much room.
inline size_t emit_icmp(const IcmpEmit& emit, MutableBytes out) {
  ASSERT(out.size() >= icmp_header_bytes);
  store_u8(out.data(), emit.type);
  store_u8(out.data() + 1, emit.code);
  store_be16(out.data() + 2, emit.checksum);
  store_be32(out.data() + 4, emit.rest);
  return icmp_header_bytes;
}

}  // namespace sluice::wire
