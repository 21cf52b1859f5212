// IPv4 headers. Read first: RFC 791, RFC 1122 section 3.2.1, RFC 6864.
//
//    0       1       2       3
//   +-------+-------+---------------+
//   |ver|ihl|DSCP|E | total length  |
//   | identification|flg| frag. off |
//   | TTL   | proto | checksum      |
//   | source                        |
//   | destination                   |
//   | options, (ihl - 5) words      |
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "wire/checksum.h"

namespace sluice::wire {

inline constexpr size_t ipv4_header_bytes = 20;
inline constexpr uint8_t protocol_icmp = 1;
inline constexpr uint8_t protocol_tcp = 6;
inline constexpr uint8_t protocol_udp = 17;
inline constexpr uint8_t protocol_icmpv6 = 58;

inline constexpr uint16_t ipv4_dont_fragment = 0x4000;
inline constexpr uint16_t ipv4_fragment_mask = 0x3fff;  // more-fragments flag and offset

// RFC 3168: the ECN field.
inline constexpr uint8_t ecn_not_capable = 0;
inline constexpr uint8_t ecn_capable_0 = 2;  // ECT(0)
inline constexpr uint8_t ecn_congestion_experienced = 3;

struct Ipv4Header {
  uint8_t header_length = 0;  // with options
  uint8_t ecn = 0;
  uint8_t ttl = 0;
  uint8_t protocol = 0;
  uint16_t total_length = 0;  // as the header says: within the bytes that are there
  bool is_fragment = false;
  uint32_t source = 0;
  uint32_t destination = 0;
};

enum class Ipv4Parse : uint8_t {
  ok,
  truncated,  // shorter than the header it announces
  bad_version,
  bad_header_length,
  bad_total_length,  // below the header, or beyond the bytes that are there
};

/// Parses the header of a packet that may be followed by padding. The checksum is not looked at.
[[nodiscard]] inline Ipv4Parse parse_ipv4(Bytes packet, Ipv4Header& out) {
  if (packet.size() < ipv4_header_bytes) return Ipv4Parse::truncated;
  const std::byte* at = packet.data();
  const uint8_t version_ihl = load_u8(at);
  if (version_ihl >> 4 != 4) return Ipv4Parse::bad_version;
  const size_t header_length = size_t{version_ihl & 0x0fu} * 4;
  if (header_length < ipv4_header_bytes) return Ipv4Parse::bad_header_length;
  if (header_length > packet.size()) return Ipv4Parse::truncated;
  out.total_length = load_be16(at + 2);
  if (out.total_length < header_length || out.total_length > packet.size()) {
    return Ipv4Parse::bad_total_length;
  }
  out.header_length = static_cast<uint8_t>(header_length);
  out.ecn = load_u8(at + 1) & 3;
  out.is_fragment = (load_be16(at + 6) & ipv4_fragment_mask) != 0;
  out.ttl = load_u8(at + 8);
  out.protocol = load_u8(at + 9);
  out.source = load_be32(at + 12);
  out.destination = load_be32(at + 16);
  return Ipv4Parse::ok;
}

/// Is the header checksum right? Requires: parse_ipv4() accepted `packet` as `header`.
[[nodiscard]] inline bool ipv4_checksum_is_valid(Bytes packet, const Ipv4Header& header) {
  return sum_bytes(packet.first(header.header_length)) == 0xffff;
}

struct Ipv4Emit {
  uint8_t protocol = 0;
  uint8_t ecn = ecn_not_capable;
  uint8_t ttl = 64;  // RFC 1700
  uint16_t total_length = 0;
  uint32_t source = 0;
  uint32_t destination = 0;
  bool with_checksum = true;  // false: left zero for wire/segmentation.h or the NIC
};

/// Writes a header without options. Every datagram is atomic (DF set, never fragmented), so its
/// identification means nothing (RFC 6864 section 4.1); it is always 0, which lets a receiver's GRO
/// merge across trains.
/// Returns: bytes written, ipv4_header_bytes. Requires: that much room.
inline size_t emit_ipv4(const Ipv4Emit& emit, MutableBytes out) {
  ASSERT(out.size() >= ipv4_header_bytes);
  std::byte* at = out.data();
  store_u8(at, 0x45);
  store_u8(at + 1, emit.ecn);
  store_be16(at + 2, emit.total_length);
  store_be32(at + 4, ipv4_dont_fragment);
  store_u8(at + 8, emit.ttl);
  store_u8(at + 9, emit.protocol);
  store_be16(at + 10, 0);
  store_be32(at + 12, emit.source);
  store_be32(at + 16, emit.destination);
  if (emit.with_checksum) {
    const uint16_t sum = sum_bytes(out.first(ipv4_header_bytes));
    store_be16(at + 10, static_cast<uint16_t>(~sum));
  }
  return ipv4_header_bytes;
}

/// The pseudo-header's sum. Source: RFC 9293 section 3.1.
struct Ipv4Pseudo {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint8_t protocol = 0;
  uint16_t length = 0;
};
[[nodiscard]] inline uint64_t ipv4_pseudo_sum(const Ipv4Pseudo& pseudo) {
  return uint64_t{pseudo.source >> 16} + (pseudo.source & 0xffff) + (pseudo.destination >> 16) +
         (pseudo.destination & 0xffff) + pseudo.protocol + pseudo.length;
}

}  // namespace sluice::wire
