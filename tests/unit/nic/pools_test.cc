#include "nic/pools.h"

#include <gtest/gtest.h>

namespace sluice::nic {
namespace {

TEST(Pools, AFrameOfTheMtuFitsOneMbuf) {
  // 128 of head room, Ethernet, two tags and FCS.
  EXPECT_GE(plan_pools({.mtu = 1500}).rx_data_bytes, 128u + 2048u);
  EXPECT_GE(plan_pools({.mtu = 9000}).rx_data_bytes, 128u + 9000u + 26u);
}

TEST(Pools, CopyingDriversNeedNoPayloadMbufs) {
  EXPECT_GT(plan_pools({}).payload_mbufs, 0u);
  EXPECT_EQ(plan_pools({.chained_mbufs = false}).payload_mbufs, 0u);
}

TEST(Pools, AUmemHoldsBothDirections) {
  const PoolPlan plan = plan_pools({.rx_descriptors = 2048,
                                    .tx_descriptors = 2048,
                                    .chained_mbufs = false,
                                    .sends_from_rx_pool = true});
  // Fill ring, rx ring and tx ring.
  EXPECT_GT(plan.rx_mbufs, 3u * 2048u);
  EXPECT_EQ(plan.header_mbufs, 0u);
}

TEST(Pools, EachRingOfAQueueHasBuffersOfItsOwn) {
  const PoolPlan one = plan_pools({.rx_descriptors = 1024});
  const PoolPlan two = plan_pools({.rx_descriptors = 1024, .rx_rings = 2});
  EXPECT_EQ(two.rx_mbufs, one.rx_mbufs + 1024);
}

TEST(Pools, BudgetGrowsWithWhatIsAsked) {
  const uint64_t one = packet_memory_bytes({}, 1);
  EXPECT_EQ(one % (2u << 20), 0u);
  EXPECT_GT(packet_memory_bytes({.workers = 4, .queue_pairs = 4}, 1), one);
  EXPECT_GT(packet_memory_bytes({}, 2), one);
  EXPECT_GT(packet_memory_bytes({.mtu = 9000}, 1), one);
  EXPECT_LT(one, 128u << 20);
}

}  // namespace
}  // namespace sluice::nic
