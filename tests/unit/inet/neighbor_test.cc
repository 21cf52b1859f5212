// ARP and NDP: asking, answering, aging, and the table's bounds.

#include "link.h"

namespace sluice::inet {
namespace {

const std::string ask4 =
    "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who has 192.0.2.2 tell 192.0.2.1";

TEST(Neighbors, AreAskedForThreeTimesThenFail) {
  Link link;
  link.settle();
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::pending);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(link.poll_line(), ask4);
    EXPECT_EQ(link.poll_line(), "");
    EXPECT_EQ(link.inet.next_timeout(), link.now + 1_s);
    EXPECT_FALSE(link.inet.take_path_changes());
    link.advance(1_s);
  }
  EXPECT_TRUE(link.inet.take_path_changes());
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::unreachable);
  EXPECT_EQ(link.counters.get(Counter::inet_neighbors_failed), 1u);
}

TEST(Neighbors, ThatFailedAreWorthAnotherTryAfterAWhile) {
  Link link;
  link.settle();
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::pending);
  for (int i = 0; i < 3; ++i) link.advance(1_s);
  EXPECT_TRUE(link.inet.take_path_changes());
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::unreachable);
  EXPECT_EQ(link.inet.next_timeout(), link.now + 3_s);
  link.advance(3_s);
  EXPECT_TRUE(link.inet.take_path_changes());  // somebody wanted it
  EXPECT_EQ(link.inet.neighbor_count(), 0u);
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::pending);
}

TEST(Neighbors, BecomeReadyWithAReply) {
  Link link;
  PathRef path;
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::pending);
  link.learn("192.0.2.2", peer_mac);
  EXPECT_TRUE(link.inet.take_path_changes());
  EXPECT_FALSE(link.inet.take_path_changes());
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
}

TEST(Neighbors, AreNotLearnedFromRepliesNobodyAskedFor) {
  Link link;
  link.learn("192.0.2.2", peer_mac);
  EXPECT_EQ(link.inet.neighbor_count(), 1u);  // it talks to us: known, but not proven
  link.receive(Link::arp({.operation = wire::arp_reply,
                          .from_ip = "192.0.2.9",
                          .target_ip = "192.0.2.8",
                          .link_to = MacAddress::broadcast()}));
  EXPECT_EQ(link.inet.neighbor_count(), 1u);
  // Off the link: no one there can answer ARP.
  link.receive(Link::arp({.from_ip = "203.0.113.5"}));
  EXPECT_EQ(link.inet.neighbor_count(), 1u);
}

TEST(Neighbors, ThatAgeAreProbedWhenUsedAndDroppedWhenSilent) {
  Link link;
  link.settle();
  PathRef path;
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::pending);
  EXPECT_EQ(link.poll_line(), ask4);
  link.learn("192.0.2.2", peer_mac);
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  EXPECT_TRUE(link.inet.take_path_changes());
  link.advance(31_s);
  EXPECT_EQ(link.poll_line(), "");  // not used: not probed
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  link.advance(5_s);  // the delay
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(link.poll_line(),
              "02:00:00:00:00:01 > 02:00:00:00:00:02 arp who has 192.0.2.2 tell 192.0.2.1");
    EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
    link.advance(1_s);
  }
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::unreachable);
  EXPECT_TRUE(link.inet.take_path_changes());
}

TEST(Neighbors, StayWhenTheProbeIsAnswered) {
  Link link;
  link.settle();
  PathRef path;
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::pending);
  link.learn("192.0.2.2", peer_mac);
  link.advance(31_s);
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  link.advance(5_s);
  EXPECT_FALSE(link.poll().empty());
  link.learn("192.0.2.2", peer_mac);
  for (int i = 0; i < 20; ++i) {
    link.advance(1_s);
    EXPECT_EQ(link.poll_line(), "");
    EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  }
}

TEST(Neighbors, ConfirmedByTheUpperLayerAreNeverProbed) {
  Link link;
  link.settle();
  PathRef path;
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::pending);
  link.learn("192.0.2.2", peer_mac);
  while (!link.poll().empty()) {
  }
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
    link.inet.confirm(link.now, path);
    link.advance(1_s);
    EXPECT_EQ(link.poll_line(), "");
  }
  link.advance(1000_s);
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  link.inet.confirm(link.now, path);  // in the delay
  link.advance(6_s);
  EXPECT_EQ(link.poll_line(), "");
}

