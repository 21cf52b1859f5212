#include "check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Level = Finding::Level;

constexpr const char* address = "0000:01:00.0";

/// A /sys and a /dev with one NIC, as Linux lays them out.
class FakeHost : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("sluice-check-test-" + std::to_string(getpid()));
    fs::create_directories(dev() / "vfio");
    write("class", "0x020000");
  }
  void TearDown() override { fs::remove_all(root_); }

  [[nodiscard]] fs::path sys() const { return root_ / "sys"; }
  [[nodiscard]] fs::path dev() const { return root_ / "dev"; }
  [[nodiscard]] fs::path device(const char* which = address) const {
    return sys() / "bus/pci/devices" / which;
  }
  void write(const char* name, const char* text, const char* which = address) const {
    const fs::path path = device(which) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  void bind(const char* driver, const char* which = address) const {
    fs::create_directories(device(which));
    fs::create_symlink(sys() / "bus/pci/drivers" / driver, device(which) / "driver");
  }
  void put_in_group(const char* number, const std::vector<const char*>& members) const {
    const fs::path group = sys() / "kernel/iommu_groups" / number;
    for (const char* member : members) {
      fs::create_directories(group / "devices" / member);
      fs::create_directories(device(member));
      fs::create_symlink(group, device(member) / "iommu_group");
    }
    std::ofstream(dev() / "vfio" / number) << "";
  }
  [[nodiscard]] std::vector<Finding> judged() const {
    return judge_device(spec(), read_device(address, sys(), dev()));
  }
  static nic::PortSpec spec() { return {.text = address, .is_pci = true, .device = address}; }

  fs::path root_;
};

TEST_F(FakeHost, ANicAtVfioBehindAnIommuIsReady) {
  bind("vfio-pci");
  put_in_group("12", {address});
  write("iommu/intel-iommu/cap", "d2008c222f0686");  // bits 21 to 16 are 0x2f: 48 bits
  const auto findings = judged();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].level, Level::ok);
  EXPECT_THAT(findings[0].what, HasSubstr("IOMMU group 12, 48-bit addresses"));
}

TEST_F(FakeHost, AKernelDriverIsABlockerWithTheCommandThatCuresIt) {
  bind("virtio-pci");
  fs::create_directories(device() / "virtio2/net/eth1");
  const auto findings = judged();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].level, Level::blocker);
  EXPECT_THAT(findings[0].what, HasSubstr("virtio-pci as eth1"));
  EXPECT_EQ(findings[0].cure, "scripts/host-setup --bind 0000:01:00.0");
}

TEST_F(FakeHost, WithoutAnIommuOnlyWhereItWasAllowed) {
  bind("vfio-pci");
  EXPECT_EQ(judged().at(0).level, Level::blocker);
  fs::create_directories(sys() / "module/vfio/parameters");
  std::ofstream(sys() / "module/vfio/parameters/enable_unsafe_noiommu_mode") << "Y\n";
  EXPECT_EQ(judged().at(0).level, Level::warning);
}

TEST_F(FakeHost, ANeighborInTheGroupKeepsItFromUs) {
  bind("vfio-pci");
  bind("ahci", "0000:01:00.1");
  bind("pcieport", "0000:00:1c.0");
  put_in_group("7", {address, "0000:01:00.1", "0000:00:1c.0"});
  const auto findings = judged();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].level, Level::blocker);
  EXPECT_THAT(findings[0].what, HasSubstr("shares IOMMU group 7 with 0000:01:00.1 (ahci)"));
}

TEST_F(FakeHost, AGroupThatIsNotThereNamesTheModule) {
  bind("vfio-pci");
  put_in_group("7", {address});
  fs::remove(dev() / "vfio/7");
  EXPECT_EQ(judged().at(0).cure, "load the module: modprobe vfio-pci");
}

TEST_F(FakeHost, ANarrowSlotIsAWarning) {
  bind("mlx5_core");
  write("current_link_speed", "8.0 GT/s PCIe");
  write("current_link_width", "4");
  write("max_link_speed", "16.0 GT/s PCIe");
  write("max_link_width", "16");
  const auto findings = judged();
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[0].level, Level::ok);  // bifurcated: stays with the kernel's driver
  EXPECT_EQ(findings[1].level, Level::warning);
  EXPECT_THAT(findings[1].what, HasSubstr("8.0 GT/s PCIe x4 of 16.0 GT/s PCIe x16"));
}

TEST_F(FakeHost, SomethingElseThanANicIsRefused) {
  write("class", "0x010601");
  EXPECT_EQ(judged().at(0).level, Level::blocker);
  EXPECT_EQ(judge_device(spec(), read_device("0000:99:00.0", sys(), dev())).at(0).level,
            Level::blocker);
}

