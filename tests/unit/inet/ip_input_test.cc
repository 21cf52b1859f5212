// IPv4 and IPv6 in and out: what is delivered, and by what name the rest is dropped.

#include "link.h"

namespace sluice::inet {
namespace {

const Ip v6{.from = "2001:db8::2", .to = "2001:db8::1"};

TcpSegment expect_segment(const Delivery& delivery) {
  const auto* segment = std::get_if<TcpSegment>(&delivery);
  EXPECT_NE(segment, nullptr);
  return segment != nullptr ? *segment : TcpSegment{};
}

TEST(IpInput, DeliversATcpSegmentWithoutItsPadding) {
  Link link;
  Frame frame = ip({.ecn = 3}, tcp_segment({}, 1));
  frame.resize(60);
  const TcpSegment segment = expect_segment(link.receive(frame));
  EXPECT_EQ(segment.source, address("192.0.2.2"));
  EXPECT_EQ(segment.local, 0);
  EXPECT_EQ(segment.segment.size(), 21u);
  EXPECT_TRUE(segment.congestion_experienced);
}

TEST(IpInput, TellsWhichOfOurAddressesWasMeant) {
  Link link;
  const Ip second{.to = "198.51.100.1"};
  EXPECT_EQ(expect_segment(link.receive(ip(second, tcp_segment(second)))).local, 1);
  EXPECT_EQ(expect_segment(link.receive(ip(v6, tcp_segment(v6)))).local, 2);
  const Ip local{.from = "fe80::2", .to = "fe80::ff:fe00:1"};
  EXPECT_EQ(expect_segment(link.receive(ip(local, tcp_segment(local)))).local, 3);
  EXPECT_EQ(link.inet.local_count(), 4u);
}

TEST(IpInput, AcceptsWhateverTtlHasArrived) {
  Link link;
  expect_segment(link.receive(ip({.hop_limit = 0}, tcp_segment({}))));
}

TEST(IpInput, SkipsIpv4Options) {
  Link link;
  Frame packet(24);
  const Frame segment = tcp_segment({});
  wire::emit_ipv4({.protocol = wire::protocol_tcp,
                   .total_length = static_cast<uint16_t>(24 + segment.size()),
                   .source = address("192.0.2.2").v4_bits(),
                   .destination = address("192.0.2.1").v4_bits(),
                   .with_checksum = false},
                  packet);
  store_u8(packet.data(), 0x46);
  store_be32(packet.data() + 20, 0x94040000);  // router alert
  store_be16(packet.data() + 10, static_cast<uint16_t>(~wire::sum_bytes(packet)));
  EXPECT_EQ(expect_segment(link.receive(ethernet({}, wire::ether_type_ipv4, packet + segment)))
                .segment.size(),
            20u);
}

TEST(IpInput, WalksIpv6ExtensionHeaders) {
  Link link;
  Frame headers(16);
  store_u8(headers.data(), wire::next_header_destination);
  store_u8(headers.data() + 2, 1);  // PadN over the rest
  store_u8(headers.data() + 3, 4);
  store_u8(headers.data() + 8, wire::protocol_tcp);
  store_u8(headers.data() + 10, 1);
  store_u8(headers.data() + 11, 4);
  Ip addresses = v6;
  const Frame segment = tcp_segment(addresses);
  addresses.protocol = wire::next_header_hop_by_hop;
  expect_segment(link.receive(ip(addresses, headers + segment)));
}

TEST(IpInput, DropsFramesThatAreNotForThisStation) {
  Link link;
  Ip other;
  other.link.to = router_mac;
  link.expect_dropped(ip(other, tcp_segment({})), Counter::inet_drop_frame_foreign);
  other.link.to = MacAddress::broadcast();
  link.expect_dropped(ip(other, tcp_segment({})), Counter::inet_drop_frame_group);
  Ip group6 = v6;
  group6.link.to = multicast_mac_of(all_nodes);
  link.expect_dropped(ip(group6, tcp_segment(group6)), Counter::inet_drop_frame_group);
  link.expect_dropped(Frame(13), Counter::inet_drop_frame_short);
  link.expect_dropped(Frame(), Counter::inet_drop_frame_short);
  link.expect_dropped(ethernet({}, 0x88cc, Frame(60)), Counter::inet_drop_ether_type);
}

TEST(IpInput, DropsPacketsToOthersAndToGroups) {
  Link link;
  for (const auto& [to, reason] : {std::pair{"192.0.2.3", Counter::inet_drop_not_for_us},
                                   {"192.0.2.255", Counter::inet_drop_group},
                                   {"198.51.100.15", Counter::inet_drop_group},
                                   {"255.255.255.255", Counter::inet_drop_group},
                                   {"224.0.0.1", Counter::inet_drop_group}}) {
    const Ip addresses{.to = to};
    link.expect_dropped(ip(addresses, tcp_segment(addresses)), reason);
  }
  for (const auto& [to, reason] : {std::pair{"2001:db8::3", Counter::inet_drop_not_for_us},
                                   {"ff02::1", Counter::inet_drop_group},
                                   {"ff02::2", Counter::inet_drop_group}}) {
    const Ip addresses{.from = "2001:db8::2", .to = to};
    link.expect_dropped(ip(addresses, tcp_segment(addresses)), reason);
  }
}

TEST(IpInput, DropsImpossibleSources) {
  Link link;
  for (const char* from : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255",
                           "240.0.0.1", "192.0.2.255", "192.0.2.1", "198.51.100.1"}) {
    const Ip addresses{.from = from};
    link.expect_dropped(ip(addresses, tcp_segment(addresses)), Counter::inet_drop_ipv4_source);
  }
  for (const char* from : {"::", "::1", "ff02::1", "2001:db8::1", "fe80::ff:fe00:1"}) {
    const Ip addresses{.from = from, .to = "2001:db8::1"};
    link.expect_dropped(ip(addresses, tcp_segment(addresses)), Counter::inet_drop_ipv6_source);
  }
  // An IPv4-mapped address in an IPv6 header.
  Frame mapped = ip(v6, tcp_segment(v6));
  const Address source = address("192.0.2.2");
  std::copy_n(source.data(), 16, mapped.begin() + 14 + 8);
  link.expect_dropped(mapped, Counter::inet_drop_ipv6_source);
}

TEST(IpInput, NamesEachFaultOfAnIpv4Header) {
  Link link;
  const Frame good = ip({}, tcp_segment({}));
  const auto with = [&good](size_t offset, int value) {
    Frame frame = good;
    store_u8(frame.data() + 14 + offset, static_cast<uint8_t>(value));
    return frame;
  };
  link.expect_dropped(with(0, 0x55), Counter::inet_drop_ipv4_version);
  link.expect_dropped(with(0, 0x44), Counter::inet_drop_ipv4_header_length);
  link.expect_dropped(with(0, 0x4f), Counter::inet_drop_ipv4_truncated);
  link.expect_dropped(with(3, 41), Counter::inet_drop_ipv4_total_length);
  link.expect_dropped(with(3, 19), Counter::inet_drop_ipv4_total_length);
  link.expect_dropped(with(10, 0), Counter::inet_drop_ipv4_checksum);
  for (size_t length = 14; length < 34; ++length) {
    link.expect_dropped(Frame(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)),
                        Counter::inet_drop_ipv4_truncated);
  }
}

