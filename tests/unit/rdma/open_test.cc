// Where there is no RDMA, sluiced starts all the same: open() says why, and nothing else happens.

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "rdma/device.h"
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

TEST(RdmaDevice, SoftRoceIsNotTrustedWithWindows) {
  EXPECT_TRUE(windows_are_unbounded("rxe0", "rdma_rxe"));
  EXPECT_TRUE(windows_are_unbounded("fast", "rdma_rxe"));
  EXPECT_FALSE(windows_are_unbounded("mlx5_0", "mlx5_core"));
}

}  // namespace
}  // namespace sluice::rdma
