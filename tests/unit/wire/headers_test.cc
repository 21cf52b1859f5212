// Ethernet, ARP, IPv4, IPv6 and its extension headers, NDP.

#include <gtest/gtest.h>

#include <array>

#include "bytes.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/ndp.h"

namespace sluice::wire {
namespace {

using Buffer = std::array<std::byte, 128>;

// Every strict prefix of `bytes` must be refused by `parse`, without a read beyond it.
template <typename Parse>
void expect_prefixes_refused(const std::vector<std::byte>& bytes, const Parse& parse) {
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::vector<std::byte> prefix(bytes.begin(),
                                        bytes.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(parse(Bytes(prefix))) << "length " << length;
  }
  EXPECT_TRUE(parse(Bytes(bytes)));
}

TEST(Ethernet, ReadsBackWhatItEmits) {
  const EthernetHeader header{.destination = {{2, 0, 0, 0, 0, 1}},
                              .source = {{2, 0, 0, 0, 0, 2}},
                              .ether_type = ether_type_ipv6,
                              .vlan_id = 7,
                              .tagged = true};
  Buffer buffer;
  const size_t length = emit_ethernet(header, buffer);
  ASSERT_EQ(length, 18u);
  EthernetHeader parsed;
  ASSERT_TRUE(parse_ethernet(Bytes(buffer).first(length), parsed));
  EXPECT_EQ(parsed.destination, header.destination);
  EXPECT_EQ(parsed.source, header.source);
  EXPECT_EQ(parsed.ether_type, ether_type_ipv6);
  EXPECT_EQ(parsed.vlan_id, 7);
}

TEST(Ethernet, RefusesShortFrames) {
  const auto parse = [](Bytes bytes) {
    EthernetHeader header;
    return parse_ethernet(bytes, header);
  };
  expect_prefixes_refused(bytes_of("020000000001 020000000002 0800"), parse);
  expect_prefixes_refused(bytes_of("020000000001 020000000002 8100 0007 0800"), parse);
}

TEST(Arp, ReadsBackWhatItEmitsAndRefusesTheRest) {
  Buffer buffer;
  const size_t length = emit_arp({.operation = arp_request,
                                  .sender_mac = {{2, 0, 0, 0, 0, 1}},
                                  .sender_ip = 0xc0000201,
                                  .target_mac = {},
                                  .target_ip = 0xc0000202},
                                 buffer);
  const std::vector<std::byte> whole(buffer.begin(),
                                     buffer.begin() + static_cast<std::ptrdiff_t>(length));
  const auto parse = [](Bytes bytes) {
    ArpPacket packet;
    return parse_arp(bytes, packet);
  };
  expect_prefixes_refused(whole, parse);
  EXPECT_EQ(whole, bytes_of("0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"));
  for (const size_t fault : {size_t{1}, size_t{2}, size_t{4}, size_t{5}}) {
    std::vector<std::byte> other = whole;
    other[fault] ^= std::byte{2};
    EXPECT_FALSE(parse(other)) << "byte " << fault;
  }
}

std::vector<std::byte> ipv4_packet() {
  return bytes_of("45 00 00 1c 00 00 40 00 40 11 00 00 c0 00 02 01 c0 00 02 02") +
         bytes_of("01 02 03 04 05 06 07 08");
}

TEST(Ipv4, ParsesAHeaderAndIgnoresPadding) {
  std::vector<std::byte> packet = ipv4_packet();
  packet.resize(46);  // Ethernet's minimum
  Ipv4Header header;
  ASSERT_EQ(parse_ipv4(packet, header), Ipv4Parse::ok);
  EXPECT_EQ(header.total_length, 28);
  EXPECT_EQ(header.header_length, 20);
  EXPECT_EQ(header.protocol, protocol_udp);
  EXPECT_EQ(header.source, 0xc0000201u);
  EXPECT_FALSE(header.is_fragment);
}

TEST(Ipv4, NamesWhatIsWrong) {
  Ipv4Header header;
  EXPECT_EQ(parse_ipv4(Bytes(), header), Ipv4Parse::truncated);
  EXPECT_EQ(parse_ipv4(Bytes(ipv4_packet()).first(19), header), Ipv4Parse::truncated);
  std::vector<std::byte> packet = ipv4_packet();
  packet[0] = std::byte{0x65};
  EXPECT_EQ(parse_ipv4(packet, header), Ipv4Parse::bad_version);
  packet[0] = std::byte{0x44};
  EXPECT_EQ(parse_ipv4(packet, header), Ipv4Parse::bad_header_length);
  packet[0] = std::byte{0x4f};  // 60 bytes of header in 28
  EXPECT_EQ(parse_ipv4(packet, header), Ipv4Parse::truncated);
  packet = ipv4_packet();
  packet[3] = std::byte{29};  // one more than there is
  EXPECT_EQ(parse_ipv4(packet, header), Ipv4Parse::bad_total_length);
  packet[3] = std::byte{19};  // less than the header
  EXPECT_EQ(parse_ipv4(packet, header), Ipv4Parse::bad_total_length);
}

TEST(Ipv4, SeesFragments) {
  Ipv4Header header;
  for (const auto& [flags, is_fragment] : {std::pair{0x4000, false},
                                           {0x0000, false},
                                           {0x2000, true},
                                           {0x0001, true},
                                           {0x3fff, true}}) {
    std::vector<std::byte> packet = ipv4_packet();
    store_be16(packet.data() + 6, static_cast<uint16_t>(flags));
    ASSERT_EQ(parse_ipv4(packet, header), Ipv4Parse::ok);
    EXPECT_EQ(header.is_fragment, is_fragment) << std::hex << flags;
  }
}

TEST(Ipv4, EmitsAValidAtomicHeader) {
  Buffer buffer;
  emit_ipv4({.protocol = protocol_icmp,
             .total_length = 84,
             .source = 0xc0000201,
             .destination = 0xc0000202},
            buffer);
  EXPECT_EQ(sum_bytes(Bytes(buffer).first(20)), 0xffff);
  EXPECT_EQ(load_be16(buffer.data() + 6), ipv4_dont_fragment);
}

// An IPv6 packet whose payload is `payload`, the first header in it being `next`.
std::vector<std::byte> ipv6_packet(uint8_t next, const std::vector<std::byte>& payload) {
  std::vector<std::byte> packet(ipv6_header_bytes);
  store_u8(packet.data(), 0x60);
  store_be16(packet.data() + 4, static_cast<uint16_t>(payload.size()));
  store_u8(packet.data() + 6, next);
  return packet + payload;
}

TEST(Ipv6, NamesWhatIsWrong) {
  Ipv6Header header;
  std::vector<std::byte> packet = ipv6_packet(59, bytes_of("01 02 03"));
  EXPECT_EQ(parse_ipv6(packet, header), Ipv6Parse::ok);
  EXPECT_EQ(parse_ipv6(Bytes(packet).first(39), header), Ipv6Parse::truncated);
  EXPECT_EQ(parse_ipv6(Bytes(packet).first(42), header), Ipv6Parse::bad_payload_length);
  packet[0] = std::byte{0x40};
  EXPECT_EQ(parse_ipv6(packet, header), Ipv6Parse::bad_version);
}

ExtensionResult walk(uint8_t next, std::string_view hex) {
  return walk_extensions(ipv6_packet(next, bytes_of(hex)));
}

TEST(ExtensionWalk, StopsAtTheUpperLayer) {
  const ExtensionResult plain = walk(protocol_tcp, "");
  EXPECT_EQ(plain.outcome, ExtensionWalk::upper_layer);
  EXPECT_EQ(plain.offset_bytes, 40);
  EXPECT_EQ(plain.protocol_pointer, 6);
  // Hop-by-hop (PadN), destination options (Pad1 x 6), routing with no segments left, then TCP.
  const ExtensionResult chain = walk(0,
                                     "3c 00 01 04 00000000"
                                     "2b 00 00 00 00 00 00 00"
                                     "06 00 ff 00 00000000");
  EXPECT_EQ(chain.outcome, ExtensionWalk::upper_layer);
  EXPECT_EQ(chain.protocol, protocol_tcp);
  EXPECT_EQ(chain.offset_bytes, 64);
  EXPECT_EQ(chain.protocol_pointer, 56);
}

TEST(ExtensionWalk, ObeysTheTopBitsOfUnknownOptions) {
  EXPECT_EQ(walk(60, "06 00 1e 04 00000000").outcome, ExtensionWalk::upper_layer);  // skip
  EXPECT_EQ(walk(60, "06 00 5e 04 00000000").outcome, ExtensionWalk::discard);
  const ExtensionResult answered = walk(60, "06 00 00 9e 03 000000");
  EXPECT_EQ(answered.outcome, ExtensionWalk::bad_option);
  EXPECT_EQ(answered.pointer_bytes, 43);  // at the option, after Pad1
  EXPECT_EQ(walk(60, "06 00 de 04 00000000").outcome, ExtensionWalk::bad_option_quiet);
}

TEST(ExtensionWalk, NeverReadsBeyondThePacket) {
  for (const uint8_t next :
       {next_header_hop_by_hop, next_header_routing, next_header_destination}) {
    EXPECT_EQ(walk(next, "").outcome, ExtensionWalk::truncated);
    EXPECT_EQ(walk(next, "06 00 00 00 00 00 00").outcome, ExtensionWalk::truncated);
    EXPECT_EQ(walk(next, "06 01 00 00 00 00 00 00").outcome, ExtensionWalk::truncated);
    EXPECT_EQ(walk(next, "06 ff 00 00 00 00 00 00").outcome, ExtensionWalk::truncated);
  }
  // An option longer than its header; a length byte that is missing.
  EXPECT_EQ(walk(60, "06 00 01 05 00000000").outcome, ExtensionWalk::truncated);
  EXPECT_EQ(walk(60, "06 00 00 00 00 00 00 01").outcome, ExtensionWalk::truncated);
}

TEST(ExtensionWalk, IsBounded) {
  std::string chain;
  for (int i = 0; i < 9; ++i) chain += "3c 00 01 04 00000000";
  EXPECT_EQ(walk(60, chain).outcome, ExtensionWalk::too_many);
  const std::string long_header = "06 40 " + std::string(2 * 518, '0');  // 520 bytes of Pad1
  EXPECT_EQ(walk(60, long_header).outcome, ExtensionWalk::too_many);
}

TEST(ExtensionWalk, NamesTheOtherEnds) {
  EXPECT_EQ(walk(59, "").outcome, ExtensionWalk::no_next_header);
  EXPECT_EQ(walk(44, "06 00 0000 00000001").outcome, ExtensionWalk::fragment);
  const ExtensionResult routing = walk(43, "06 00 00 01 00000000");
  EXPECT_EQ(routing.outcome, ExtensionWalk::bad_routing);
  EXPECT_EQ(routing.pointer_bytes, 42);
  const ExtensionResult misplaced = walk(60, "00 00 01 04 00000000 06 00 01 04 00000000");
  EXPECT_EQ(misplaced.outcome, ExtensionWalk::misplaced);
  EXPECT_EQ(misplaced.pointer_bytes, 40);
}

TEST(Ndp, ReadsBackASolicitation) {
  Buffer buffer;
  const std::vector<std::byte> target = bytes_of("20010db8000000000000000000000001");
  const size_t length = emit_neighbor_solicitation(
      {.target = target.data(), .source_mac = {{2, 0, 0, 0, 0, 9}}}, buffer);
  NeighborSolicitation parsed;
  ASSERT_TRUE(parse_neighbor_solicitation(Bytes(buffer).first(length), parsed));
  EXPECT_TRUE(parsed.options.has_source_mac);
  EXPECT_EQ(parsed.options.source_mac, (MacAddress{{2, 0, 0, 0, 0, 9}}));
  for (size_t shorter = 0; shorter < length; ++shorter) {
    // Without the option it is whole again.
    EXPECT_EQ(parse_neighbor_solicitation(Bytes(buffer).first(shorter), parsed), shorter == 24);
  }
}

TEST(Ndp, RefusesOptionsOfLengthZero) {
  NdpOptions options;
  EXPECT_FALSE(parse_ndp_options(bytes_of("01 00 020000000009"), options));
  EXPECT_FALSE(parse_ndp_options(bytes_of("01 02 020000000009"), options));
  EXPECT_FALSE(parse_ndp_options(bytes_of("01"), options));
  EXPECT_TRUE(parse_ndp_options({}, options));
}

TEST(Ndp, ReadsARouterAdvertisement) {
  RouterAdvertisement parsed;
  ASSERT_TRUE(parse_router_advertisement(
      bytes_of("86 00 0000 40 08 0708 00000000 00000000"  // high preference, 1800 s
               "05 01 0000 00000578 01 01 020000000001"
               "18 01 00 00 00000000"),  // unknown here
      parsed));
  EXPECT_EQ(parsed.lifetime_s, 1800);
  EXPECT_EQ(parsed.preference, 1);
  EXPECT_EQ(parsed.options.mtu, 1400u);
  EXPECT_TRUE(parsed.options.has_source_mac);
}

}  // namespace
}  // namespace sluice::wire