TEST(IpInput, DropsFragments) {
  Link link;
  for (const uint16_t fragment : {uint16_t{0x2000}, uint16_t{0x0001}, uint16_t{0x2010}}) {
    Frame frame = ip({}, tcp_segment({}));
    std::byte* header = frame.data() + 14;
    store_be16(header + 6, fragment);
    store_be16(header + 10, 0);
    store_be16(header + 10, static_cast<uint16_t>(~wire::sum_bytes({header, 20})));
    link.expect_dropped(frame, Counter::inet_drop_ipv4_fragment);
  }
  Ip addresses = v6;
  addresses.protocol = wire::next_header_fragment;
  link.expect_dropped(ip(addresses, Frame(40)), Counter::inet_drop_ipv6_fragment);
}

TEST(IpInput, NamesEachFaultOfAnIpv6Packet) {
  Link link;
  const Frame good = ip(v6, tcp_segment(v6));
  Frame bad = good;
  bad[14] = std::byte{0x50};
  link.expect_dropped(bad, Counter::inet_drop_ipv6_version);
  bad = good;
  bad[14 + 5] = std::byte{21};
  link.expect_dropped(bad, Counter::inet_drop_ipv6_payload_length);
  bad.resize(14 + 39);
  link.expect_dropped(bad, Counter::inet_drop_ipv6_truncated);
  Ip addresses = v6;
  addresses.protocol = wire::next_header_none;
  link.expect_dropped(ip(addresses, Frame(8)), Counter::inet_drop_ipv6_no_next_header);
  addresses.protocol = wire::next_header_destination;
  link.expect_dropped(ip(addresses, Frame(7)), Counter::inet_drop_ipv6_extension_truncated);
}

