// ARP for IPv4 over Ethernet. Read first: RFC 826, RFC 5227.
//
//    0     2      4   5   6     8           14          18          24          28
//   +-----+------+---+---+-----+-----------+-----------+-----------+-----------+
//   | 1   |0x0800| 6 | 4 | op  | sender MAC| sender IP | target MAC| target IP |
//   +-----+------+---+---+-----+-----------+-----------+-----------+-----------+
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "wire/ethernet.h"

namespace sluice::wire {

inline constexpr size_t arp_bytes = 28;
inline constexpr uint16_t arp_request = 1;
inline constexpr uint16_t arp_reply = 2;

struct ArpPacket {
  uint16_t operation = 0;
  MacAddress sender_mac;
  uint32_t sender_ip = 0;
  MacAddress target_mac;
  uint32_t target_ip = 0;
};

/// Returns false when it is too short, or not IPv4 over Ethernet.
[[nodiscard]] inline bool parse_arp(Bytes bytes, ArpPacket& out) {
  if (bytes.size() < arp_bytes) return false;
  const std::byte* at = bytes.data();
  // Hardware type 1, protocol type 0x0800, lengths 6 and 4.
  if (load_be32(at) != 0x0001'0800 || load_be16(at + 4) != 0x0604) return false;
  out.operation = load_be16(at + 6);
  out.sender_mac = MacAddress::load(at + 8);
  out.sender_ip = load_be32(at + 14);
  out.target_mac = MacAddress::load(at + 18);
  out.target_ip = load_be32(at + 24);
  return true;
}

/// Returns: bytes written, arp_bytes. Requires: that much room.
inline size_t emit_arp(const ArpPacket& packet, MutableBytes out) {
  ASSERT(out.size() >= arp_bytes);
  std::byte* at = out.data();
  store_be32(at, 0x0001'0800);
  store_be16(at + 4, 0x0604);
  store_be16(at + 6, packet.operation);
  packet.sender_mac.store(at + 8);
  store_be32(at + 14, packet.sender_ip);
  packet.target_mac.store(at + 18);
  store_be32(at + 24, packet.target_ip);
  return arp_bytes;
}

}  // namespace sluice::wire
