// Ethernet II frames and 802.1Q tags.
//
//    0               6              12        14
//   +---------------+---------------+---------+
//   | destination   | source        | type    |                    untagged: 14 bytes
//   +---------------+---------------+---------+---------+
//   | destination   | source        | 0x8100  | TCI     | type ...  tagged: 18 bytes
//   +---------------+---------------+---------+---------+
//
// Source: IEEE 802.3, IEEE 802.1Q.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"

namespace sluice::wire {

inline constexpr uint16_t ether_type_ipv4 = 0x0800;
inline constexpr uint16_t ether_type_arp = 0x0806;
inline constexpr uint16_t ether_type_vlan = 0x8100;
inline constexpr uint16_t ether_type_ipv6 = 0x86dd;

inline constexpr size_t mac_bytes = 6;
inline constexpr size_t ethernet_header_bytes = 14;
inline constexpr size_t vlan_tag_bytes = 4;
inline constexpr uint16_t vlan_id_mask = 0x0fff;

struct MacAddress {
  std::array<uint8_t, mac_bytes> octets{};

  bool operator==(const MacAddress&) const = default;

  [[nodiscard]] static constexpr MacAddress broadcast() {
    return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  }
  /// Requires: mac_bytes bytes at `from`.
  [[nodiscard]] static MacAddress load(const std::byte* from) {
    MacAddress mac;
    std::memcpy(mac.octets.data(), from, mac_bytes);
    return mac;
  }
  void store(std::byte* to) const { std::memcpy(to, octets.data(), mac_bytes); }

  /// Group bit: multicast and broadcast.
  [[nodiscard]] bool is_group() const { return (octets[0] & 1) != 0; }
  [[nodiscard]] bool is_broadcast() const { return *this == broadcast(); }
  [[nodiscard]] bool is_zero() const { return *this == MacAddress{}; }
  /// An address that one station can have.
  [[nodiscard]] bool is_station() const { return !is_group() && !is_zero(); }
};

struct EthernetHeader {
  MacAddress destination;
  MacAddress source;
  uint16_t ether_type = 0;  // of what follows the tag, if there is one
  uint16_t vlan_id = 0;
  bool tagged = false;

  [[nodiscard]] size_t length() const {
    return ethernet_header_bytes + (tagged ? vlan_tag_bytes : 0);
  }
};

/// Returns false when the frame is too short for its header.
[[nodiscard]] inline bool parse_ethernet(Bytes frame, EthernetHeader& out) {
  if (frame.size() < ethernet_header_bytes) return false;
  out.destination = MacAddress::load(frame.data());
  out.source = MacAddress::load(frame.data() + 6);
  out.ether_type = load_be16(frame.data() + 12);
  out.tagged = out.ether_type == ether_type_vlan;
  out.vlan_id = 0;
  if (!out.tagged) return true;
  if (frame.size() < ethernet_header_bytes + vlan_tag_bytes) return false;
  out.vlan_id = load_be16(frame.data() + 14) & vlan_id_mask;
  out.ether_type = load_be16(frame.data() + 16);
  return true;
}

/// Returns: bytes written, header.length(). Requires: that much room.
inline size_t emit_ethernet(const EthernetHeader& header, MutableBytes out) {
  ASSERT(out.size() >= header.length());
  header.destination.store(out.data());
  header.source.store(out.data() + 6);
  std::byte* at = out.data() + 12;
  if (header.tagged) {
    store_be16(at, ether_type_vlan);
    store_be16(at + 2, header.vlan_id & vlan_id_mask);
    at += vlan_tag_bytes;
  }
  store_be16(at, header.ether_type);
  return header.length();
}

}  // namespace sluice::wire
