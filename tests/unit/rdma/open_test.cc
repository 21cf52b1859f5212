// Where there is no RDMA, sluiced starts all the same: open() says why, and nothing else happens.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "rdma/device.h"
#include "rdma/device_watch.h"
#include "rdma/rdma.h"

namespace sluice::rdma {
namespace {

TEST(RdmaOpen, SaysWhatIsMissing) {
  if (access("/dev/infiniband/rdma_cm", F_OK) == 0) GTEST_SKIP() << "this machine has RDMA";
  std::vector<std::byte> memory(4096);
  const auto made = open({.arena = {.chunks = memory.data(), .chunk_count = 1, .chunk_bytes = 4096},
                          .region = memory,
                          .listen = "127.0.0.1:0"});
  ASSERT_FALSE(made.has_value());
  const std::string& why = made.error().message;
  // Either of the libraries (with the package), or the kernel's side (with the module).
  EXPECT_TRUE(why.find("apt install") != why.npos || why.find("modprobe") != why.npos) << why;
}

// As the kernel has it: a link for each device, and a file beside them.
TEST(OfferedDevices, ADeviceThatComesBackIsAnotherOne) {
  namespace fs = std::filesystem;
  const fs::path sys = fs::temp_directory_path() / ("sluice-sys-" + std::to_string(getpid()));
  EXPECT_TRUE(offered_devices(sys).empty());  // no RDMA at all
  const fs::path offered = sys / "class/infiniband_verbs";
  fs::create_directories(offered);
  std::ofstream(offered / "abi_version") << "6";
  EXPECT_TRUE(offered_devices(sys).empty());
  fs::create_directories(sys / "devices/first");
  fs::create_directories(sys / "devices/second");
  fs::create_directory_symlink(sys / "devices/first", offered / "uverbs0");
  const auto before = offered_devices(sys);
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].name, "uverbs0");
  fs::remove(offered / "uverbs0");
  fs::create_directory_symlink(sys / "devices/second", offered / "uverbs0");
  const auto after = offered_devices(sys);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].name, "uverbs0");
  EXPECT_NE(after[0], before[0]);
  fs::remove_all(sys);
}

TEST(RdmaOpen, WithoutADeviceItSaysSoAndWaitsForOne) {
  if (!offered_devices().empty()) GTEST_SKIP() << "this machine has RDMA";
  std::vector<std::byte> memory(4096);
  auto made = open({.arena = {.chunks = memory.data(), .chunk_count = 1, .chunk_bytes = 4096},
                    .region = memory,
                    .listen = "127.0.0.1:0",
                    .may_be_absent = true});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ((*made)->counts().devices, 0u);
  EXPECT_NE((*made)->description().find("RDMA once it can be used"), std::string::npos);
  replica::LinkEvent event;
  ASSERT_TRUE((*made)->poll(event));
  ASSERT_TRUE(std::holds_alternative<replica::TransportState>(event));
  EXPECT_FALSE(std::get<replica::TransportState>(event).usable);
  EXPECT_TRUE((*made)->prepare_to_sleep());
  (*made)->submit(replica::Dial{.dial = 3, .address = "127.0.0.1:1"});
  ASSERT_TRUE((*made)->poll(event));
  ASSERT_TRUE(std::holds_alternative<replica::DialFailed>(event));
  EXPECT_EQ(std::get<replica::DialFailed>(event).dial, 3u);
}

TEST(RdmaDevice, SoftRoceIsNotTrustedWithWindows) {
  EXPECT_TRUE(windows_are_unbounded("rxe0", "rdma_rxe"));
  EXPECT_TRUE(windows_are_unbounded("fast", "rdma_rxe"));
  EXPECT_FALSE(windows_are_unbounded("mlx5_0", "mlx5_core"));
}

}  // namespace
}  // namespace sluice::rdma