TEST(Neighbors, ConfirmOfAPathThatIsGoneDoesNothing) {
  Link link;
  link.inet.confirm(link.now, PathRef{});
  link.inet.confirm(link.now, PathRef{3, 1});
  link.inet.confirm(link.now, PathRef{3, 77});
  EXPECT_EQ(link.inet.neighbor_count(), 0u);
}

TEST(Neighbors, FollowAChangedMac) {
  Link link;
  PathRef path;
  EXPECT_EQ(link.resolve("192.0.2.2", path), PathState::pending);
  link.learn("192.0.2.2", peer_mac);
  ASSERT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  // Gratuitous, from a replacement.
  link.receive(Link::arp({.from_ip = "192.0.2.2",
                          .from = router_mac,
                          .target_ip = "192.0.2.2",
                          .link_to = MacAddress::broadcast()}));
  ASSERT_EQ(link.resolve("192.0.2.2", path), PathState::ready);
  wire::TxFrame out;
  link.inet.emit(path, address("192.0.2.2"), 0, {.l4_bytes = 20}, out);
  EXPECT_EQ(MacAddress::load(out.header.data()), router_mac);
}

TEST(Neighbors, WithoutOverrideKeepTheirMac) {
  Link link;
  PathRef path;
  EXPECT_EQ(link.resolve("2001:db8::2", path), PathState::pending);
  link.learn("2001:db8::2", peer_mac);
  ASSERT_EQ(link.resolve("2001:db8::2", path), PathState::ready);
  link.receive(Link::advertisement("2001:db8::2", router_mac, {.override = false}));
  ASSERT_EQ(link.resolve("2001:db8::2", path), PathState::ready);
  wire::TxFrame out;
  link.inet.emit(path, address("2001:db8::2"), 2, {.l4_bytes = 20}, out);
  EXPECT_EQ(MacAddress::load(out.header.data()), peer_mac);
}

TEST(Neighbors, OfIpv6AreAskedThroughTheirGroup) {
  Link link;
  link.settle();
  EXPECT_EQ(link.resolve("2001:db8::2"), PathState::pending);
  EXPECT_EQ(link.poll_line(),
            "02:00:00:00:00:01 > 33:33:ff:00:00:02 2001:db8::1 > ff02::1:ff00:2 who has "
            "2001:db8::2 len 24");
}

TEST(Neighbors, ThatProvedTrueSurviveAFloodOfInventedOnes) {
  Link link;
  PathRef real;
  EXPECT_EQ(link.resolve("192.0.2.2", real), PathState::pending);
  link.learn("192.0.2.2", peer_mac);
  ASSERT_EQ(link.resolve("192.0.2.2", real), PathState::ready);
  for (int i = 10; i < 250; ++i) {
    EXPECT_EQ(link.resolve("192.0.2." + std::to_string(i)), PathState::pending);
    link.receive(Link::arp({.from_ip = "198.51.100.3"}));
  }
  EXPECT_EQ(link.inet.neighbor_count(), 16u);
  EXPECT_GT(link.counters.get(Counter::inet_neighbors_evicted), 200u);
  EXPECT_EQ(link.resolve("192.0.2.2", real), PathState::ready);
}

TEST(Neighbors, EvictedOnesTakeTheirPathsWithThem) {
  Config config = default_config();
  config.neighbors_max = 2;
  Link link(config);
  std::vector<PathRef> paths(6);
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::string remote = "192.0.2." + std::to_string(10 + i);
    EXPECT_EQ(link.resolve(remote, paths[i]), PathState::pending);
    link.learn(remote, {{2, 0, 0, 0, 1, static_cast<uint8_t>(i)}});
    ASSERT_EQ(link.resolve(remote, paths[i]), PathState::ready);
    link.advance(2_s);
  }
  EXPECT_EQ(link.resolve("192.0.2.10", paths[0]), PathState::pending);
}

TEST(Routes, LeadToTheGatewayOffTheLink) {
  Link link;
  link.settle();
  EXPECT_EQ(link.resolve("203.0.113.5"), PathState::pending);
  EXPECT_EQ(link.poll_line(),
            "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who has 192.0.2.254 tell 192.0.2.1");
  link.learn("192.0.2.254", router_mac);
  PathRef path;
  ASSERT_EQ(link.resolve("203.0.113.5", path), PathState::ready);
  wire::TxFrame out;
  link.inet.emit(path, address("203.0.113.5"), 0, {.l4_bytes = 20}, out);
  EXPECT_EQ(MacAddress::load(out.header.data()), router_mac);
}

