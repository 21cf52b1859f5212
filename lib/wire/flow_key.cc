#include "wire/flow_key.h"

#include <cstring>

#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace sluice::wire {
namespace {

__extension__ using Wide = unsigned __int128;

uint64_t multiply_fold(uint64_t a, uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load_word(const std::byte* from) {
  uint64_t word;
  std::memcpy(&word, from, 8);
  return word;
}

// Who talks to whom, wherever in the frame that was found.
struct Ends {
  const std::byte* remote_address = nullptr;
  const std::byte* local_address = nullptr;
  size_t address_bytes = 0;  // 4 or 16
  uint16_t remote_port = 0;
  uint16_t local_port = 0;
};

// Multiply and fold, twice over, keyed: good enough to spread flows, cheap enough for each frame.
uint32_t hash_ends(const Ends& ends, uint64_t seed) {
  constexpr uint64_t k1 = 0x9e37'79b9'7f4a'7c15;
  constexpr uint64_t k2 = 0xbf58'476d'1ce4'e5b9;
  constexpr uint64_t k3 = 0x94d0'49bb'1331'11eb;
  uint64_t remote = 0;
  uint64_t local = 0;
  if (ends.address_bytes == 4) {
    remote = load_be32(ends.remote_address);
    local = load_be32(ends.local_address);
  } else {
    remote = multiply_fold(load_word(ends.remote_address) ^ seed,
                           load_word(ends.remote_address + 8) ^ k1);
    local =
        multiply_fold(load_word(ends.local_address) ^ k2, load_word(ends.local_address + 8) ^ seed);
  }
  const uint64_t ports = (uint64_t{ends.remote_port} << 16 | ends.local_port) ^ k3;
  const uint64_t addresses = multiply_fold(remote ^ seed ^ k2, local ^ k1);
  const uint64_t hash = multiply_fold(addresses ^ seed, ports ^ seed >> 32);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

// Ports of a packet that its receiver sees: source is the remote end.
FlowKey tcp_key(Ends ends, Bytes tcp, uint64_t seed) {
  if (tcp.size() < 4) return {};
  ends.remote_port = load_be16(tcp.data());
  ends.local_port = load_be16(tcp.data() + 2);
  return {FlowKind::tcp, hash_ends(ends, seed)};
}

// `ends` already has the quoted packet's destination as the remote end, for we sent it.
FlowKey quoted_tcp_key(Ends ends, Bytes tcp, uint64_t seed) {
  if (tcp.size() < 4) return {};
  ends.local_port = load_be16(tcp.data());
  ends.remote_port = load_be16(tcp.data() + 2);
  return {FlowKind::icmp_error, hash_ends(ends, seed)};
}

FlowKey icmpv4_key(Bytes message, uint64_t seed) {
  IcmpView icmp;
  if (!parse_icmp(message, icmp)) return {};
  const bool is_error = icmp.type == icmpv4::unreachable || icmp.type == icmpv4::time_exceeded ||
                        icmp.type == icmpv4::parameter_problem;
  if (!is_error || icmp.data.size() < ipv4_header_bytes) return {};
  const std::byte* ip = icmp.data.data();
  const size_t header_length = size_t{load_u8(ip) & 0x0fu} * 4;
  if (load_u8(ip) >> 4 != 4 || header_length < ipv4_header_bytes) return {};
  if (load_u8(ip + 9) != protocol_tcp || header_length > icmp.data.size()) return {};
  return quoted_tcp_key({ip + 16, ip + 12, 4, 0, 0}, icmp.data.subspan(header_length), seed);
}

FlowKey ipv4_key(Bytes packet, uint64_t seed) {
  Ipv4Header header;
  if (parse_ipv4(packet, header) != Ipv4Parse::ok || header.is_fragment) return {};
  const std::byte* ip = packet.data();
  const Bytes upper =
      packet.subspan(header.header_length, size_t{header.total_length} - header.header_length);
  if (header.protocol == protocol_tcp) return tcp_key({ip + 12, ip + 16, 4, 0, 0}, upper, seed);
  if (header.protocol == protocol_icmp) return icmpv4_key(upper, seed);
  return {};
}

FlowKey icmpv6_key(Bytes message, uint64_t seed) {
  IcmpView icmp;
  if (!parse_icmp(message, icmp)) return {};
  if (icmp.type >= icmpv6::router_solicitation && icmp.type <= icmpv6::redirect) {
    return {FlowKind::neighbor, 0};
  }
  if (icmp.type >= icmpv6::first_informational || icmp.data.size() < ipv6_header_bytes) return {};
  const std::byte* ip = icmp.data.data();
  // We send no extension headers, so a quote of ours has none.
  if (load_u8(ip) >> 4 != 6 || load_u8(ip + 6) != protocol_tcp) return {};
  return quoted_tcp_key({ip + 24, ip + 8, ipv6_address_bytes, 0, 0},
                        icmp.data.subspan(ipv6_header_bytes), seed);
}

FlowKey ipv6_key(Bytes packet, uint64_t seed) {
  Ipv6Header header;
  if (parse_ipv6(packet, header) != Ipv6Parse::ok) return {};
  packet = packet.first(ipv6_header_bytes + header.payload_length);
  uint8_t protocol = header.next_header;
  size_t offset = ipv6_header_bytes;
  if (protocol != protocol_tcp && protocol != protocol_icmpv6) {
    const ExtensionResult walk = walk_extensions(packet);
    if (walk.outcome != ExtensionWalk::upper_layer) return {};
    protocol = walk.protocol;
    offset = walk.offset_bytes;
  }
  const Bytes upper = packet.subspan(offset);
  if (protocol == protocol_tcp) {
    return tcp_key({header.source, header.destination, ipv6_address_bytes, 0, 0}, upper, seed);
  }
  if (protocol == protocol_icmpv6) return icmpv6_key(upper, seed);
  return {};
}

}  // namespace

FlowKey flow_key(Bytes frame, uint64_t seed) {
  EthernetHeader ethernet;
  if (!parse_ethernet(frame, ethernet)) return {};
  const Bytes packet = frame.subspan(ethernet.length());
  switch (ethernet.ether_type) {
    case ether_type_ipv4:
      return ipv4_key(packet, seed);
    case ether_type_ipv6:
      return ipv6_key(packet, seed);
    case ether_type_arp:
      return {FlowKind::neighbor, 0};
    default:
      return {};
  }
}

}  // namespace sluice::wire
