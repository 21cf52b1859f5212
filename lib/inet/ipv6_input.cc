// IPv6 and ICMPv6 on their way in. Read first: RFC 8200, RFC 4443, RFC 8201.

#include "inet/inet.h"
#include "wire/checksum.h"

namespace sluice::inet {
namespace {

using stats::Counter;

Counter reason_of(wire::Ipv6Parse fault) {
  switch (fault) {
    case wire::Ipv6Parse::bad_version:
      return Counter::inet_drop_ipv6_version;
    case wire::Ipv6Parse::bad_payload_length:
      return Counter::inet_drop_ipv6_payload_length;
    default:
      return Counter::inet_drop_ipv6_truncated;
  }
}

Unreachable::Reason reason_of(const wire::IcmpView& icmp) {
  using Reason = Unreachable::Reason;
  if (icmp.type == wire::icmpv6::time_exceeded) return Reason::time_exceeded;
  if (icmp.type == wire::icmpv6::parameter_problem) return Reason::parameter_problem;
  switch (icmp.code) {
    case wire::icmpv6::code_prohibited:
      return Reason::prohibited;
    case wire::icmpv6::code_address:
      return Reason::host;
    case wire::icmpv6::code_port:
      return Reason::port;
    default:
      return Reason::network;
  }
}

}  // namespace

bool Inet::is_our_group(const Address& group) const {
  if (group == all_nodes) return true;
  for (const Prefix& local : locals_) {
    if (!local.address.is_v4() && group == local.address.solicited_node()) return true;
  }
  return false;
}

// Unspecified is possible in NDP only (RFC 4861 section 7.1.1) and is looked at there.
bool Inet::is_possible_source6(const Address& source) const {
  // RFC 4942 section 2.2: an IPv4-mapped address on the wire would be taken for an IPv4 peer.
  return !source.is_multicast() && !source.is_v4() && !source.is_loopback() &&
         find_local(source) == no_local;
}

Delivery Inet::handle_ipv6(Instant now, Packet& packet) {
  wire::Ipv6Header header;
  const wire::Ipv6Parse parsed = wire::parse_ipv6(packet.bytes, header);
  if (parsed != wire::Ipv6Parse::ok) return drop(reason_of(parsed));
  packet.bytes = packet.bytes.first(wire::ipv6_header_bytes + header.payload_length);
  const Address destination = Address::v6(header.destination);
  packet.local = find_local(destination);
  if (packet.local == no_local) {
    packet.group_packet = destination.is_multicast();
    if (!packet.group_packet) return drop(Counter::inet_drop_not_for_us);
    if (!is_our_group(destination)) return drop(Counter::inet_drop_group);
    packet.local = link_local_;  // answers come from there
  } else if (packet.group_frame) {
    return drop(Counter::inet_drop_frame_group);
  }
  packet.source = Address::v6(header.source);
  if (!is_possible_source6(packet.source)) return drop(Counter::inet_drop_ipv6_source);

  packet.hop_limit = header.hop_limit;
  packet.protocol = header.next_header;
  packet.protocol_pointer = 6;
  size_t upper_at = wire::ipv6_header_bytes;
  if (header.next_header != wire::protocol_tcp) {
    const wire::ExtensionResult walk = wire::walk_extensions(packet.bytes);
    if (walk.outcome != wire::ExtensionWalk::upper_layer) {
      return handle_extension_fault(now, packet, walk);
    }
    packet.protocol = walk.protocol;
    packet.protocol_pointer = walk.protocol_pointer;
    upper_at = walk.offset_bytes;
  }
  packet.upper = packet.bytes.subspan(upper_at);
  if (packet.protocol == wire::protocol_icmpv6) return handle_icmpv6(now, packet);
  if (packet.group_packet) return drop(Counter::inet_drop_group);
  if (packet.source.is_unspecified()) return drop(Counter::inet_drop_ipv6_source);
  if (packet.protocol == wire::protocol_tcp) {
    const auto length = static_cast<uint32_t>(packet.upper.size());
    uint64_t pseudo_sum = 0;
    if (packet.l4_checksum != wire::RxChecksum::good) {
      pseudo_sum =
          wire::ipv6_pseudo_sum({header.source, header.destination, wire::protocol_tcp, length});
    }
    return deliver_tcp(packet, pseudo_sum, header.ecn);
  }
  if (packet.protocol == wire::protocol_udp) {
    // RFC 4443 section 3.1.
    answer_error6(now, packet,
                  {.type = wire::icmpv6::unreachable, .code = wire::icmpv6::code_port});
    return drop(Counter::inet_drop_udp);
  }
  // RFC 8200 section 4: an unrecognized Next Header value.
  answer_error6(now, packet,
                {.type = wire::icmpv6::parameter_problem,
                 .code = wire::icmpv6::code_next_header,
                 .rest = packet.protocol_pointer});
  return drop(Counter::inet_drop_protocol);
}

Nothing Inet::handle_extension_fault(Instant now, const Packet& packet,
                                     const wire::ExtensionResult& walk) {
  using wire::ExtensionWalk;
  wire::IcmpEmit problem{.type = wire::icmpv6::parameter_problem, .rest = walk.pointer_bytes};
  switch (walk.outcome) {
    case ExtensionWalk::no_next_header:
      return drop(Counter::inet_drop_ipv6_no_next_header);
    case ExtensionWalk::fragment:
      return drop(Counter::inet_drop_ipv6_fragment);
    case ExtensionWalk::too_many:
      return drop(Counter::inet_drop_ipv6_extension_limit);
    case ExtensionWalk::discard:
      return drop(Counter::inet_drop_ipv6_option);
    case ExtensionWalk::bad_option:
      // RFC 4443 section 2.4 (e.3): the one error that may answer a multicast.
      problem.code = wire::icmpv6::code_option;
      answer_error6(now, packet, problem);
      return drop(Counter::inet_drop_ipv6_option);
    case ExtensionWalk::bad_option_quiet:
      problem.code = wire::icmpv6::code_option;
      if (!packet.group_packet) answer_error6(now, packet, problem);
      return drop(Counter::inet_drop_ipv6_option);
    case ExtensionWalk::bad_routing:
      problem.code = wire::icmpv6::code_header_field;
      if (!packet.group_packet) answer_error6(now, packet, problem);
      return drop(Counter::inet_drop_ipv6_routing);
    case ExtensionWalk::misplaced:
      problem.code = wire::icmpv6::code_next_header;
      if (!packet.group_packet) answer_error6(now, packet, problem);
      return drop(Counter::inet_drop_ipv6_extension_misplaced);
    default:
      return drop(Counter::inet_drop_ipv6_extension_truncated);
  }
}

Delivery Inet::handle_icmpv6(Instant now, const Packet& packet) {
  wire::IcmpView icmp;
  if (!wire::parse_icmp(packet.upper, icmp)) return drop(Counter::inet_drop_icmp_short);
  const std::byte* ip = packet.bytes.data();
  const uint64_t pseudo_sum =
      wire::ipv6_pseudo_sum({.source = ip + 8,
                             .destination = ip + 24,
                             .protocol = wire::protocol_icmpv6,
                             .length = static_cast<uint32_t>(packet.upper.size())});
  if (wire::fold_sum(pseudo_sum + wire::sum_bytes(packet.upper)) != 0xffff) {
    return drop(Counter::inet_drop_icmp_checksum);
  }
  if (icmp.type >= wire::icmpv6::router_solicitation && icmp.type <= wire::icmpv6::redirect) {
    return handle_ndp(now, packet, icmp.type);
  }
  if (packet.source.is_unspecified()) return drop(Counter::inet_drop_ipv6_source);
  if (icmp.type == wire::icmpv6::mld_query) return handle_listener_query(now, packet);
  if (icmp.type == wire::icmpv6::echo_request) return answer_echo(now, packet, icmp);
  if (icmp.type >= wire::icmpv6::first_informational || packet.group_packet) {
    return drop(Counter::inet_drop_icmp_type);
  }
  if (icmp.type >= wire::icmpv6::unreachable && icmp.type <= wire::icmpv6::parameter_problem) {
    return handle_icmpv6_error(packet, icmp);
  }
  return drop(Counter::inet_drop_icmp_type);
}

Delivery Inet::handle_icmpv6_error(const Packet& packet, const wire::IcmpView& icmp) {
  // We send no extension headers, so in a quote of ours TCP follows the IPv6 header.
  const Bytes quote = icmp.data;
  const bool quotes_tcp = quote.size() >= wire::ipv6_header_bytes + 8 &&
                          load_u8(quote.data()) >> 4 == 6 &&
                          load_u8(quote.data() + 6) == wire::protocol_tcp;
  if (!quotes_tcp || find_local(Address::v6(quote.data() + 8)) != packet.local) {
    return drop(Counter::inet_drop_icmp_quote);
  }
  const Address remote = Address::v6(quote.data() + 24);
  if (remote.is_v4()) return drop(Counter::inet_drop_icmp_quote);
  const Bytes tcp = quote.subspan(wire::ipv6_header_bytes);
  if (icmp.type != wire::icmpv6::packet_too_big) {
    counters_.add(Counter::inet_unreachable_messages);
    return Unreachable{remote, tcp, packet.local, reason_of(icmp)};
  }
  // RFC 8201 section 4: a message below the minimum link MTU must be discarded.
  if (icmp.rest < wire::ipv6_minimum_mtu || icmp.rest >= mtu6_) {
    return drop(Counter::inet_drop_path_mtu);
  }
  counters_.add(Counter::inet_path_mtu_messages);
  return PathMtu{remote, tcp, static_cast<uint16_t>(icmp.rest), packet.local};
}

void Inet::answer_error6(Instant now, const Packet& packet, wire::IcmpEmit icmp) {
  // RFC 4443 section 2.4 (e): not about a packet whose source is not one node, nor (with one
  // exception) about one in a multicast frame. Errors about errors cannot loop: what we send has no
  // extension header and no unknown protocol.
  if (packet.source.is_unspecified()) return;
  const bool may_answer_group =
      icmp.type == wire::icmpv6::parameter_problem && icmp.code == wire::icmpv6::code_option;
  if (packet.group_frame && !may_answer_group) return;
  constexpr size_t quote_max_bytes =
      wire::ipv6_minimum_mtu - wire::ipv6_header_bytes - wire::icmp_header_bytes;
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
