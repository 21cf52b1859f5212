// ICMPv4 and ICMPv6: echo, errors in, errors out.

#include "link.h"

namespace sluice::inet {
namespace {

const Ip v4{.protocol = wire::protocol_icmp};
const Ip v6{.from = "2001:db8::2", .to = "2001:db8::1", .protocol = wire::protocol_icmpv6};

Frame pattern(size_t bytes) {
  Frame frame(bytes);
  for (size_t i = 0; i < bytes; ++i) frame[i] = static_cast<std::byte>(i * 7 + i / 256);
  return frame;
}

Frame echo(const Ip& addresses, size_t bytes) {
  const bool is_v4 = address(addresses.from).is_v4();
  return ip(addresses,
            icmp(addresses,
                 {.type = is_v4 ? wire::icmpv4::echo_request : wire::icmpv6::echo_request,
                  .rest = 0x1234'0001},
                 pattern(bytes)));
}

// The ICMP message of an IPv4 or IPv6 frame, checked as its receiver would.
Frame message_of(const Frame& frame, const Ip& reversed) {
  EXPECT_FALSE(frame.empty());
  if (frame.empty()) return {};
  const bool is_v4 = address(reversed.from).is_v4();
  const size_t headers = is_v4 ? 34 : 54;
  const Frame message(frame.begin() + static_cast<std::ptrdiff_t>(headers), frame.end());
  if (is_v4) {
    EXPECT_EQ(wire::sum_bytes(Bytes(frame).subspan(14, 20)), 0xffff);
    EXPECT_EQ(wire::sum_bytes(message), 0xffff);
  } else {
    EXPECT_EQ(sum_with_pseudo_header(reversed, message), 0xffff);
  }
  return message;
}

Ip reverse(const Ip& addresses) {
  return {.from = addresses.to, .to = addresses.from, .protocol = addresses.protocol};
}

TEST(Echo, ReturnsTheDataOfEverySizeThatFits) {
  Link link;
  link.settle();
  for (const Ip& addresses : {v4, v6}) {
    const size_t headers = address(addresses.from).is_v4() ? 28 : 48;
    for (const size_t bytes : {size_t{0}, size_t{1}, size_t{56}, size_t{1023}, size_t{1024},
                               size_t{1025}, 1500 - headers}) {
      link.receive(echo(addresses, bytes));
      const Frame message = message_of(link.poll(), reverse(addresses));
      ASSERT_EQ(message.size(), 8 + bytes);
      EXPECT_EQ(load_be32(message.data() + 4), 0x1234'0001u);
      EXPECT_TRUE(std::equal(message.begin() + 8, message.end(), pattern(bytes).begin()));
      EXPECT_EQ(link.poll_line(), "");
    }
    link.expect_dropped(echo(addresses, 1501 - headers), Counter::inet_drop_echo_size);
  }
  EXPECT_EQ(link.slots_in_use(), 0u);
}

TEST(Echo, OfJumboFramesIsLimitedByTheExtentsOfAFrame) {
  Config config = default_config();
  config.mtu = 9000;
  Link link(config);
  link.settle();
  link.receive(echo(v4, 4096));
  EXPECT_EQ(message_of(link.poll(), reverse(v4)).size(), 4104u);
  link.expect_dropped(echo(v4, 4097), Counter::inet_drop_echo_size);
}

TEST(Echo, WithoutHeadSlotsIsNotAnswered) {
  Link link(default_config(), 1);
  link.settle();
  link.receive(echo(v4, 1025));
  EXPECT_EQ(link.counters.get(Counter::inet_drop_answer_slots), 1u);
  EXPECT_EQ(link.poll_line(), "");
  EXPECT_EQ(link.slots_in_use(), 0u);
  link.receive(echo(v4, 100));
  EXPECT_FALSE(link.poll().empty());
}

TEST(Echo, IsBoundedInTheQueueAndInTime) {
  Link link(default_config(), 4096);
  link.settle();
  for (int i = 0; i < 2000; ++i) link.receive(echo(v4, 10));
  EXPECT_GT(link.counters.get(Counter::inet_drop_echo_rate), 1000u);
  EXPECT_GT(link.counters.get(Counter::inet_drop_answer_queue), 100u);
  while (!link.poll().empty()) {
  }
  EXPECT_EQ(link.slots_in_use(), 0u);
}

TEST(Echo, OfAllNodesIsAnsweredFromTheLinkLocalAddress) {
  Link link;
  link.settle();
  const Ip group{.from = "fe80::2",
                 .to = "ff02::1",
                 .protocol = wire::protocol_icmpv6,
                 .link = {.to = multicast_mac_of(all_nodes)}};
  link.receive(echo(group, 56));
  message_of(link.poll(),
             {.from = "fe80::ff:fe00:1", .to = "fe80::2", .protocol = wire::protocol_icmpv6});
}

TEST(Icmp, DropsWhatIsMalformedOrNotForUs) {
  Link link;
  for (const Ip& addresses : {v4, v6}) {
    Frame bad = echo(addresses, 56);
    bad.back() ^= std::byte{1};
    link.expect_dropped(bad, Counter::inet_drop_icmp_checksum);
    link.expect_dropped(ip(addresses, Frame(7)), Counter::inet_drop_icmp_short);
    link.expect_dropped(ip(addresses, icmp(addresses, {.type = 200})),
                        Counter::inet_drop_icmp_type);
  }
  link.expect_dropped(ip(v4, icmp(v4, {.type = wire::icmpv4::echo_reply})),
                      Counter::inet_drop_icmp_type);
  link.expect_dropped(ip(v4, icmp(v4, {.type = 5})), Counter::inet_drop_icmp_type);  // redirect
}

// What we sent, as a router would quote it: without Ethernet.
Frame quoted(const Ip& sent, size_t tcp_bytes) {
  Frame segment(20);
  wire::emit_tcp({.source_port = 80, .destination_port = 50'000, .sequence = 77}, {}, segment);
  Frame packet = ip(sent, segment);
  packet.erase(packet.begin(), packet.begin() + 14);
  packet.resize(packet.size() - 20 + tcp_bytes);
  return packet;
}

const Ip sent4{.from = "192.0.2.1", .to = "203.0.113.5"};
const Ip sent6{.from = "2001:db8::1", .to = "2001:db9::5"};

Frame error(const Ip& addresses, const wire::IcmpEmit& emit, const Frame& quote) {
  return ip(addresses, icmp(addresses, emit, quote));
}

TEST(PathMtuMessage, IsDeliveredWithWhatItQuotes) {
  Link link;
  const wire::IcmpEmit too_big4{
      .type = 3, .code = wire::icmpv4::code_fragmentation_needed, .rest = 1400};
  const Delivery delivery4 = link.receive(error(v4, too_big4, quoted(sent4, 8)));
  const auto* message4 = std::get_if<PathMtu>(&delivery4);
  ASSERT_NE(message4, nullptr);
  EXPECT_EQ(message4->remote, address("203.0.113.5"));
  EXPECT_EQ(message4->local, 0);
  EXPECT_EQ(message4->mtu, 1400);
  ASSERT_EQ(message4->quoted_tcp.size(), 8u);
  EXPECT_EQ(load_be32(message4->quoted_tcp.data() + 4), 77u);

  const wire::IcmpEmit too_big6{.type = wire::icmpv6::packet_too_big, .rest = 1280};
  const Delivery delivery6 = link.receive(error(v6, too_big6, quoted(sent6, 20)));
  const auto* message6 = std::get_if<PathMtu>(&delivery6);
  ASSERT_NE(message6, nullptr);
  EXPECT_EQ(message6->remote, address("2001:db9::5"));
  EXPECT_EQ(message6->local, 2);
  EXPECT_EQ(message6->mtu, 1280);
}

TEST(PathMtuMessage, OfAnOldRouterMeansTheNextPlateau) {
  Link link;
  Frame quote = quoted(sent4, 8);
  store_be16(quote.data() + 2, 1500);
  const Delivery delivery =
      link.receive(error(v4, {.type = 3, .code = wire::icmpv4::code_fragmentation_needed}, quote));
  const auto* message = std::get_if<PathMtu>(&delivery);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->mtu, 1492);
}

TEST(PathMtuMessage, WithAUselessMtuIsDropped) {
  Link link;
  for (const uint32_t mtu : {uint32_t{67}, uint32_t{1500}, uint32_t{9000}}) {
    const wire::IcmpEmit emit{
        .type = 3, .code = wire::icmpv4::code_fragmentation_needed, .rest = mtu};
    link.expect_dropped(error(v4, emit, quoted(sent4, 8)), Counter::inet_drop_path_mtu);
  }
  for (const uint32_t mtu : {0u, 1279u, 1500u, 0x1'0500u}) {
    const wire::IcmpEmit emit{.type = wire::icmpv6::packet_too_big, .rest = mtu};
    link.expect_dropped(error(v6, emit, quoted(sent6, 8)), Counter::inet_drop_path_mtu);
  }
}

TEST(IcmpError, OfOtherKindsIsAHint) {
  Link link;
  const auto reason_of = [](const Delivery& delivery) {
    const auto* message = std::get_if<Unreachable>(&delivery);
    EXPECT_NE(message, nullptr);
    return message != nullptr ? message->reason : Unreachable::Reason{};
  };
  using Reason = Unreachable::Reason;
  EXPECT_EQ(reason_of(link.receive(error(v4, {.type = 3, .code = 1}, quoted(sent4, 8)))),
            Reason::host);
  EXPECT_EQ(reason_of(link.receive(error(v4, {.type = 3, .code = 13}, quoted(sent4, 8)))),
            Reason::prohibited);
  EXPECT_EQ(reason_of(link.receive(error(v4, {.type = 11}, quoted(sent4, 8)))),
            Reason::time_exceeded);
  EXPECT_EQ(reason_of(link.receive(error(v6, {.type = 1, .code = 4}, quoted(sent6, 8)))),
            Reason::port);
  EXPECT_EQ(reason_of(link.receive(error(v6, {.type = 4}, quoted(sent6, 8)))),
            Reason::parameter_problem);
}

TEST(IcmpError, ThatDoesNotQuoteUsIsDropped) {
  Link link;
  const wire::IcmpEmit unreachable4{.type = 3, .code = 1};
  const wire::IcmpEmit unreachable6{.type = 1, .code = 0};
  for (size_t bytes = 0; bytes < 28; ++bytes) {
    Frame quote = quoted(sent4, 8);
    quote.resize(bytes);
    link.expect_dropped(error(v4, unreachable4, quote), Counter::inet_drop_icmp_quote);
  }
  for (size_t bytes = 0; bytes < 48; ++bytes) {
    Frame quote = quoted(sent6, 8);
    quote.resize(bytes);
    link.expect_dropped(error(v6, unreachable6, quote), Counter::inet_drop_icmp_quote);
  }
  // From another of our addresses than the error was sent to; from none of ours; not TCP.
  Ip other = sent4;
  other.from = "198.51.100.1";
  link.expect_dropped(error(v4, unreachable4, quoted(other, 8)), Counter::inet_drop_icmp_quote);
  other.from = "192.0.2.77";
  link.expect_dropped(error(v4, unreachable4, quoted(other, 8)), Counter::inet_drop_icmp_quote);
  other = sent4;
  other.protocol = wire::protocol_udp;
  link.expect_dropped(error(v4, unreachable4, quoted(other, 8)), Counter::inet_drop_icmp_quote);
}

TEST(ErrorsSent, SayThatNoPortListens) {
  Link link;
  link.settle();
  Ip udp{.protocol = wire::protocol_udp};
  const Frame request = ip(udp, pattern(700));
  link.expect_dropped(request, Counter::inet_drop_udp);
  const Frame message = message_of(link.poll(), reverse(v4));
  ASSERT_EQ(message.size(), 8u + 548);  // 576 bytes in all
  EXPECT_EQ(load_be16(message.data()), 0x0303);
  EXPECT_TRUE(std::equal(message.begin() + 8, message.end(), request.begin() + 14));

  udp = v6;
  udp.protocol = wire::protocol_udp;
  link.expect_dropped(ip(udp, pattern(1400)), Counter::inet_drop_udp);
  const Frame message6 = message_of(link.poll(), reverse(v6));
  ASSERT_EQ(message6.size(), 8u + 1232);  // 1280 bytes in all
  EXPECT_EQ(load_be16(message6.data()), 0x0104);
  EXPECT_EQ(link.slots_in_use(), 0u + 2);  // until the next poll
  EXPECT_EQ(link.poll_line(), "");
  EXPECT_EQ(link.slots_in_use(), 0u);
}

TEST(ErrorsSent, SayWhichProtocolOrOptionIsUnknown) {
  Link link;
  link.settle();
  link.expect_dropped(ip({.protocol = 132}, Frame(12)), Counter::inet_drop_protocol);
  EXPECT_EQ(load_be16(message_of(link.poll(), reverse(v4)).data()), 0x0302);

  Ip addresses = v6;
  addresses.protocol = 132;
  link.expect_dropped(ip(addresses, Frame(12)), Counter::inet_drop_protocol);
  Frame message = message_of(link.poll(), reverse(v6));
  EXPECT_EQ(load_be16(message.data()), 0x0401);
  EXPECT_EQ(load_be32(message.data() + 4), 6u);

  Frame options(8);
  options[0] = std::byte{wire::protocol_tcp};
  options[2] = std::byte{0x9e};
  options[3] = std::byte{4};
  addresses.protocol = wire::next_header_destination;
  link.expect_dropped(ip(addresses, options), Counter::inet_drop_ipv6_option);
  message = message_of(link.poll(), reverse(v6));
  EXPECT_EQ(load_be16(message.data()), 0x0402);
  EXPECT_EQ(load_be32(message.data() + 4), 42u);
}

TEST(ErrorsSent, AnswerNoGroupUnlessTheOptionAsksForIt) {
  Link link;
  link.settle();
  Ip group{.from = "2001:db8::2",
           .to = "ff02::1",
           .protocol = wire::next_header_destination,
           .link = {.to = multicast_mac_of(all_nodes)}};
  Frame options(8);
  options[0] = std::byte{wire::protocol_tcp};
  options[3] = std::byte{4};
  options[2] = std::byte{0xde};  // answer, but not a multicast
  link.expect_dropped(ip(group, options), Counter::inet_drop_ipv6_option);
  EXPECT_EQ(link.poll_line(), "");
  options[2] = std::byte{0x9e};  // answer in any case
  link.expect_dropped(ip(group, options), Counter::inet_drop_ipv6_option);
  EXPECT_NE(link.poll_line(), "");
  group.protocol = wire::protocol_udp;
  link.expect_dropped(ip(group, Frame(8)), Counter::inet_drop_group);
  group.protocol = 132;
  link.expect_dropped(ip(group, Frame(8)), Counter::inet_drop_group);
  group.protocol = wire::next_header_destination;
  group.from = "::";
  link.expect_dropped(ip(group, options), Counter::inet_drop_ipv6_option);
  EXPECT_EQ(link.poll_line(), "");
}

TEST(ErrorsSent, AreRateLimited) {
  Link link;
  link.settle();
  int sent = 0;
  for (int i = 0; i < 1000; ++i) {
    link.receive(ip({.protocol = wire::protocol_udp}, Frame(8)));
    sent += link.poll().empty() ? 0 : 1;
  }
  EXPECT_EQ(sent, 50);
  EXPECT_EQ(link.counters.get(Counter::inet_drop_error_rate), 950u);
}

}  // namespace
}  // namespace sluice::inet
