#include "wire/dump.h"

#include <charconv>
#include <cstring>

#include "wire/address_text.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/ndp.h"
#include "wire/tcp.h"

namespace sluice::wire {
namespace {

// Appends to a fixed buffer; what does not fit is cut.
class Line {
 public:
  explicit Line(std::span<char> out) : out_(out) {}

  Line& text(std::string_view text) {
    const size_t length = std::min(text.size(), out_.size() - size_);
    if (length > 0) std::memcpy(out_.data() + size_, text.data(), length);
    size_ += length;
    return *this;
  }
  Line& number(uint64_t value, int base = 10) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, base);
    return text({digits, static_cast<size_t>(end.ptr - digits)});
  }
  Line& field(std::string_view name, uint64_t value) {
    return text(" ").text(name).text(" ").number(value);
  }
  [[nodiscard]] std::string_view view() const { return {out_.data(), size_}; }

 private:
  std::span<char> out_;
  size_t size_ = 0;
};

struct Ends {
  AddressText source;
  AddressText destination;
};

void put_ends(Line& line, const Ends& ends) {
  line.text(" ").text(ends.source).text(" > ").text(ends.destination);
}

void put_flags(Line& line, uint8_t flags) {
  struct Letter {
    uint8_t flag;
    char letter;
  };
  constexpr Letter letters[] = {{tcp_flag::syn, 'S'}, {tcp_flag::fin, 'F'}, {tcp_flag::rst, 'R'},
                                {tcp_flag::psh, 'P'}, {tcp_flag::ack, 'A'}, {tcp_flag::urg, 'U'},
                                {tcp_flag::ece, 'E'}, {tcp_flag::cwr, 'C'}};
  line.text(" [");
  for (const Letter& letter : letters) {
    if ((flags & letter.flag) != 0) line.text({&letter.letter, 1});
  }
  line.text("]");
}

void put_tcp_options(Line& line, Bytes bytes) {
  if (bytes.empty()) return;
  TcpOptions options;
  const bool whole = parse_tcp_options(bytes, options);
  line.text(" <");
  if (options.has_mss) line.field("mss", options.mss);
  if (options.has_window_scale) line.field("wscale", options.window_scale);
  if (options.sack_permitted) line.text(" sackOK");
  if (options.has_timestamps) {
    line.field("ts", options.timestamp_value).text(" ").number(options.timestamp_echo);
  }
  if (!options.sack.empty()) line.text(" sack");
  for (const SackBlock& block : options.sack) {
    line.text(" ").number(block.left).text("-").number(block.right);
  }
  line.text(whole ? " >" : " malformed >");
}

void put_tcp(Line& line, const Ends& ends, Bytes segment) {
  TcpSegmentView tcp;
  if (!parse_tcp(segment, tcp)) {
    put_ends(line, ends);
    line.text(" tcp malformed");
    return;
  }
  line.text(" ").text(ends.source).text(".").number(tcp.header.source_port);
  line.text(" > ").text(ends.destination).text(".").number(tcp.header.destination_port);
  put_flags(line, tcp.header.flags);
  line.field("seq", tcp.header.sequence);
  if (tcp.header.has(tcp_flag::ack)) line.field("ack", tcp.header.acknowledgment);
  line.field("win", tcp.header.window);
  put_tcp_options(line, tcp.options);
  line.field("len", tcp.payload.size());
}

void put_icmpv4(Line& line, Bytes message) {
  IcmpView icmp;
  if (!parse_icmp(message, icmp)) {
    line.text(" icmp malformed");
    return;
  }
  if (icmp.type == icmpv4::echo_request || icmp.type == icmpv4::echo_reply) {
    line.text(icmp.type == icmpv4::echo_request ? " echo request" : " echo reply");
    line.field("id", icmp.rest >> 16).field("seq", icmp.rest & 0xffff);
  } else {
    line.field("icmp type", icmp.type).field("code", icmp.code);
    if (icmp.type == icmpv4::unreachable && icmp.code == icmpv4::code_fragmentation_needed) {
      line.field("mtu", icmp.rest & 0xffff);
    }
  }
  line.field("len", icmp.data.size());
}

void put_target(Line& line, std::string_view name, Bytes message) {
  line.text(name);
  if (message.size() >= icmp_header_bytes + ipv6_address_bytes) {
    line.text(format_ipv6(message.data() + icmp_header_bytes));
  }
}

