#include "wire/tcp.h"

#include <algorithm>

namespace sluice::wire {
namespace {

// RFC 9293 section 3.2, RFC 7323, RFC 2018.
constexpr uint8_t option_end = 0;
constexpr uint8_t option_nop = 1;
constexpr uint8_t option_mss = 2;
constexpr uint8_t option_window_scale = 3;
constexpr uint8_t option_sack_permitted = 4;
constexpr uint8_t option_sack = 5;
constexpr uint8_t option_timestamps = 8;
constexpr uint8_t option_fast_open = 34;  // RFC 7413 section 4.1.1

// NOP NOP TS 10: what nearly every segment has (RFC 7323 appendix A).
constexpr uint32_t padded_timestamps = 0x0101'080a;
constexpr size_t padded_timestamps_bytes = 12;
constexpr size_t sack_block_bytes = 8;
constexpr size_t sack_padded_header_bytes = 4;

void read_sack(Bytes value, TcpOptions& out) {
  out.sack.clear();
  for (size_t at = 0; at + sack_block_bytes <= value.size(); at += sack_block_bytes) {
    const SackBlock block{load_be32(value.data() + at), load_be32(value.data() + at + 4)};
    if (!out.sack.push_back(block)) return;
  }
}

// Returns false when the length is impossible for the kind.
bool read_option(uint8_t kind, Bytes value, TcpOptions& out) {
  switch (kind) {
    case option_mss:
      if (value.size() != 2) return false;
      out.has_mss = true;
      out.mss = load_be16(value.data());
      return true;
    case option_window_scale:
      if (value.size() != 1) return false;
      out.has_window_scale = true;
      out.window_scale = load_u8(value.data());
      return true;
    case option_sack_permitted:
      if (!value.empty()) return false;
      out.sack_permitted = true;
      return true;
    case option_sack:
      if (value.size() % sack_block_bytes != 0) return false;
      read_sack(value, out);
      return true;
    case option_timestamps:
      if (value.size() != 8) return false;
      out.has_timestamps = true;
      out.timestamp_value = load_be32(value.data());
      out.timestamp_echo = load_be32(value.data() + 4);
      return true;
    case option_fast_open:
      if (value.size() % 2 != 0 || value.size() > TcpOptions::fast_open_bytes_max ||
          (!value.empty() && value.size() < 4)) {
        return true;
      }
      out.has_fast_open = true;
      out.fast_open_length = static_cast<uint8_t>(value.size());
      std::copy(value.begin(), value.end(), out.fast_open_cookie.begin());
      return true;
    default:
      return true;
  }
}

size_t fast_open_padded_bytes(const TcpOptions& options) {
  return (2 + size_t{options.fast_open_length} + 3) / 4 * 4;
}

// Bytes of the options but SACK, with their padding.
size_t fixed_options_bytes(const TcpOptions& options) {
  size_t bytes = 0;
  if (options.has_mss) bytes += 4;
  if (options.has_window_scale) bytes += 4;
  if (options.has_timestamps) bytes += padded_timestamps_bytes;
  // Two padding bytes of the timestamps carry it (RFC 7323 appendix A); else padded itself.
  if (options.sack_permitted && !options.has_timestamps) bytes += 4;
  if (options.has_fast_open) bytes += fast_open_padded_bytes(options);
  return bytes;
}

size_t sack_blocks_that_fit(const TcpOptions& options) {
  const size_t room = tcp_header_max_bytes - tcp_header_bytes - fixed_options_bytes(options);
  if (options.sack.empty() || room < sack_padded_header_bytes + sack_block_bytes) return 0;
  return std::min(options.sack.size(), (room - sack_padded_header_bytes) / sack_block_bytes);
}

}  // namespace

bool parse_tcp_options(Bytes options, TcpOptions& out) {
  out = TcpOptions{};
  const std::byte* data = options.data();
  size_t at = 0;
  if (options.size() >= padded_timestamps_bytes && load_be32(data) == padded_timestamps) {
    out.has_timestamps = true;
    out.timestamp_value = load_be32(data + 4);
    out.timestamp_echo = load_be32(data + 8);
    at = padded_timestamps_bytes;
  }
  while (at < options.size()) {
    const uint8_t kind = load_u8(data + at);
    if (kind == option_end) return true;
    if (kind == option_nop) {
      ++at;
      continue;
    }
    if (options.size() - at < 2) return false;
    const size_t length = load_u8(data + at + 1);
    if (length < 2 || length > options.size() - at) return false;
    if (!read_option(kind, options.subspan(at + 2, length - 2), out)) return false;
    at += length;
  }
  return true;
}

size_t tcp_header_length(const TcpOptions& options) {
  const size_t blocks = sack_blocks_that_fit(options);
  return tcp_header_bytes + fixed_options_bytes(options) +
         (blocks > 0 ? sack_padded_header_bytes + blocks * sack_block_bytes : 0);
}

size_t emit_tcp(const TcpHeader& header, const TcpOptions& options, MutableBytes out) {
  const size_t length = tcp_header_length(options);
  ASSERT(out.size() >= length);
  std::byte* at = out.data();
  store_be16(at, header.source_port);
  store_be16(at + 2, header.destination_port);
  store_be32(at + 4, header.sequence);
  store_be32(at + 8, header.acknowledgment);
  store_u8(at + 12, static_cast<uint8_t>(length / 4 << 4));
  store_u8(at + 13, header.flags);
  store_be16(at + 14, header.window);
  store_be16(at + 16, 0);
  store_be16(at + 18, header.urgent);
  at += tcp_header_bytes;
  if (options.has_mss) {
    store_be32(at, 0x0204'0000u | options.mss);
    at += 4;
  }
  if (options.has_timestamps) {
    store_be32(at, options.sack_permitted ? 0x0402'080au : padded_timestamps);
    store_be32(at + 4, options.timestamp_value);
    store_be32(at + 8, options.timestamp_echo);
    at += padded_timestamps_bytes;
  } else if (options.sack_permitted) {
    store_be32(at, 0x0101'0402);
    at += 4;
  }
  if (options.has_window_scale) {
    store_be32(at, 0x0103'0300u | options.window_scale);
    at += 4;
  }
  if (options.has_fast_open) {
    const size_t padded = fast_open_padded_bytes(options);
    const size_t padding = padded - 2 - options.fast_open_length;
    std::fill_n(at, padding, std::byte{option_nop});
    store_u8(at + padding, option_fast_open);
    store_u8(at + padding + 1, static_cast<uint8_t>(2 + options.fast_open_length));
    std::copy_n(options.fast_open_cookie.begin(), options.fast_open_length, at + padding + 2);
    at += padded;
  }
  const size_t blocks = sack_blocks_that_fit(options);
  if (blocks > 0) {
    const auto sack_length = static_cast<uint32_t>(2 + blocks * sack_block_bytes);
    store_be32(at, 0x0101'0500u | sack_length);
    at += sack_padded_header_bytes;
    for (size_t i = 0; i < blocks; ++i, at += sack_block_bytes) {
      store_be32(at, options.sack[i].left);
      store_be32(at + 4, options.sack[i].right);
    }
  }
  return length;
}

}  // namespace sluice::wire
