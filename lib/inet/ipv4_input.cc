// IPv4 and ICMPv4 on their way in. Read first: RFC 791, RFC 792, RFC 1122 section 3.2, RFC 1191.

#include <array>

#include "inet/inet.h"
#include "wire/checksum.h"

namespace sluice::inet {
namespace {

using stats::Counter;

Counter reason_of(wire::Ipv4Parse fault) {
  switch (fault) {
    case wire::Ipv4Parse::bad_version:
      return Counter::inet_drop_ipv4_version;
    case wire::Ipv4Parse::bad_header_length:
      return Counter::inet_drop_ipv4_header_length;
    case wire::Ipv4Parse::bad_total_length:
      return Counter::inet_drop_ipv4_total_length;
    default:
      return Counter::inet_drop_ipv4_truncated;
  }
}

// RFC 1191 section 7.1: what to assume when an old router does not say its MTU.
uint16_t plateau_below(uint16_t length) {
  constexpr std::array<uint16_t, 10> plateaus = {32000, 17914, 8166, 4352, 2002,
                                                 1492,  1006,  508,  296,  68};
  for (const uint16_t plateau : plateaus) {
    if (plateau < length) return plateau;
  }
  return 0;
}

// The packet of ours that an ICMP error is about, as far as it was quoted.
struct Quote4 {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint16_t total_length = 0;
  Bytes tcp;
};

bool parse_quote(Bytes quote, Quote4& out) {
  if (quote.size() < wire::ipv4_header_bytes) return false;
  const std::byte* at = quote.data();
  const size_t header_length = size_t{load_u8(at) & 0x0fu} * 4;
  if (load_u8(at) >> 4 != 4 || header_length < wire::ipv4_header_bytes) return false;
  // RFC 792: at least 8 bytes of the original datagram's data.
  if (header_length + 8 > quote.size()) return false;
  const bool is_first_part = (load_be16(at + 6) & 0x1fff) == 0;
  if (load_u8(at + 9) != wire::protocol_tcp || !is_first_part) return false;
  out.total_length = load_be16(at + 2);
  out.source = load_be32(at + 12);
  out.destination = load_be32(at + 16);
  out.tcp = quote.subspan(header_length);
  return true;
}

Unreachable::Reason reason_of(const wire::IcmpView& icmp) {
  using Reason = Unreachable::Reason;
  if (icmp.type == wire::icmpv4::time_exceeded) return Reason::time_exceeded;
  if (icmp.type == wire::icmpv4::parameter_problem) return Reason::parameter_problem;
  switch (icmp.code) {
    case wire::icmpv4::code_host:
      return Reason::host;
    case wire::icmpv4::code_protocol:
      return Reason::protocol;
    case wire::icmpv4::code_port:
      return Reason::port;
    case wire::icmpv4::code_network_prohibited:
    case wire::icmpv4::code_host_prohibited:
    case wire::icmpv4::code_prohibited:
      return Reason::prohibited;
    default:
      return Reason::network;
  }
}

bool is_error(uint8_t type) {
  return type == wire::icmpv4::unreachable || type == wire::icmpv4::time_exceeded ||
         type == wire::icmpv4::parameter_problem;
}

}  // namespace

// RFC 1122 section 3.2.1.3: what may not be a source address on the wire.
bool Inet::is_possible_source4(uint32_t source) const {
  // One comparison for 0.0.0.0/8 below and 224.0.0.0/3 above.
  if (source - 0x0100'0000 >= 0xdf00'0000 || source >> 24 == 127) return false;
  for (const Local4& local : locals4_) {
    if (source == local.address || source == local.broadcast) return false;
  }
  return true;
}

Nothing Inet::drop_foreign4(uint32_t destination) {
  bool is_group = destination >> 28 == 0xe || destination == 0xffff'ffff;
  for (const Local4& local : locals4_) is_group |= destination == local.broadcast;
  return drop(is_group ? Counter::inet_drop_group : Counter::inet_drop_not_for_us);
}

Delivery Inet::handle_ipv4(Instant now, Packet& packet, wire::RxChecksum checksum) {
  wire::Ipv4Header header;
  const wire::Ipv4Parse parsed = wire::parse_ipv4(packet.bytes, header);
  if (parsed != wire::Ipv4Parse::ok) return drop(reason_of(parsed));
  if (checksum != wire::RxChecksum::good && !wire::ipv4_checksum_is_valid(packet.bytes, header)) {
    return drop(Counter::inet_drop_ipv4_checksum);
  }
  packet.bytes = packet.bytes.first(header.total_length);
  packet.local = find_local4(header.destination);
  if (packet.local == no_local) return drop_foreign4(header.destination);
  if (!is_possible_source4(header.source)) return drop(Counter::inet_drop_ipv4_source);
  // RFC 1122 section 3.3.6.
  if (packet.group_frame) return drop(Counter::inet_drop_frame_group);
  if (header.is_fragment) return drop(Counter::inet_drop_ipv4_fragment);
  // A TTL below 2 is no reason to drop what has arrived (RFC 1122 section 3.2.1.7).

  packet.source = Address::v4(header.source);
  packet.upper = packet.bytes.subspan(header.header_length);
  packet.protocol = header.protocol;
  switch (header.protocol) {
    case wire::protocol_tcp: {
      const auto length = static_cast<uint16_t>(packet.upper.size());
      return deliver_tcp(
          packet,
          wire::ipv4_pseudo_sum({header.source, header.destination, wire::protocol_tcp, length}),
          header.ecn);
    }
    case wire::protocol_icmp:
      return handle_icmpv4(now, packet);
    case wire::protocol_udp:
      // RFC 1122 section 4.1.3.1.
      answer_error4(now, packet,
                    {.type = wire::icmpv4::unreachable, .code = wire::icmpv4::code_port});
      return drop(Counter::inet_drop_udp);
    default:
      // RFC 1122 section 3.2.2.1.
      answer_error4(now, packet,
                    {.type = wire::icmpv4::unreachable, .code = wire::icmpv4::code_protocol});
      return drop(Counter::inet_drop_protocol);
  }
}

Delivery Inet::handle_icmpv4(Instant now, const Packet& packet) {
  wire::IcmpView icmp;
  if (!wire::parse_icmp(packet.upper, icmp)) return drop(Counter::inet_drop_icmp_short);
  if (wire::sum_bytes(packet.upper) != 0xffff) return drop(Counter::inet_drop_icmp_checksum);
  if (icmp.type == wire::icmpv4::echo_request) return answer_echo(now, packet, icmp);
  if (is_error(icmp.type)) return handle_icmpv4_error(packet, icmp);
  return drop(Counter::inet_drop_icmp_type);
}

Delivery Inet::handle_icmpv4_error(const Packet& packet, const wire::IcmpView& icmp) {
  Quote4 quote;
  // The error was sent to the address that the quoted packet came from.
  if (!parse_quote(icmp.data, quote) || find_local4(quote.source) != packet.local) {
    return drop(Counter::inet_drop_icmp_quote);
  }
  const Address remote = Address::v4(quote.destination);
  if (icmp.type != wire::icmpv4::unreachable ||
      icmp.code != wire::icmpv4::code_fragmentation_needed) {
    counters_.add(Counter::inet_unreachable_messages);
    return Unreachable{remote, quote.tcp, packet.local, reason_of(icmp)};
  }
  auto mtu = static_cast<uint16_t>(icmp.rest & 0xffff);  // RFC 1191 section 4
  if (mtu == 0) mtu = plateau_below(quote.total_length);
  constexpr uint16_t ipv4_minimum_mtu = 68;  // RFC 791
  if (mtu < ipv4_minimum_mtu || mtu >= config_.mtu) return drop(Counter::inet_drop_path_mtu);
  counters_.add(Counter::inet_path_mtu_messages);
  return PathMtu{remote, quote.tcp, mtu, packet.local};
}

// Requires: a packet to one of our addresses, from a possible source, in a frame to our MAC: what
// RFC 1122 section 3.2.2 asks of the packet that an error may be about.
void Inet::answer_error4(Instant now, const Packet& packet, wire::IcmpEmit icmp) {
  // RFC 1812 section 4.3.2.3: as much as fits in 576 bytes.
  constexpr size_t quote_max_bytes = 576 - wire::ipv4_header_bytes - wire::icmp_header_bytes;
  Answer answer;
  answer.kind = Answer::Kind::error;
  answer.local = packet.local;
  answer.mac = packet.source_mac();
  answer.remote = packet.source;
  answer.icmp = icmp;
  answer_with_quote(now, answer,
                    packet.bytes.first(std::min(packet.bytes.size(), quote_max_bytes)));
}

}  // namespace sluice::inet
