#include "check_rdma.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;
using RdmaDevice = rdma::DeviceFacts;

RdmaQuestion question() {
  return {.listen = "10.0.0.1:7900", .arena_bytes = 1u << 30, .may_lock_any = true};
}

// As it should be.
RdmaDevice good_device() {
  RdmaDevice out;
  out.name = "mlx5_0";
  out.driver = "mlx5_core";
  out.numa_node = 0;
  out.state = "ACTIVE";
  out.link_layer = "Ethernet";
  out.interface = "ens1";
  out.interface_mtu = 9000;
  out.gids = {{0, "fe80::1", "IB/RoCE v1", "ens1"},
              {2, "10.0.0.1", "IB/RoCE v1", "ens1"},
              {3, "10.0.0.1", "RoCE v2", "ens1"}};
  out.was_asked = true;
  out.mr_bytes_max = UINT64_MAX;
  out.has_windows = true;
  out.active_mtu = 4096;
  return out;
}

std::vector<Finding> judge(const RdmaQuestion& asked, const RdmaDevice& device) {
  return judge_rdma(asked, {.why_not = "", .devices = {device}});
}
// What is not ok.
std::vector<Finding> complaints(std::vector<Finding> findings) {
  std::erase_if(findings, [](const Finding& each) { return each.level == Level::ok; });
  return findings;
}

TEST(CheckRdma, AGoodDeviceHasNothingToCure) {
  const auto findings = judge(question(), good_device());
  EXPECT_TRUE(complaints(findings).empty()) << format_findings(findings);
  EXPECT_NE(format_findings(findings).find("GID 3 is 10.0.0.1, RoCE v2"), std::string::npos);
}

TEST(CheckRdma, WithoutTheLibrariesTcpDoesTheWork) {
  const rdma::Facts none{.why_not = "libibverbs.so.1 is not installed", .devices = {}};
  RdmaQuestion asked = question();
  EXPECT_TRUE(is_ready(judge_rdma(asked, none)));
  asked.required = true;
  EXPECT_FALSE(is_ready(judge_rdma(asked, none)));
  EXPECT_NE(judge_rdma(asked, none)[0].what.find("RDMA not available: libibverbs"),
            std::string::npos);
}

TEST(CheckRdma, EachFaultHasItsCure) {
  struct Case {
    const char* what;
    const char* cure;
    void (*spoil)(RdmaQuestion&, RdmaDevice&);
  };
  const std::array cases{
      Case{"its port is DOWN", "ip link set ens1 up",
           [](RdmaQuestion&, RdmaDevice& d) { d.state = "DOWN"; }},
      Case{"software", "--rdma off", [](RdmaQuestion&, RdmaDevice& d) { d.is_software = true; }},
      Case{"only a GID of type IB/RoCE v1", "cma_roce_mode",
           [](RdmaQuestion&, RdmaDevice& d) { d.gids.pop_back(); }},
      Case{"path MTU 1024", "ip link set ens1 mtu 4200",
           [](RdmaQuestion&, RdmaDevice& d) {
             d.active_mtu = 1024;
             d.interface_mtu = 1500;
           }},
      Case{"no memory windows", "--rdma off",
           [](RdmaQuestion&, RdmaDevice& d) { d.has_windows = false; }},
      Case{"do not keep to their bounds", "--rdma off",
           [](RdmaQuestion&, RdmaDevice& d) { d.windows_are_unbounded = true; }},
      Case{"the arena is on node 1", "arena's node",
           [](RdmaQuestion& q, RdmaDevice&) { q.arena_node = 1; }},
      Case{"the limit is", "ulimit -l unlimited",
           [](RdmaQuestion& q, RdmaDevice&) {
             q.may_lock_any = false;
             q.locked_memory_max_bytes = 8u << 20;
           }},
      Case{"10.0.0.9 is the address of no RDMA device (mlx5_0)", "rdma link",
           [](RdmaQuestion& q, RdmaDevice&) { q.listen = "10.0.0.9:7900"; }},
      Case{"there is no RDMA device mlx5_7", "rdma link",
           [](RdmaQuestion& q, RdmaDevice&) { q.device = "mlx5_7"; }},
  };
  for (const Case& each : cases) {
    RdmaQuestion asked = question();
    RdmaDevice device = good_device();
    each.spoil(asked, device);
    const auto found = complaints(judge(asked, device));
    ASSERT_EQ(found.size(), 1u) << each.what << "\n" << format_findings(found);
    EXPECT_NE(found[0].what.find(each.what), std::string::npos) << found[0].what;
    EXPECT_NE(found[0].cure.find(each.cure), std::string::npos) << found[0].cure;
  }
}

TEST(CheckRdma, ASmallLimitOfRegistrationIsNoFault) {
  RdmaDevice device = good_device();
  device.mr_bytes_max = 64u << 20;
  const auto findings = judge(question(), device);
  EXPECT_TRUE(complaints(findings).empty());
  EXPECT_NE(format_findings(findings).find("in parts"), std::string::npos);
}

