// Neighbour Discovery messages. Read first: RFC 4861 sections 4, 6.1 and 7.1.
//
// Each is an ICMPv6 header, a fixed part, and options of (type, length in units of 8, value). The
// parsers do the checks that RFC 4861 asks of the message itself; hop limit, checksum and addresses
// of the packet are the caller's.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/ethernet.h"

namespace sluice::wire {

inline constexpr uint8_t ndp_hop_limit = 255;

namespace ndp_option {
inline constexpr uint8_t source_link_address = 1;
inline constexpr uint8_t target_link_address = 2;
inline constexpr uint8_t mtu = 5;
}  // namespace ndp_option

/// What the known options said. Unknown ones are skipped.
struct NdpOptions {
  bool has_source_mac = false;
  bool has_target_mac = false;
  bool has_mtu = false;
  MacAddress source_mac;
  MacAddress target_mac;
  uint32_t mtu = 0;
};

/// Returns false when an option has length zero or reaches beyond the message.
[[nodiscard]] bool parse_ndp_options(Bytes options, NdpOptions& out);

struct NeighborSolicitation {
  const std::byte* target = nullptr;  // 16 bytes, in the message
  NdpOptions options;
};
/// Requires: `message` begins at the ICMPv6 type, which is neighbor_solicitation.
[[nodiscard]] bool parse_neighbor_solicitation(Bytes message, NeighborSolicitation& out);

struct NeighborAdvertisement {
  bool router = false;
  bool solicited = false;
  bool override = false;
  const std::byte* target = nullptr;  // 16 bytes
  NdpOptions options;
};
[[nodiscard]] bool parse_neighbor_advertisement(Bytes message, NeighborAdvertisement& out);

struct RouterAdvertisement {
  uint8_t hop_limit = 0;           // 0: not said
  int8_t preference = 0;           // RFC 4191: -1, 0, 1
  uint16_t lifetime_s = 0;         // 0: not a default router
  uint32_t reachable_time_ms = 0;  // 0: not said
  uint32_t retransmit_ms = 0;      // 0: not said
  NdpOptions options;
};
[[nodiscard]] bool parse_router_advertisement(Bytes message, RouterAdvertisement& out);

// Emitters write from the ICMPv6 type on, checksum zero, and return the bytes written.
inline constexpr size_t neighbor_message_max_bytes = 32;
inline constexpr size_t router_solicitation_max_bytes = 16;

struct EmitSolicitation {
  const std::byte* target = nullptr;  // 16 bytes
  MacAddress source_mac;
};
size_t emit_neighbor_solicitation(const EmitSolicitation& emit, MutableBytes out);

struct EmitAdvertisement {
  bool solicited = false;
  bool override = false;
  const std::byte* target = nullptr;  // 16 bytes
  MacAddress target_mac;
};
size_t emit_neighbor_advertisement(const EmitAdvertisement& emit, MutableBytes out);

size_t emit_router_solicitation(const MacAddress& source_mac, MutableBytes out);

}  // namespace sluice::wire