TEST_F(FakeHost, AnInterfaceIsJudgedByItsFlagsAndCarrier) {
  const nic::PortSpec port{.text = "af_xdp:eth1", .interface = "eth1"};
  const auto level = [&] {
    return judge_interface(port, read_interface_facts("eth1", sys())).at(0).level;
  };
  EXPECT_EQ(level(), Level::blocker);
  const fs::path folder = sys() / "class/net/eth1";
  fs::create_directories(folder);
  std::ofstream(folder / "mtu") << "9000\n";
  std::ofstream(folder / "flags") << "0x1002\n";
  EXPECT_EQ(level(), Level::warning);
  std::ofstream(folder / "flags") << "0x1003\n";
  EXPECT_EQ(level(), Level::warning);
  std::ofstream(folder / "carrier") << "1\n";
  EXPECT_EQ(level(), Level::ok);
}

struct NearAndFar {
  Machine machine;
  Budget budget;
  std::vector<PortGuess> ports{{.spec = "nic", .is_pci = true, .numa_node = 1}};
  NearAndFar() {
    for (uint32_t i = 0; i < 4; ++i) machine.cores.push_back({.number = i, .node = i < 2 ? 0 : 1});
    machine.nodes = {{.number = 0, .hugepages_free = 500}, {.number = 1, .hugepages_free = 100}};
    budget.plan.numa_node = 1;
    budget.plan.cores = {3};
    budget.plan.arena_bytes = 64 * hugepage_bytes;
    budget.plan.packet_bytes = 16 * hugepage_bytes;
  }
  [[nodiscard]] std::vector<Finding> judged() const {
    return judge_machine({}, machine, budget, ports);
  }
};

TEST(Check, HugepagesAreCountedOnTheNodeOfTheNic) {
  NearAndFar host;
  EXPECT_THAT(host.judged().at(0).what, HasSubstr("node 1: 100 hugepages of 2 MiB are free, 80"));
  EXPECT_EQ(host.judged().at(0).level, Level::ok);
  host.machine.nodes[1].hugepages_free = 79;
  EXPECT_EQ(host.judged().at(0).level, Level::warning);
  EXPECT_EQ(host.judged().at(0).cure, "scripts/host-setup --hugepages 1=80");
}

TEST(Check, WorkersOnTheOtherNodeAreAWarningThatNamesTheNearCores) {
  NearAndFar host;
  EXPECT_EQ(host.judged().at(1).level, Level::ok);
  host.budget.plan.cores = {0, 3};
  EXPECT_EQ(host.judged().at(1).level, Level::warning);
  EXPECT_THAT(host.judged().at(1).what, HasSubstr("cores 0 of the workers are not"));
  EXPECT_THAT(host.judged().at(1).cure, HasSubstr("2-3"));
}

TEST(Check, LockedMemoryStopsANicAlone) {
  NearAndFar host;
  host.machine.locked_memory_max_bytes = 8u << 20;
  EXPECT_FALSE(is_ready(host.judged()));
  host.ports[0].is_pci = false;
  EXPECT_TRUE(is_ready(host.judged()));
}

TEST(Check, ARefusalOfTheBudgetIsABlockerWithItsCure) {
  NearAndFar host;
  host.budget.refusals = {
      "memory: 9 GiB are needed, 1 GiB are available; ask for a smaller --cache"};
  EXPECT_THAT(host.judged().at(0).what, HasSubstr("1 GiB are available"));
  EXPECT_EQ(host.judged().at(0).cure, "ask for a smaller --cache");
  EXPECT_FALSE(is_ready(host.judged()));
}

TEST(Check, ATrialTellsOfOffloadsThatTheDeviceLacks) {
  PortTrial trial;
  trial.facts.wanted = {.rx_checksum = true, .tx_checksum = true, .tcp_segmentation = true};
  trial.facts.offloads = {.rx_checksum = true, .tx_checksum = true};
  trial.link_up = true;
  const auto findings = judge_trial(trial);
  ASSERT_THAT(findings, SizeIs(4));
  EXPECT_EQ(findings[2].level, Level::warning);
  EXPECT_THAT(findings[2].what, HasSubstr("does not offer TCP segmentation"));
  EXPECT_EQ(findings[3].level, Level::ok);
  trial.link_up = false;
  EXPECT_EQ(judge_trial(trial).back().level, Level::warning);
}

TEST(Check, TheLastLineSaysReadyOrNot) {
  EXPECT_THAT(format_findings({{Level::warning, "a", "b"}}), HasSubstr("cure: b\nready\n"));
  EXPECT_THAT(format_findings({{Level::blocker, "a", ""}}), HasSubstr("not ready: 1 to be cured"));
}

}  // namespace
}  // namespace sluice::app
