#include "nic/port_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_ethdev.h>

#include "nic/paths.h"

namespace sluice::nic {
namespace {

using testing::Contains;
using testing::HasSubstr;

DriverProfile profile_of(const char* name) {
  return find_profile(source_drivers_directory, name).value();
}

rte_eth_dev_info everything() {
  rte_eth_dev_info info{};
  info.rx_offload_capa = ~uint64_t{0};
  info.tx_offload_capa = ~uint64_t{0};
  return info;
}

TEST(PlanOffloads, TurnsOnWhatBothHave) {
  std::vector<std::string> notes;
  const Offloads on = plan_offloads(profile_of("ice"), everything(), notes);
  EXPECT_EQ(on, (Offloads{true, true, true, true}));
  EXPECT_TRUE(notes.empty());
}

TEST(PlanOffloads, ProfileMayAvoidWhatTheDeviceClaims) {
  std::vector<std::string> notes;
  const Offloads on = plan_offloads(profile_of("tap"), everything(), notes);
  EXPECT_EQ(on, (Offloads{.chained_mbufs = true}));
}

TEST(PlanOffloads, SaysWhatTheDeviceLacks) {
  std::vector<std::string> notes;
  rte_eth_dev_info info{};
  info.tx_offload_capa = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  const Offloads on = plan_offloads(profile_of("ice"), info, notes);
  // TSO without checksums is of no use.
  EXPECT_EQ(on, (Offloads{.chained_mbufs = true}));
  EXPECT_THAT(notes, Contains(HasSubstr("tx checksum")));
}

TEST(PlanOffloads, TooFewPiecesPerFrameMeansCopying) {
  std::vector<std::string> notes;
  rte_eth_dev_info info = everything();
  info.tx_desc_lim.nb_mtu_seg_max = 4;
  const Offloads on = plan_offloads(profile_of("ice"), info, notes);
  EXPECT_FALSE(on.chained_mbufs);
  EXPECT_FALSE(on.tcp_segmentation);
  EXPECT_TRUE(on.tx_checksum);
}

TEST(PlanPairs, OneAWorkerWithinTheLimits) {
  const DriverProfile tap = profile_of("tap");
  EXPECT_EQ(plan_pairs(tap, {.workers = 4}), 4);
  EXPECT_EQ(plan_pairs(tap, {.workers = 4, .limit = 2}), 2);
  EXPECT_EQ(plan_pairs(tap, {.workers = 64}), 16);
  EXPECT_EQ(plan_pairs(tap, {.workers = 4, .limit = 0}), 1);
}

TEST(PlanPairs, EveryQueueOfAnXdpInterfaceNeedsASocket) {
  const DriverProfile xdp = profile_of("af_xdp");
  EXPECT_EQ(plan_pairs(xdp, {.workers = 1, .interface_queues = 4}), 4);
  EXPECT_EQ(plan_pairs(xdp, {.workers = 4, .interface_queues = 1}), 1);
}

TEST(ExpectedPools, KnowsTheUmemAndTheSlots) {
  const PortSpec none = parse_port_spec("af_xdp:nothere", 0).value();
  const PoolNeeds xdp = expected_pools(none, profile_of("af_xdp"), {});
  EXPECT_TRUE(xdp.sends_from_rx_pool);
  EXPECT_FALSE(xdp.chained_mbufs);
  EXPECT_EQ(xdp.queue_pairs, 1u);
  EXPECT_EQ(expected_pools(none, profile_of("af_packet"), 9000).frame_bytes_min, 16384u);
  EXPECT_EQ(expected_pools(none, profile_of("tap"), {}).mtu, 1500);
}

TEST(DeriveMac, IsLocalUnicastStableAndOfTheName) {
  const MacAddress mac = derive_mac("sluice0");
  EXPECT_EQ(mac[0] & 0x03, 0x02);
  EXPECT_EQ(mac, derive_mac("sluice0"));
  EXPECT_NE(mac, derive_mac("sluice1"));
}

TEST(JoinDevargs, FillsPlacesAndLetsTheOperatorWin) {
  const DriverProfile packet = profile_of("af_packet");
  const std::string usual = join_devargs(packet, "iface=veth0", {.queues = 2});
  EXPECT_THAT(usual, HasSubstr("qpairs=2"));
  EXPECT_THAT(usual, HasSubstr("framesz=2048"));
  EXPECT_THAT(usual, HasSubstr(",iface=veth0"));
  const std::string own = join_devargs(packet, "iface=veth0,qdisc_bypass=0", {.mtu = 9000});
  EXPECT_THAT(own, HasSubstr("framesz=16384"));
  EXPECT_THAT(own, HasSubstr("qdisc_bypass=0"));
  EXPECT_EQ(own.find("qdisc_bypass=1"), std::string::npos);
  EXPECT_EQ(join_devargs(profile_of("tap"), "", {}), "");
}

}  // namespace
}  // namespace sluice::nic