TEST(IpInput, VerifiesTcpChecksumsUnlessTheNicDid) {
  Link link;
  for (const Ip& addresses : {Ip{}, v6}) {
    Frame frame = ip(addresses, tcp_segment(addresses, 5));
    frame.back() ^= std::byte{1};
    link.expect_dropped(frame, Counter::inet_drop_tcp_checksum);
    expect_segment(link.receive(frame, wire::RxChecksum::good));
    EXPECT_TRUE(std::holds_alternative<Nothing>(link.receive(frame, wire::RxChecksum::bad)));
    frame.back() ^= std::byte{1};
    // What a NIC calls bad is looked at again.
    expect_segment(link.receive(frame, wire::RxChecksum::bad));
  }
  link.expect_dropped(ip({}, Frame(19)), Counter::inet_drop_tcp_short);
}

TEST(Vlan, AcceptsOnlyTheConfiguredTag) {
  Config config = default_config();
  config.vlan_id = 7;
  Link link(config);
  const auto with = [](bool tagged, uint16_t vlan_id) {
    return ip({.link = {.vlan_id = vlan_id, .tagged = tagged}}, tcp_segment({}));
  };
  expect_segment(link.receive(with(true, 7)));
  link.expect_dropped(with(true, 8), Counter::inet_drop_vlan);
  link.expect_dropped(with(true, 0), Counter::inet_drop_vlan);
  link.expect_dropped(with(false, 0), Counter::inet_drop_vlan);
  Frame cut = with(true, 7);
  cut.resize(17);
  link.expect_dropped(cut, Counter::inet_drop_vlan);
}

TEST(Vlan, WithoutOneAcceptsUntaggedAndPriorityTaggedFrames) {
  Link link;
  expect_segment(link.receive(ip({.link = {.vlan_id = 0, .tagged = true}}, tcp_segment({}))));
  link.expect_dropped(ip({.link = {.vlan_id = 7, .tagged = true}}, tcp_segment({})),
                      Counter::inet_drop_vlan);
}

TEST(Emit, WritesWhatAPeerAccepts) {
  for (const char* remote : {"192.0.2.2", "2001:db8::2"}) {
    Link link;
    PathRef path;
    EXPECT_EQ(link.resolve(remote, path), PathState::pending);
    link.learn(remote, peer_mac);
    ASSERT_EQ(link.resolve(remote, path), PathState::ready);
    wire::TxFrame out;
    const bool is_v4 = address(remote).is_v4();
    link.inet.emit(path, address(remote), is_v4 ? 0 : 2, {.ecn = 2, .l4_bytes = 20}, out);
    EXPECT_EQ(out.l2_length, 14);
    EXPECT_EQ(out.l3_length, is_v4 ? 20 : 40);
    EXPECT_EQ(out.is_ipv6, !is_v4);
    out.l4_length =
        static_cast<uint8_t>(wire::emit_tcp({.source_port = 80, .destination_port = 9}, {},
                                            MutableBytes(out.header).subspan(out.header_length)));
    out.header_length = static_cast<uint16_t>(out.header_length + out.l4_length);
    Frame frame(out.header_length);
    wire::Train(out).emit(0, 0, frame);
    // The peer's end of the link.
    Config config;
    config.mac = peer_mac;
    ASSERT_TRUE(config.addresses.push_back(prefix(remote)));
    Link peer(config);
    const TcpSegment segment = expect_segment(peer.receive(frame));
    EXPECT_EQ(segment.source, address(is_v4 ? "192.0.2.1" : "2001:db8::1"));
    EXPECT_FALSE(segment.congestion_experienced);
  }
}

TEST(Emit, TagsFramesOfAVlan) {
  Config config = default_config();
  config.vlan_id = 7;
  Link link(config);
  EXPECT_EQ(link.poll_line(),
            "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff vlan 7 arp who has 192.0.2.1 tell 192.0.2.1");
}

}  // namespace
}  // namespace sluice::inet
