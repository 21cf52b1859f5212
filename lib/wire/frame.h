// RxFrame and TxFrame: bytes on a wire. A received frame is borrowed for one call; a sent frame is
// described (headers and extents), never stored.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/fixed_vector.h"
#include "content/ids.h"

namespace sluice::wire {

/// What the NIC says of a checksum.
enum class RxChecksum : uint8_t {
  unknown,  // verify in software
  good,
  bad,
};

struct RxFrame {
  Bytes bytes;  // from the Ethernet destination address on, without FCS; borrowed
  RxChecksum ip_checksum = RxChecksum::unknown;
  RxChecksum l4_checksum = RxChecksum::unknown;
};

/// A frame to be sent, or a train of frames that differ in sequence number, length and checksum
/// only.
///
///   header[0 .. header_length)   Ethernet, optional 802.1Q, IP, TCP or ICMP header; then `payload`
///
/// The checksum fields of IPv4 and TCP in `header` are zero: wire/segmentation.h, or the NIC, fills
/// them in. ICMP and ARP frames are complete as they are.
struct TxFrame {
  static constexpr size_t header_capacity = 128;  // 14 + 4 + 40 + 60, and room
  static constexpr size_t extents_max = 4;
  static constexpr uint32_t payload_max_bytes = 65'000;  // keeps the IPv4 total length in 16 bits

  std::array<std::byte, header_capacity> header;
  uint16_t header_length = 0;
  uint8_t l2_length = 0;
  uint8_t l3_length = 0;  // 0: neither IPv4 nor IPv6 (ARP)
  uint8_t l4_length = 0;  // 0: not TCP, nothing to be filled in behind the IP header
  bool is_ipv6 = false;
  // Payload bytes per frame. payload_length <= segment_size: one frame. More: a train, TCP only.
  uint16_t segment_size = 0;
  uint32_t payload_length = 0;
  FixedVector<content::Extent, extents_max> payload;

  [[nodiscard]] Bytes header_bytes() const { return {header.data(), header_length}; }
  [[nodiscard]] uint32_t frame_count() const {
    if (segment_size == 0 || payload_length <= segment_size) return 1;
    return (payload_length + segment_size - 1) / segment_size;
  }
  void clear() {
    header_length = 0;
    l2_length = l3_length = l4_length = 0;
    is_ipv6 = false;
    segment_size = 0;
    payload_length = 0;
    payload.clear();
  }
};

}  // namespace sluice::wire
