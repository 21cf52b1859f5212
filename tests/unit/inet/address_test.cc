#include "inet/address.h"

#include <gtest/gtest.h>

namespace sluice::inet {
namespace {

std::string again(std::string_view text) {
  Address address;
  return parse_address(text, address) ? std::string(format(address)) : "refused";
}

TEST(Address, IsWrittenAsRfc5952Says) {
  EXPECT_EQ(again("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(again("0.0.0.0"), "0.0.0.0");
  EXPECT_EQ(again("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
  EXPECT_EQ(again("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");
  EXPECT_EQ(again("2001:0:0:1:0:0:0:1"), "2001:0:0:1::1");
  EXPECT_EQ(again("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
  EXPECT_EQ(again("::"), "::");
  EXPECT_EQ(again("::1"), "::1");
  EXPECT_EQ(again("fe80::"), "fe80::");
  EXPECT_EQ(again("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(again("64:ff9b::192.0.2.33"), "64:ff9b::c000:221");
  EXPECT_EQ(again("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
}

TEST(Address, RefusesWhatIsNotOne) {
  for (const std::string_view text : {"",
                                      " ",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "1.2.3.256",
                                      "1.2.3.-4",
                                      "1.2.3.4 ",
                                      "01.2.3.4",
                                      "1..3.4",
                                      "1.2.3.",
                                      ":",
                                      ":::",
                                      "1:",
                                      ":1",
                                      "1::2::3",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1:2:3:4:5:6:7::8",
                                      "12345::",
                                      "g::",
                                      "::1.2.3",
                                      "1.2.3.4::",
                                      "::1.2.3.4:5",
                                      "fe80::1%eth0",
                                      "0x1.2.3.4",
                                      "192.0.2.1/24"}) {
    EXPECT_EQ(again(text), "refused") << text;
  }
}

TEST(Address, KnowsItsKind) {
  const auto parsed = [](std::string_view text) {
    Address address;
    EXPECT_TRUE(parse_address(text, address));
    return address;
  };
  EXPECT_TRUE(parsed("1.2.3.4").is_v4());
  EXPECT_FALSE(parsed("::1.2.3.4").is_v4());
  EXPECT_EQ(parsed("1.2.3.4").v4_bits(), 0x01020304u);
  EXPECT_TRUE(parsed("224.0.0.1").is_multicast());
  EXPECT_TRUE(parsed("ff02::1").is_multicast());
  EXPECT_FALSE(parsed("fe80::1").is_multicast());
  EXPECT_TRUE(parsed("fe80::1").is_link_local());
  EXPECT_TRUE(parsed("febf::1").is_link_local());
  EXPECT_FALSE(parsed("fec0::1").is_link_local());
  EXPECT_TRUE(parsed("127.1.2.3").is_loopback());
  EXPECT_TRUE(parsed("::1").is_loopback());
  EXPECT_TRUE(parsed("::").is_unspecified());
  EXPECT_TRUE(parsed("0.0.0.0").is_unspecified());
  EXPECT_EQ(format(parsed("2001:db8::12:3456").solicited_node()).view(), "ff02::1:ff12:3456");
}

TEST(Address, IsDerivedFromAMac) {
  const wire::MacAddress mac{{0x00, 0x1b, 0x21, 0xab, 0xcd, 0xef}};
  EXPECT_EQ(format(link_local_of(mac)).view(), "fe80::21b:21ff:feab:cdef");
  EXPECT_EQ(wire::format_mac(multicast_mac_of(link_local_of(mac).solicited_node())).view(),
            "33:33:ff:ab:cd:ef");
}

TEST(Prefix, ContainsItsAddresses) {
  const auto contains = [](std::string_view prefix_text, std::string_view text) {
    Prefix prefix;
    Address address;
    EXPECT_TRUE(parse_prefix(prefix_text, prefix) && parse_address(text, address));
    return prefix.contains(address);
  };
  EXPECT_TRUE(contains("192.0.2.1/24", "192.0.2.255"));
  EXPECT_FALSE(contains("192.0.2.1/24", "192.0.3.1"));
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.9"));
  EXPECT_FALSE(contains("0.0.0.0/0", "2001:db8::1"));
  EXPECT_FALSE(contains("::/0", "192.0.2.1"));
  EXPECT_TRUE(contains("::/0", "2001:db8::1"));
  EXPECT_TRUE(contains("2001:db8::/65", "2001:db8::7fff:0:0:1"));
  EXPECT_FALSE(contains("2001:db8::/65", "2001:db8::8000:0:0:1"));
  EXPECT_TRUE(contains("192.0.2.1/32", "192.0.2.1"));
  EXPECT_FALSE(contains("192.0.2.1", "192.0.2.0"));
  EXPECT_FALSE(contains("2001:db8::1/128", "2001:db8::2"));
}

TEST(Prefix, KnowsItsBroadcastAddress) {
  Prefix prefix;
  ASSERT_TRUE(parse_prefix("192.0.2.1/28", prefix));
  EXPECT_TRUE(prefix.is_broadcast(Address::v4(0xc000020f)));
  EXPECT_FALSE(prefix.is_broadcast(Address::v4(0xc000020e)));
  EXPECT_FALSE(prefix.is_broadcast(Address::v4(0xc000021f)));
  ASSERT_TRUE(parse_prefix("192.0.2.0/31", prefix));
  EXPECT_FALSE(prefix.is_broadcast(Address::v4(0xc0000201)));
}

TEST(Prefix, IsParsedWhole) {
  Prefix prefix;
  for (const std::string_view text :
       {"192.0.2.1/33", "192.0.2.1/", "192.0.2.1/ 8", "2001:db8::/129", "/8", "192.0.2.1/-1"}) {
    EXPECT_FALSE(parse_prefix(text, prefix)) << text;
  }
  ASSERT_TRUE(parse_prefix("2001:db8::1/64", prefix));
  EXPECT_EQ(format(prefix).view(), "2001:db8::1/64");
}

}  // namespace
}  // namespace sluice::inet