TEST(CheckRdma, ListeningEverywhereJudgesEveryDevice) {
  RdmaQuestion asked = question();
  asked.listen = ":7900";
  RdmaDevice other = good_device();
  other.name = "mlx5_1";
  other.gids = {{0, "fe80::2", "RoCE v2", "ens2"}};
  const auto found =
      complaints(judge_rdma(asked, {.why_not = "", .devices = {good_device(), other}}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].what.find("mlx5_1: its GID table has no IP address"), std::string::npos);
}

TEST(CheckRdma, CountersThatGrowAreWarnings) {
  const auto quiet = judge_counters("mlx5_0", {{"out_of_buffer", 0}}, {{"out_of_buffer", 0}});
  ASSERT_EQ(quiet.size(), 1u);
  EXPECT_EQ(quiet[0].level, Level::ok);
  const auto past = judge_counters("mlx5_0", {{"out_of_buffer", 3}}, {{"out_of_buffer", 3}});
  ASSERT_EQ(past.size(), 1u);
  EXPECT_EQ(past[0].level, Level::ok);
  EXPECT_NE(past[0].what.find("out_of_buffer 3, none just now"), std::string::npos) << past[0].what;
  const auto growing = judge_counters("mlx5_0", {{"packet_seq_err", 3}, {"sent_pkts", 1}},
                                      {{"packet_seq_err", 5}, {"sent_pkts", 9}});
  ASSERT_EQ(growing.size(), 1u);
  EXPECT_EQ(growing[0].level, Level::warning);
  EXPECT_NE(growing[0].what.find("2 of them just now"), std::string::npos) << growing[0].what;
  EXPECT_NE(growing[0].cure.find("PFC"), std::string::npos);
}

TEST(CheckRdma, APathThatCarriesOnlySmallPacketsIsSaidSo) {
  using Outcome = PathAnswer::Outcome;
  const auto found = judge_paths({{"b:1", 9000, Outcome::whole},
                                  {"c:1", 9000, Outcome::small_only},
                                  {"d:1", 9000, Outcome::silent}});
  EXPECT_EQ(found[0].level, Level::ok);
  EXPECT_NE(found[1].cure.find("MTU"), std::string::npos);
  EXPECT_NE(found[2].what.find("no answer"), std::string::npos);
}

TEST(CheckRdma, AnEchoToThisMachineComesBack) {
  const PathAnswer answer = probe_path("127.0.0.1:7900", 9000);
  if (answer.outcome == PathAnswer::Outcome::not_tried) GTEST_SKIP() << "may not ping";
  EXPECT_EQ(answer.outcome, PathAnswer::Outcome::whole);
}

struct FakeSys : testing::Test {
  fs::path root = fs::temp_directory_path() / ("sluice-sys-" + std::to_string(getpid()));
  void TearDown() override { fs::remove_all(root); }
  void put(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text << "\n";
  }
};

TEST_F(FakeSys, IsReadAsTheKernelWritesIt) {
  const std::string port = "class/infiniband/rxe0/ports/1/";
  put("class/infiniband/rxe0/parent", "eth0");
  put(port + "state", "4: ACTIVE");
  put(port + "link_layer", "Ethernet");
  put(port + "rate", "2.5 Gb/sec (1X SDR)");
  put(port + "gids/0", "fe80:0000:0000:0000:5054:00ff:fe60:0102");
  put(port + "gids/1", "0000:0000:0000:0000:0000:ffff:0a3c:0102");
  put(port + "gids/2", "0000:0000:0000:0000:0000:0000:0000:0000");
  for (const char* index : {"0", "1"}) {
    put(port + "gid_attrs/types/" + index, "RoCE v2");
    put(port + "gid_attrs/ndevs/" + index, "eth0");
  }
  put(port + "hw_counters/rcvd_seq_err", "7");
  put(port + "hw_counters/lifespan", "10");
  put("class/net/eth0/mtu", "9000");
  const auto devices = rdma::read_devices(root);
  ASSERT_EQ(devices.size(), 1u);
  const RdmaDevice& device = devices[0];
  EXPECT_EQ(device.driver, "rdma_rxe");
  EXPECT_TRUE(device.is_software);
  EXPECT_EQ(device.state, "ACTIVE");
  EXPECT_EQ(device.interface_mtu, 9000u);
  ASSERT_EQ(device.gids.size(), 2u);
  EXPECT_EQ(device.gids[1].address, "10.60.1.2");
  EXPECT_EQ(device.gids[1].index, 1u);
  EXPECT_EQ(device.counters, (std::map<std::string, uint64_t>{{"rcvd_seq_err", 7}}));
}

}  // namespace
}  // namespace sluice::app
