// Multicast listener reports.

#include "link.h"
#include "wire/mld.h"

namespace sluice::inet {
namespace {

struct Query {
  size_t bytes = 28;
  std::string from = "fe80::9";
  uint8_t hop_limit = 1;
};

Frame query(const Query& query) {
  Ip addresses{.from = query.from,
               .to = "ff02::1",
               .protocol = wire::protocol_icmpv6,
               .hop_limit = query.hop_limit,
               .link = {.to = multicast_mac_of(all_nodes), .from = router_mac}};
  const Frame message = icmp(addresses, {.type = wire::icmpv6::mld_query}, Frame(query.bytes - 8));
  Frame options(8);
  options[0] = std::byte{wire::protocol_icmpv6};
  store_be32(options.data() + 2, 0x0502'0000);
  addresses.protocol = wire::next_header_hop_by_hop;
  return ip(addresses, options + message);
}

// The groups that the frames of one round report, checked as a router would.
std::vector<Address> reported(Link& link, uint8_t type) {
  std::vector<Address> groups;
  for (Frame frame = link.poll(); !frame.empty(); frame = link.poll()) {
    const Bytes packet = Bytes(frame).subspan(14);
    EXPECT_EQ(load_u8(packet.data() + 7), 1);  // hop limit
    const wire::ExtensionResult walk = wire::walk_extensions(packet);
    EXPECT_EQ(walk.outcome, wire::ExtensionWalk::upper_layer);
    EXPECT_EQ(walk.offset_bytes, 48);
    EXPECT_EQ(load_be16(packet.data() + 42), 0x0502);  // router alert
    const Bytes message = packet.subspan(walk.offset_bytes);
    EXPECT_EQ(wire::fold_sum(wire::ipv6_pseudo_sum({packet.data() + 8, packet.data() + 24,
                                                    wire::protocol_icmpv6,
                                                    static_cast<uint32_t>(message.size())}) +
                             wire::sum_bytes(message)),
              0xffff);
    EXPECT_EQ(load_u8(message.data()), type);
    groups.push_back(Address::v6(message.data() + message.size() - 16));
  }
  return groups;
}

const std::vector<Address> our_groups = {address("ff02::1:ff00:1"), address("ff02::1:ff00:1")};

TEST(Listening, AnswersAQueryWithEveryGroup) {
  Link link;
  link.settle();
  link.receive(query({}));
  EXPECT_EQ(reported(link, wire::icmpv6::mld_report_v2), our_groups);
}

TEST(Listening, AnswersAnOldQuerierInItsOwnVersion) {
  Link link;
  link.settle();
  link.receive(query({.bytes = 24}));
  EXPECT_EQ(reported(link, wire::icmpv6::mld_report_v1), our_groups);
}

TEST(Listening, IgnoresQueriesThatAreNotOfThisLink) {
  Link link;
  link.settle();
  for (const Query& bad : {Query{.bytes = 23}, Query{.bytes = 27}, Query{.from = "2001:db8::9"},
                           Query{.hop_limit = 2}}) {
    link.expect_dropped(query(bad), Counter::inet_drop_mld_malformed);
  }
  EXPECT_EQ(link.poll_line(), "");
}

TEST(Listening, IsLeftToTheEngineThatAnswers) {
  Config config = default_config();
  config.answers_neighbors = false;
  Link link(config);
  link.receive(query({}));
  EXPECT_EQ(link.poll_line(), "");
}

TEST(Listening, AndAllElseOfIpv6CanBeTurnedOff) {
  Config config = default_config();
  config.ipv6 = false;
  Link link(config);
  link.expect_dropped(query({}), Counter::inet_drop_ether_type);
  EXPECT_EQ(link.inet.local_count(), 2u);
  for (std::string line = link.poll_line(); !line.empty(); line = link.poll_line()) {
    EXPECT_NE(line.find("arp"), std::string::npos) << line;
  }
  EXPECT_EQ(link.resolve("2001:db8::2"), PathState::unreachable);
}

}  // namespace
}  // namespace sluice::inet
