// Paths that carry less than the link says, and tell nobody.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "world.h"

namespace sluice::engine {
namespace {

using sim::ReferenceClient;
using sim::World;
using sim::WorldOptions;
using stats::Counter;

constexpr int64_t second_ns = 1'000'000'000;
constexpr uint64_t file_bytes = 3'000'000;

uint16_t mss_of(World& world) {
  for (uint32_t i = 0; i < world.engine().tcp().connections_max(); ++i) {
    const tcp::ConnectionIndex connection(i);
    if (world.engine().tcp().is_open(connection)) return world.engine().tcp().info(connection).mss;
  }
  return 0;
}

class SilentPath : public ::testing::TestWithParam<std::tuple<bool, int>> {};

TEST_P(SilentPath, IsFoundAndUsedToTheFull) {
  const bool ipv6 = std::get<0>(GetParam());
  const int carries = std::get<1>(GetParam());
  WorldOptions options{.ipv6 = ipv6};
  options.link.carries_bytes = static_cast<size_t>(carries);
  options.link.delay_ns = 5'000'000;
  World world(options);
  world.content().add_file("a", file_bytes, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), "GET /a HTTP/1.1\r\nHost: s\r\n\r\n");
  const auto body_bytes = [&] {
    const size_t at = client.received().find("\r\n\r\n");
    return at == std::string::npos ? 0 : client.received().size() - at - 4;
  };
  ASSERT_TRUE(world.run_until([&] { return body_bytes() == file_bytes; }, 20 * second_ns))
      << client.received_bytes();
  EXPECT_TRUE(client.received().substr(client.received().size() - file_bytes) ==
              sim::pattern(1, 0, file_bytes));
  EXPECT_EQ(world.counters().get(Counter::tcp_path_black_holes), 1u);
  // Headers: IP, TCP, timestamps.
  const int packet = mss_of(world) + (ipv6 ? 40 : 20) + 20 + 12;
  EXPECT_LE(packet, carries);
  EXPECT_GT(packet, carries - 32);
  EXPECT_EQ(world.violations(), "");
}

INSTANTIATE_TEST_SUITE_P(Sizes, SilentPath,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values(1280, 1400, 1420, 1480)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) ? "IPv6" : "IPv4") + "Of" +
                                  std::to_string(std::get<1>(test.param));
                         });

TEST(SilentPath, OfTheLeastSizeOfIpv4IsFound) {
  WorldOptions options;
  options.link.carries_bytes = 700;
  World world(options);
  world.content().add_file("a", 300'000, 1);
  ReferenceClient& client = world.connect();
  client.send(world.now_ns(), "GET /a HTTP/1.1\r\nHost: s\r\n\r\n");
  EXPECT_TRUE(world.run_until([&] { return client.received_bytes() > 300'000; }, 60 * second_ns));
  EXPECT_LE(mss_of(world) + 52, 700);
}

TEST(SilentPath, AClientThatWasAwayGetsItsLargeSegmentsBack) {
  World world({});
  world.content().add_file("a", file_bytes, 1);
  ReferenceClient& client = world.connect({.window_bytes = 100'000});
  client.send(world.now_ns(), "GET /a HTTP/1.1\r\nHost: s\r\n\r\n");
  ASSERT_TRUE(world.run_until([&] { return client.received_bytes() > 500'000; }, second_ns));
  EXPECT_EQ(mss_of(world), 1448);
  world.set_partitioned(true);
  world.run_for(8 * second_ns);
  EXPECT_LT(mss_of(world), 1448);
  world.set_partitioned(false);
  ASSERT_TRUE(
      world.run_until([&] { return client.received_bytes() > file_bytes; }, 30 * second_ns));
  EXPECT_EQ(mss_of(world), 1448);
}

}  // namespace
}  // namespace sluice::engine
