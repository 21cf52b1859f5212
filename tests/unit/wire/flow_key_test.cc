#include "wire/flow_key.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "bytes.h"

namespace sluice::wire {
namespace {

constexpr uint64_t seed = 0x1234'5678'9abc'def0;
const std::string client = "c6336401", server = "c0000201";
const std::string client6 = "20010db8000000000000000000000002";
const std::string server6 = "20010db8000000000000000000000001";
const std::string ports_in = "c350 0050", ports_out = "0050 c350";

std::vector<std::byte> frame(std::string_view type, const std::vector<std::byte>& packet) {
  return bytes_of("020000000001 020000000002") + bytes_of(type) + packet;
}
std::vector<std::byte> ipv4(std::string_view protocol, const std::string& addresses,
                            const std::vector<std::byte>& payload,
                            std::string_view fragment = "4000") {
  std::vector<std::byte> packet = bytes_of("45 00 0000 0000") + bytes_of(fragment) +
                                  bytes_of("40") + bytes_of(protocol) + bytes_of("0000") +
                                  bytes_of(addresses) + payload;
  store_be16(packet.data() + 2, static_cast<uint16_t>(packet.size()));
  return packet;
}
std::vector<std::byte> ipv6(std::string_view next, const std::string& addresses,
                            const std::vector<std::byte>& payload) {
  std::vector<std::byte> packet =
      bytes_of("60000000 0000") + bytes_of(next) + bytes_of("40") + bytes_of(addresses) + payload;
  store_be16(packet.data() + 4, static_cast<uint16_t>(payload.size()));
  return packet;
}
std::vector<std::byte> tcp(const std::string& ports) {
  return bytes_of(ports) + std::vector<std::byte>(16);
}

const std::vector<std::byte> segment4 = frame("0800", ipv4("06", client + server, tcp(ports_in)));
const std::vector<std::byte> segment6 = frame("86dd", ipv6("06", client6 + server6, tcp(ports_in)));

TEST(FlowKey, OfAnIcmpErrorIsThatOfTheFlowItQuotes) {
  const FlowKey flow = flow_key(segment4, seed);
  ASSERT_EQ(flow.kind, FlowKind::tcp);
  // From a router; quotes what the server sent, 8 bytes of TCP only.
  const auto quote = ipv4("06", server + client, bytes_of(ports_out + "00000000"));
  const auto error =
      frame("0800", ipv4("01", "0a000001" + server, bytes_of("03 04 0000 00000500") + quote));
  const FlowKey key = flow_key(error, seed);
  EXPECT_EQ(key.kind, FlowKind::icmp_error);
  EXPECT_EQ(key.hash, flow.hash);
}

TEST(FlowKey, OfAnIcmpv6ErrorIsThatOfTheFlowItQuotes) {
  const FlowKey flow = flow_key(segment6, seed);
  ASSERT_EQ(flow.kind, FlowKind::tcp);
  const auto quote = ipv6("06", server6 + client6, bytes_of(ports_out + "00000000"));
  const auto error =
      frame("86dd", ipv6("3a", client6 + server6, bytes_of("02 00 0000 00000500") + quote));
  const FlowKey key = flow_key(error, seed);
  EXPECT_EQ(key.kind, FlowKind::icmp_error);
  EXPECT_EQ(key.hash, flow.hash);
}

TEST(FlowKey, LooksThroughATagOptionsAndExtensionHeaders) {
  const FlowKey flow4 = flow_key(segment4, seed);
  const auto packet4 = ipv4("06", client + server, tcp(ports_in));
  EXPECT_EQ(flow_key(frame("8100 0007 0800", packet4), seed).hash, flow4.hash);
  auto with_options = bytes_of("46 00 002c 0000 4000 40 06 0000") + bytes_of(client + server) +
                      bytes_of("94040000") + tcp(ports_in);
  EXPECT_EQ(flow_key(frame("0800", with_options), seed).hash, flow4.hash);
  const auto extended =
      ipv6("3c", client6 + server6, bytes_of("06 00 01 04 00000000") + tcp(ports_in));
  EXPECT_EQ(flow_key(frame("86dd", extended), seed).hash, flow_key(segment6, seed).hash);
}

TEST(FlowKey, IsNotSymmetricAndIsKeyed) {
  const auto reverse = frame("0800", ipv4("06", server + client, tcp(ports_out)));
  EXPECT_NE(flow_key(segment4, seed).hash, flow_key(reverse, seed).hash);
  EXPECT_NE(flow_key(segment4, seed).hash, flow_key(segment4, seed + 1).hash);
}

TEST(FlowKey, SpreadsPortsAndAddressesOverWorkers) {
  for (const uint32_t workers : {2u, 3u, 8u}) {
    std::vector<int> load(workers);
    std::vector<std::byte> bytes = segment4;
    for (uint16_t port = 0; port < 4096; ++port) {
      store_be16(bytes.data() + 34, static_cast<uint16_t>(40'000 + port));
      store_u8(bytes.data() + 29, static_cast<uint8_t>(port / 256));
      ++load[flow_key(bytes, seed).hash % workers];
    }
    for (const int count : load) EXPECT_NEAR(count, 4096.0 / workers, 4096.0 / workers * 0.15);
  }
}

TEST(FlowKey, CallsNeighborFramesByTheirName) {
  EXPECT_EQ(flow_key(frame("0806", {}), seed).kind, FlowKind::neighbor);
  for (const std::string_view type : {"85", "86", "87", "88", "89"}) {
    const auto message = bytes_of(type) + std::vector<std::byte>(23);
    EXPECT_EQ(flow_key(frame("86dd", ipv6("3a", client6 + server6, message)), seed).kind,
              FlowKind::neighbor);
  }
  const auto echo = bytes_of("80 00 0000 00000000");
  EXPECT_EQ(flow_key(frame("86dd", ipv6("3a", client6 + server6, echo)), seed).kind,
            FlowKind::other);
}

TEST(FlowKey, OfAnythingCutShortIsOther) {
  const auto quote = ipv4("06", server + client, bytes_of(ports_out));
  const auto error =
      frame("0800", ipv4("01", "0a000001" + server, bytes_of("03 04 0000 00000500") + quote));
  for (const auto& whole : {segment4, segment6, error}) {
    for (size_t length = 0; length < whole.size(); ++length) {
      const std::vector<std::byte> prefix(whole.begin(),
                                          whole.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_EQ(flow_key(prefix, seed).kind, FlowKind::other);
    }
  }
  EXPECT_EQ(flow_key(frame("0800", ipv4("06", client + server, tcp(ports_in), "2000")), seed).kind,
            FlowKind::other);
}

}  // namespace
}  // namespace sluice::wire
