// A device that the kernel wants back, as DPDK's interrupt thread tells it.
#include <gtest/gtest.h>

#define ALLOW_EXPERIMENTAL_API 1
#include <rte_dev.h>
#include <rte_ethdev.h>

#include "edge.h"

namespace sluice::nic::test {
namespace {

class Removal : public testing::Test {
 protected:
  void SetUp() override { workers_.push_back(std::make_unique<Worker>(0)); }
  std::vector<std::unique_ptr<Worker>> workers_;
};

TEST_F(Removal, IsSeenForTheDeviceItIsMeantFor) {
  const auto port = start_port("net_ring0", {}, workers_);
  ASSERT_TRUE(port);
  EXPECT_FALSE(port->is_wanted_back());
  rte_dev_event_callback_process("net_ring77", RTE_DEV_EVENT_REMOVE);
  rte_dev_event_callback_process("net_ring0", RTE_DEV_EVENT_ADD);
  EXPECT_FALSE(port->is_wanted_back());
  rte_dev_event_callback_process("net_ring0", RTE_DEV_EVENT_REMOVE);
  EXPECT_TRUE(port->is_wanted_back());
}

TEST_F(Removal, GivingBackLeavesNoPinAndNoDevice) {
  const auto port = start_port("net_ring0", {}, workers_);
  ASSERT_TRUE(port);
  EXPECT_TRUE(port->link_up());
  port->queue(0).send(make_train({.payload = {extent(2, 0, 3000), extent(3, 0, 100)}}));
  port->queue(0).flush();
  EXPECT_GT(workers_[0]->pins.total(), 0u);
  EXPECT_GT(port->counters().tx_mbufs, 0u);
  port->give_back(Duration());
  EXPECT_EQ(workers_[0]->pins.total(), 0u);
  uint16_t id = 0;
  EXPECT_NE(rte_eth_dev_get_port_by_name("net_ring0", &id), 0);
  // What telemetry may still ask.
  EXPECT_FALSE(port->link_up());
  EXPECT_EQ(port->counters().tx_mbufs, 0u);
  EXPECT_EQ(port->facts().driver, "net_ring");
}

TEST_F(Removal, ThePlaceCanBeTakenAgain) {
  for (int turn = 0; turn < 2; ++turn) {
    const auto port = start_port("net_ring0", {}, workers_);
    ASSERT_TRUE(port);
    EXPECT_FALSE(port->is_wanted_back());
    rte_dev_event_callback_process("net_ring0", RTE_DEV_EVENT_REMOVE);
    port->give_back(Duration());
  }
}

}  // namespace
}  // namespace sluice::nic::test
