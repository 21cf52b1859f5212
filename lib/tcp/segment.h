// Segment: one received segment with its options, and the writing of headers.
//
// Read first: RFC 9293 section 3.1, RFC 7323. The generic parser and emitter are lib/wire's; here
// stands the one layout that nearly every segment of an established connection has (RFC 7323
// appendix A), done in a few loads and stores:
//
//   | 20 bytes | NOP NOP 08 10 | TSval | TSecr |
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "tcp/flow.h"
#include "tcp/seq_number.h"
#include "wire/tcp.h"

namespace sluice::tcp {

inline constexpr uint32_t timestamps_word = 0x0101080a;
inline constexpr size_t timestamps_bytes = 12;

/// A received segment. `payload` is borrowed.
struct Segment {
  SeqNumber seq;
  SeqNumber ack;
  uint32_t window = 0;  // as on the wire
  uint8_t flags = 0;
  bool congestion_experienced = false;  // marked on its way: RFC 3168
  bool has_timestamps = false;
  uint32_t ts_value = 0;
  uint32_t ts_echo = 0;
  Bytes payload;
  Bytes options;  // unparsed; empty when there was nothing but timestamps

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
  /// SEG.LEN: SYN and FIN count.
  [[nodiscard]] uint32_t length() const {
    return static_cast<uint32_t>(payload.size()) + (has(wire::tcp_flag::syn) ? 1 : 0) +
           (has(wire::tcp_flag::fin) ? 1 : 0);
  }
};

/// Fills in `out` and the ports of `flow`. Returns false when the header does not fit.
[[nodiscard]] inline bool parse_segment(Bytes bytes, Segment& out, Flow& flow) {
  wire::TcpSegmentView view;
  if (!wire::parse_tcp(bytes, view)) return false;
  flow.remote_port = view.header.source_port;
  flow.local_port = view.header.destination_port;
  out.seq = SeqNumber(view.header.sequence);
  out.ack = SeqNumber(view.header.acknowledgment);
  out.window = view.header.window;
  out.flags = view.header.flags;
  out.payload = view.payload;
  out.options = view.options;
  if (view.options.size() == timestamps_bytes &&
      load_be32(view.options.data()) == timestamps_word) {
    out.has_timestamps = true;
    out.ts_value = load_be32(view.options.data() + 4);
    out.ts_echo = load_be32(view.options.data() + 8);
    out.options = {};
  }
  return true;
}

/// An ECN-setup SYN-ACK has ECE and not CWR: RFC 3168 section 6.1.1.
[[nodiscard]] constexpr uint8_t syn_ack_flags(bool ecn) {
  return wire::tcp_flag::syn | wire::tcp_flag::ack | (ecn ? wire::tcp_flag::ece : 0);
}

/// A header to be written.
struct HeaderOut {
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  SeqNumber seq;
  SeqNumber ack;
  uint8_t flags = 0;
  uint16_t window = 0;
  bool timestamps = false;
  uint32_t ts_value = 0;
  uint32_t ts_echo = 0;
};

/// Writes a header with timestamps or no options at all, the checksum zero.
/// Returns: its length. Requires: room for it.
inline uint8_t emit_header(const HeaderOut& in, std::byte* out) {
  store_be16(out, in.local_port);
  store_be16(out + 2, in.remote_port);
  store_be32(out + 4, in.seq.value());
  store_be32(out + 8, in.ack.value());
  const uint8_t words = in.timestamps ? 8 : 5;
  store_u8(out + 12, static_cast<uint8_t>(words << 4));
  store_u8(out + 13, in.flags);
  store_be16(out + 14, in.window);
  store_be32(out + 16, 0);
  if (in.timestamps) {
    store_be32(out + 20, timestamps_word);
    store_be32(out + 24, in.ts_value);
    store_be32(out + 28, in.ts_echo);
  }
  return static_cast<uint8_t>(words * 4);
}

}  // namespace sluice::tcp