TEST(Routes, LeadNowhereForWhatIsNoHost) {
  Link link;
  for (const char* remote : {"192.0.2.255", "255.255.255.255", "224.0.0.1", "127.0.0.1", "0.0.0.0",
                             "192.0.2.1", "ff02::1", "::1", "::", "2001:db8::1", "2001:db9::1"}) {
    EXPECT_EQ(link.resolve(remote), PathState::unreachable) << remote;
  }
  Config config = default_config();
  config.gateway4 = {};
  EXPECT_EQ(Link(config).resolve("203.0.113.5"), PathState::unreachable);
}

Frame router_advertisement(uint16_t lifetime_s, uint32_t mtu, uint8_t preference_bits = 0,
                           const std::string& from = "fe80::3", uint8_t hop_limit = 255) {
  Frame message(32);
  store_u8(message.data(), wire::icmpv6::router_advertisement);
  store_u8(message.data() + 5, static_cast<uint8_t>(preference_bits << 3));
  store_be16(message.data() + 6, lifetime_s);
  store_u8(message.data() + 16, wire::ndp_option::source_link_address);
  store_u8(message.data() + 17, 1);
  router_mac.store(message.data() + 18);
  store_u8(message.data() + 24, wire::ndp_option::mtu);
  store_u8(message.data() + 25, 1);
  store_be32(message.data() + 28, mtu);
  const Ip addresses{.from = from,
                     .to = "ff02::1",
                     .protocol = wire::protocol_icmpv6,
                     .hop_limit = hop_limit,
                     .link = {.to = multicast_mac_of(all_nodes), .from = router_mac}};
  store_be16(message.data() + 2,
             static_cast<uint16_t>(~sum_with_pseudo_header(addresses, message)));
  return ip(addresses, message);
}

TEST(Routers, AreAskedForThreeTimes) {
  Config config = default_config();
  config.addresses.clear();
  Link link(config);
  int questions = 0;
  for (int i = 0; i < 60; ++i) {
    for (std::string line = link.poll_line(); !line.empty(); line = link.poll_line()) {
      if (line.find("router solicitation") != std::string::npos) {
        ++questions;
        EXPECT_NE(line.find("33:33:00:00:00:02 fe80::ff:fe00:1 > ff02::2"), std::string::npos);
      }
    }
    link.advance(1_s);
  }
  EXPECT_EQ(questions, 3);
  EXPECT_TRUE(link.inet.next_timeout().is_never());
}

TEST(Routers, GiveADefaultRouteForTheirLifetime) {
  Link link;
  link.settle();
  EXPECT_EQ(link.resolve("2001:db9::1"), PathState::unreachable);
  link.receive(router_advertisement(60, 1400));
  EXPECT_TRUE(link.inet.take_path_changes());
  EXPECT_EQ(link.inet.mtu(address("2001:db9::1")), 1400);
  EXPECT_EQ(link.inet.mtu(address("192.0.2.2")), 1500);
  PathRef path;
  ASSERT_EQ(link.resolve("2001:db9::1", path), PathState::ready);
  wire::TxFrame out;
  link.inet.emit(path, address("2001:db9::1"), 2, {.l4_bytes = 20}, out);
  EXPECT_EQ(MacAddress::load(out.header.data()), router_mac);
  link.advance(60_s);
  EXPECT_EQ(link.resolve("2001:db9::1"), PathState::unreachable);
  EXPECT_EQ(link.resolve("2001:db9::1", path), PathState::unreachable);
}

TEST(Routers, GiveUpWithALifetimeOfZero) {
  Link link;
  link.settle();
  link.receive(router_advertisement(60, 1500));
  link.receive(router_advertisement(0, 1500));
  EXPECT_EQ(link.resolve("2001:db9::1"), PathState::unreachable);
}

