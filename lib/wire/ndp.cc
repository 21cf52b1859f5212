#include "wire/ndp.h"

#include <cstring>

#include "base/assert.h"
#include "wire/icmp.h"
#include "wire/ipv6.h"

namespace sluice::wire {
namespace {

constexpr size_t option_unit_bytes = 8;
constexpr size_t neighbor_fixed_bytes = 24;  // header, reserved or flags, target
constexpr size_t router_fixed_bytes = 16;
constexpr size_t router_solicitation_fixed_bytes = 8;

constexpr uint32_t flag_router = 0x8000'0000;
constexpr uint32_t flag_solicited = 0x4000'0000;
constexpr uint32_t flag_override = 0x2000'0000;

bool is_multicast(const std::byte* address) {
  return load_u8(address) == 0xff;
}

size_t emit_link_option(uint8_t type, const MacAddress& mac, std::byte* at) {
  store_u8(at, type);
  store_u8(at + 1, 1);
  mac.store(at + 2);
  return option_unit_bytes;
}

void emit_header(uint8_t type, uint32_t rest, MutableBytes out) {
  emit_icmp({.type = type, .code = 0, .checksum = 0, .rest = rest}, out);
}

}  // namespace

bool parse_ndp_options(Bytes options, NdpOptions& out) {
  out = NdpOptions{};
  size_t at = 0;
  while (at < options.size()) {
    if (options.size() - at < 2) return false;
    const std::byte* option = options.data() + at;
    const size_t length = option_unit_bytes * load_u8(option + 1);
    if (length == 0 || length > options.size() - at) return false;
    switch (load_u8(option)) {
      case ndp_option::source_link_address:
        out.has_source_mac = true;
        out.source_mac = MacAddress::load(option + 2);
        break;
      case ndp_option::target_link_address:
        out.has_target_mac = true;
        out.target_mac = MacAddress::load(option + 2);
        break;
      case ndp_option::mtu:
        out.has_mtu = true;
        out.mtu = load_be32(option + 4);
        break;
      default:
        break;
    }
    at += length;
  }
  return true;
}

// RFC 4861 section 7.1.1.
bool parse_neighbor_solicitation(Bytes message, NeighborSolicitation& out) {
  if (message.size() < neighbor_fixed_bytes || load_u8(message.data() + 1) != 0) return false;
  out.target = message.data() + icmp_header_bytes;
  if (is_multicast(out.target)) return false;
  return parse_ndp_options(message.subspan(neighbor_fixed_bytes), out.options);
}

// RFC 4861 section 7.1.2.
bool parse_neighbor_advertisement(Bytes message, NeighborAdvertisement& out) {
  if (message.size() < neighbor_fixed_bytes || load_u8(message.data() + 1) != 0) return false;
  const uint32_t flags = load_be32(message.data() + 4);
  out.router = (flags & flag_router) != 0;
  out.solicited = (flags & flag_solicited) != 0;
  out.override = (flags & flag_override) != 0;
  out.target = message.data() + icmp_header_bytes;
  if (is_multicast(out.target)) return false;
  return parse_ndp_options(message.subspan(neighbor_fixed_bytes), out.options);
}

// RFC 4861 section 6.1.2.
bool parse_router_advertisement(Bytes message, RouterAdvertisement& out) {
  if (message.size() < router_fixed_bytes || load_u8(message.data() + 1) != 0) return false;
  out.hop_limit = load_u8(message.data() + 4);
  // RFC 4191 section 2.2: 01 high, 00 medium, 11 low; 10 is reserved and means medium.
  const int preference_bits = load_u8(message.data() + 5) >> 3 & 3;
  out.preference = static_cast<int8_t>(preference_bits == 1 ? 1 : preference_bits == 3 ? -1 : 0);
  out.lifetime_s = load_be16(message.data() + 6);
  out.reachable_time_ms = load_be32(message.data() + 8);
  out.retransmit_ms = load_be32(message.data() + 12);
  return parse_ndp_options(message.subspan(router_fixed_bytes), out.options);
}

size_t emit_neighbor_solicitation(const EmitSolicitation& emit, MutableBytes out) {
  ASSERT(out.size() >= neighbor_message_max_bytes);
  emit_header(icmpv6::neighbor_solicitation, 0, out);
  std::memcpy(out.data() + icmp_header_bytes, emit.target, ipv6_address_bytes);
  return neighbor_fixed_bytes + emit_link_option(ndp_option::source_link_address, emit.source_mac,
                                                 out.data() + neighbor_fixed_bytes);
}

size_t emit_neighbor_advertisement(const EmitAdvertisement& emit, MutableBytes out) {
  ASSERT(out.size() >= neighbor_message_max_bytes);
  const uint32_t flags =
      (emit.solicited ? flag_solicited : 0) | (emit.override ? flag_override : 0);
  emit_header(icmpv6::neighbor_advertisement, flags, out);
  std::memcpy(out.data() + icmp_header_bytes, emit.target, ipv6_address_bytes);
  return neighbor_fixed_bytes + emit_link_option(ndp_option::target_link_address, emit.target_mac,
                                                 out.data() + neighbor_fixed_bytes);
}

size_t emit_router_solicitation(const MacAddress& source_mac, MutableBytes out) {
  ASSERT(out.size() >= router_solicitation_max_bytes);
  emit_header(icmpv6::router_solicitation, 0, out);
  return router_solicitation_fixed_bytes +
         emit_link_option(ndp_option::source_link_address, source_mac,
                          out.data() + router_solicitation_fixed_bytes);
}

}  // namespace sluice::wire