void put_icmpv6(Line& line, Bytes message) {
  IcmpView icmp;
  if (!parse_icmp(message, icmp)) {
    line.text(" icmp6 malformed");
    return;
  }
  switch (icmp.type) {
    case icmpv6::echo_request:
    case icmpv6::echo_reply:
      line.text(icmp.type == icmpv6::echo_request ? " echo request" : " echo reply");
      line.field("id", icmp.rest >> 16).field("seq", icmp.rest & 0xffff);
      break;
    case icmpv6::neighbor_solicitation:
      put_target(line, " who has ", message);
      break;
    case icmpv6::neighbor_advertisement:
      put_target(line, " is at me ", message);
      break;
    case icmpv6::router_solicitation:
      line.text(" router solicitation");
      break;
    case icmpv6::router_advertisement:
      line.text(" router advertisement");
      break;
    case icmpv6::packet_too_big:
      line.field("packet too big mtu", icmp.rest);
      break;
    default:
      line.field("icmp6 type", icmp.type).field("code", icmp.code);
      break;
  }
  line.field("len", icmp.data.size());
}

void put_upper(Line& line, const Ends& ends, uint8_t protocol, Bytes upper) {
  if (protocol == protocol_tcp) return put_tcp(line, ends, upper);
  put_ends(line, ends);
  if (protocol == protocol_icmp) return put_icmpv4(line, upper);
  if (protocol == protocol_icmpv6) return put_icmpv6(line, upper);
  line.field("protocol", protocol).field("len", upper.size());
}

void put_ipv4(Line& line, Bytes packet) {
  Ipv4Header header;
  if (parse_ipv4(packet, header) != Ipv4Parse::ok) {
    line.text(" ipv4 malformed");
    return;
  }
  const Ends ends{format_ipv4(header.source), format_ipv4(header.destination)};
  if (header.is_fragment) {
    put_ends(line, ends);
    line.field("fragment, protocol", header.protocol);
    return;
  }
  put_upper(
      line, ends, header.protocol,
      packet.subspan(header.header_length, size_t{header.total_length} - header.header_length));
}

void put_ipv6(Line& line, Bytes packet) {
  Ipv6Header header;
  if (parse_ipv6(packet, header) != Ipv6Parse::ok) {
    line.text(" ipv6 malformed");
    return;
  }
  packet = packet.first(ipv6_header_bytes + header.payload_length);
  const Ends ends{format_ipv6(header.source), format_ipv6(header.destination)};
  const ExtensionResult walk = walk_extensions(packet);
  if (walk.outcome != ExtensionWalk::upper_layer) {
    put_ends(line, ends);
    line.field("extension headers from", header.next_header);
    line.text(walk.outcome == ExtensionWalk::fragment ? " fragment" : " not deliverable");
    return;
  }
  put_upper(line, ends, walk.protocol, packet.subspan(walk.offset_bytes));
}

void put_arp(Line& line, Bytes bytes) {
  ArpPacket arp;
  if (!parse_arp(bytes, arp)) {
    line.text(" arp malformed");
    return;
  }
  if (arp.operation == arp_request) {
    line.text(" arp who has ").text(format_ipv4(arp.target_ip));
    line.text(" tell ").text(format_ipv4(arp.sender_ip));
  } else {
    line.text(" arp ").text(format_ipv4(arp.sender_ip));
    line.text(" is at ").text(format_mac(arp.sender_mac));
  }
}

}  // namespace

std::string_view dump_frame(Bytes frame, std::span<char> out) {
  Line line(out);
  EthernetHeader ethernet;
  if (!parse_ethernet(frame, ethernet)) {
    return line.text("ethernet malformed").field("len", frame.size()).view();
  }
  line.text(format_mac(ethernet.source)).text(" > ").text(format_mac(ethernet.destination));
  if (ethernet.tagged) line.field("vlan", ethernet.vlan_id);
  const Bytes packet = frame.subspan(ethernet.length());
  switch (ethernet.ether_type) {
    case ether_type_ipv4:
      put_ipv4(line, packet);
      break;
    case ether_type_ipv6:
      put_ipv6(line, packet);
      break;
    case ether_type_arp:
      put_arp(line, packet);
      break;
    default:
      line.text(" type 0x").number(ethernet.ether_type, 16).field("len", packet.size());
      break;
  }
  return line.view();
}

}  // namespace sluice::wire