TEST(Routers, ThatAreNotOnThisLinkAreIgnored) {
  Link link;
  link.expect_dropped(router_advertisement(60, 1400, 0, "2001:db8::3"),
                      Counter::inet_drop_ndp_malformed);
  link.expect_dropped(router_advertisement(60, 1400, 0, "fe80::3", 254),
                      Counter::inet_drop_ndp_malformed);
  EXPECT_EQ(link.resolve("2001:db9::1"), PathState::unreachable);
  link.receive(router_advertisement(60, 1279));
  link.receive(router_advertisement(60, 9000));
  EXPECT_EQ(link.inet.mtu(address("2001:db9::1")), 1500);
}

TEST(Routers, AreAtMostFourAndPreferredAsTheySay) {
  Link link;
  link.settle();
  for (const char* from : {"fe80::10", "fe80::11", "fe80::12"}) {
    link.receive(router_advertisement(60, 1500, 3, from));  // low
  }
  link.receive(router_advertisement(60, 1500, 1, "fe80::13"));  // high
  link.expect_dropped(router_advertisement(60, 1500, 0, "fe80::14"), Counter::inet_routers_ignored);
}

TEST(Answers, ToArpRequestsComeFromTheAddressAskedFor) {
  Link link;
  link.settle();
  link.receive(Link::arp({.target_ip = "198.51.100.1", .link_to = MacAddress::broadcast()}));
  EXPECT_EQ(link.poll_line(),
            "02:00:00:00:00:01 > 02:00:00:00:00:02 arp 198.51.100.1 is at 02:00:00:00:00:01");
  EXPECT_EQ(link.inet.neighbor_count(), 1u);
  // A probe teaches nothing, but is answered.
  Link fresh;
  fresh.settle();
  fresh.receive(Link::arp({.from_ip = "0.0.0.0", .link_to = MacAddress::broadcast()}));
  EXPECT_EQ(fresh.inet.neighbor_count(), 0u);
  EXPECT_FALSE(fresh.poll().empty());
}

TEST(Answers, AreLeftToTheEngineThatAnswers) {
  Config config = default_config();
  config.answers_neighbors = false;
  Link link(config);
  EXPECT_EQ(link.poll_line(), "");  // announces nothing either
  link.receive(Link::arp({}));
  EXPECT_EQ(link.poll_line(), "");
  EXPECT_EQ(link.resolve("192.0.2.2"), PathState::ready);  // but learns
}

Frame solicitation(const Ip& addresses, std::string_view target, bool with_mac = true) {
  Frame message(32);
  message.resize(wire::emit_neighbor_solicitation(
      {.target = address(target).data(), .source_mac = peer_mac}, message));
  if (!with_mac) message.resize(24);
  store_be16(message.data() + 2,
             static_cast<uint16_t>(~sum_with_pseudo_header(addresses, message)));
  return ip(addresses, message);
}

const Ip to_group{.from = "2001:db8::2",
                  .to = "ff02::1:ff00:1",
                  .protocol = wire::protocol_icmpv6,
                  .hop_limit = 255,
                  .link = {.to = {{0x33, 0x33, 0xff, 0, 0, 1}}}};

TEST(Answers, ToSolicitationsGoToTheAsker) {
  Link link;
  link.settle();
  link.receive(solicitation(to_group, "2001:db8::1"));
  const Frame answer = link.poll();
  EXPECT_EQ(Link::line(answer),
            "02:00:00:00:00:01 > 02:00:00:00:00:02 2001:db8::1 > 2001:db8::2 is at me 2001:db8::1 "
            "len 24");
  EXPECT_EQ(load_u8(answer.data() + 14 + 7), 255);        // hop limit
  EXPECT_EQ(load_u8(answer.data() + 14 + 40 + 4), 0x60);  // solicited, override
  EXPECT_EQ(link.resolve("2001:db8::2"), PathState::ready);
}

TEST(Answers, ToDuplicateAddressDetectionGoToAllNodes) {
  Link link;
  link.settle();
  Ip probe = to_group;
  probe.from = "::";
  link.receive(solicitation(probe, "2001:db8::1", false));
  EXPECT_EQ(link.poll_line(),
            "02:00:00:00:00:01 > 33:33:00:00:00:01 2001:db8::1 > ff02::1 is at me 2001:db8::1 len "
            "24");
  link.expect_dropped(solicitation(probe, "2001:db8::1", true), Counter::inet_drop_ndp_malformed);
}

