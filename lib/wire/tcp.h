// TCP headers and options. Read first: RFC 9293 section 3.1, RFC 7323, RFC 2018.
//
//    0       1       2       3
//   +---------------+---------------+
//   | source port   | dest. port    |
//   | sequence number               |
//   | acknowledgment number         |
//   |off|0 |flags   | window        |
//   | checksum      | urgent pointer|
//   | options                       |
#pragma once

#include <array>
#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fixed_vector.h"

namespace sluice::wire {

inline constexpr size_t tcp_header_bytes = 20;
inline constexpr size_t tcp_header_max_bytes = 60;

namespace tcp_flag {
inline constexpr uint8_t fin = 0x01;
inline constexpr uint8_t syn = 0x02;
inline constexpr uint8_t rst = 0x04;
inline constexpr uint8_t psh = 0x08;
inline constexpr uint8_t ack = 0x10;
inline constexpr uint8_t urg = 0x20;
inline constexpr uint8_t ece = 0x40;
inline constexpr uint8_t cwr = 0x80;
}  // namespace tcp_flag

struct TcpHeader {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgment = 0;
  uint8_t flags = 0;
  uint16_t window = 0;  // as on the wire, not scaled
  uint16_t urgent = 0;

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

/// A received segment, parsed in place: `options` and `payload` point into it.
struct TcpSegmentView {
  TcpHeader header;
  Bytes options;
  Bytes payload;
};

/// Returns false when the header does not fit. The checksum is not looked at.
[[nodiscard]] inline bool parse_tcp(Bytes segment, TcpSegmentView& out) {
  if (segment.size() < tcp_header_bytes) return false;
  const std::byte* at = segment.data();
  const size_t header_length = size_t{load_u8(at + 12)} >> 4 << 2;
  if (header_length < tcp_header_bytes || header_length > segment.size()) return false;
  out.header.source_port = load_be16(at);
  out.header.destination_port = load_be16(at + 2);
  out.header.sequence = load_be32(at + 4);
  out.header.acknowledgment = load_be32(at + 8);
  out.header.flags = load_u8(at + 13);
  out.header.window = load_be16(at + 14);
  out.header.urgent = load_be16(at + 18);
  out.options = segment.subspan(tcp_header_bytes, header_length - tcp_header_bytes);
  out.payload = segment.subspan(header_length);
  return true;
}

/// Received bytes [left, right).
struct SackBlock {
  uint32_t left = 0;
  uint32_t right = 0;
  bool operator==(const SackBlock&) const = default;
};

struct TcpOptions {
  static constexpr size_t sack_blocks_max = 4;

  bool has_mss = false;
  bool has_window_scale = false;
  bool sack_permitted = false;
  bool has_timestamps = false;
  uint8_t window_scale = 0;  // as received; RFC 7323 section 2.3 caps it at 14 where it is used
  uint16_t mss = 0;
  uint32_t timestamp_value = 0;
  uint32_t timestamp_echo = 0;
  // RFC 7413 section 2. A cookie of no bytes asks for one; other lengths than 4 to 16 and even ones
  // are as if the option were not there.
  static constexpr size_t fast_open_bytes_max = 16;
  bool has_fast_open = false;
  uint8_t fast_open_length = 0;
  std::array<std::byte, fast_open_bytes_max> fast_open_cookie{};
  FixedVector<SackBlock, sack_blocks_max> sack;
};

/// Parses an options area. Unknown options are skipped; of a repeated option the last one counts.
/// Returns false when a length is impossible: `out` then holds what came before.
/// Source: RFC 9293 section 3.2 (MUST-6, MUST-7).
[[nodiscard]] bool parse_tcp_options(Bytes options, TcpOptions& out);

/// The bytes emit_tcp() will take for these options, header included: 20 to 60, a multiple of 4.
/// SACK blocks that do not fit are left out (from the end).
[[nodiscard]] size_t tcp_header_length(const TcpOptions& options);

/// Writes header and options, the checksum zero.
/// Returns: bytes written, tcp_header_length(options). Requires: that much room.
size_t emit_tcp(const TcpHeader& header, const TcpOptions& options, MutableBytes out);

}  // namespace sluice::wire