TEST(Answers, AreOnlyForOurAddressesAndOnlyFromThisLink) {
  Link link;
  link.settle();
  link.expect_dropped(solicitation(to_group, "2001:db8::ff00:1"), Counter::inet_drop_ndp_ignored);
  Ip far = to_group;
  far.hop_limit = 254;
  link.expect_dropped(solicitation(far, "2001:db8::1"), Counter::inet_drop_ndp_malformed);
  link.expect_dropped(solicitation(to_group, "ff02::1"), Counter::inet_drop_ndp_malformed);
  Frame bad = solicitation(to_group, "2001:db8::1");
  bad.back() ^= std::byte{1};
  link.expect_dropped(bad, Counter::inet_drop_icmp_checksum);
  EXPECT_EQ(link.poll_line(), "");
}

TEST(Announcements, TellEveryAddressTwiceAtStart) {
  Link link;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(link.poll_line(),
              "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who has 192.0.2.1 tell 192.0.2.1");
    EXPECT_EQ(link.poll_line(),
              "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who has 198.51.100.1 tell 198.51.100.1");
    const std::string report =
        "02:00:00:00:00:01 > 33:33:00:00:00:16 fe80::ff:fe00:1 > ff02::16 icmp6 type 143 code 0 "
        "len "
        "20";
    EXPECT_EQ(link.poll_line(), report);
    EXPECT_EQ(link.poll_line(),
              "02:00:00:00:00:01 > 33:33:00:00:00:01 2001:db8::1 > ff02::1 is at me 2001:db8::1 "
              "len 24");
    EXPECT_EQ(link.poll_line(), report);
    EXPECT_EQ(link.poll_line(),
              "02:00:00:00:00:01 > 33:33:00:00:00:01 fe80::ff:fe00:1 > ff02::1 is at me "
              "fe80::ff:fe00:1 len 24");
    while (!link.poll().empty()) {
    }
    link.advance(2_s);
  }
  link.advance(100_s);
  while (link.poll_line().find("router solicitation") != std::string::npos) {
  }
  EXPECT_EQ(link.poll_line(), "");
}

TEST(Conflicts, AreCountedAndDefendedOnceInTenSeconds) {
  Link link;
  link.settle();
  const Frame claim = Link::arp({.from_ip = "192.0.2.1", .link_to = MacAddress::broadcast()});
  link.receive(claim);
  EXPECT_EQ(link.counters.get(Counter::inet_address_conflicts), 1u);
  int frames = 0;
  while (!link.poll().empty()) ++frames;
  EXPECT_EQ(frames, 6);  // four addresses, two of them with their group
  link.receive(claim);
  link.advance(3_s);
  EXPECT_EQ(link.poll_line(), "");
  link.advance(10_s);
  link.receive(claim);
  EXPECT_FALSE(link.poll().empty());
}

TEST(Conflicts, AreNotSeenInWhatCameFromUs) {
  Link link;
  link.settle();
  link.receive(Link::arp({.from_ip = "192.0.2.1", .from = our_mac}));
  EXPECT_EQ(link.counters.get(Counter::inet_address_conflicts), 0u);
  // A port whose other end has the same MAC: its frames are as good as any.
  link.receive(Link::arp({.from = our_mac}));
  EXPECT_FALSE(link.poll().empty());
}

TEST(Arp, RefusesImpossibleSenders) {
  Link link;
  for (const char* from : {"192.0.2.255", "224.0.0.1", "127.0.0.1"}) {
    link.expect_dropped(Link::arp({.from_ip = from}), Counter::inet_drop_arp_malformed);
  }
  link.expect_dropped(Link::arp({.from = MacAddress::broadcast()}),
                      Counter::inet_drop_arp_malformed);
  link.expect_dropped(Link::arp({.operation = 3}), Counter::inet_drop_arp_malformed);
  Frame cut = Link::arp({});
  cut.resize(14 + 27);
  link.expect_dropped(cut, Counter::inet_drop_arp_malformed);
}

TEST(Arp, AnswersAreRateLimited) {
  Link link;
  link.settle();
  for (int i = 0; i < 1000; ++i) {
    link.receive(Link::arp({}));
    link.poll();
  }
  EXPECT_GT(link.counters.get(Counter::inet_drop_neighbor_rate), 500u);
  link.advance(1_s);
  link.receive(Link::arp({}));
  EXPECT_FALSE(link.poll().empty());
}

}  // namespace
}  // namespace sluice::inet
