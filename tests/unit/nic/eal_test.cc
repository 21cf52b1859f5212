#include "nic/eal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_lcore.h>
#include <sched.h>

#include <filesystem>

#include "edge.h"

namespace sluice::nic {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST(EalArguments, PinWorkersAndLetTheMainThreadFloat) {
  const auto arguments = eal_arguments({.worker_cores = {3, 5}}, true);
  EXPECT_THAT(arguments, Contains(HasSubstr(",1@3,2@5")));
  EXPECT_THAT(arguments, Contains("--in-memory"));
  EXPECT_THAT(arguments, Contains("--no-pci"));
  EXPECT_THAT(arguments, Not(Contains("--no-telemetry")));
  EXPECT_THAT(arguments, Not(Contains("--no-huge")));
}

TEST(EalArguments, PlainMemoryIsAskedForInWhole) {
  const auto arguments = eal_arguments({.packet_memory_bytes = (300u << 20) + 1}, false);
  EXPECT_THAT(arguments, Contains("--no-huge"));
  EXPECT_THAT(arguments, Not(Contains("--in-memory")));
  EXPECT_THAT(arguments, Contains("301"));
}

TEST(EalArguments, AllowOnlyTheDevicesAskedFor) {
  const auto arguments = eal_arguments({.pci_devices = {"0000:01:00.0"}}, true);
  EXPECT_THAT(arguments, Contains("-a"));
  EXPECT_THAT(arguments, Contains("0000:01:00.0"));
  EXPECT_THAT(arguments, Not(Contains("--no-pci")));
}

TEST(EalArguments, TheOperatorHasTheLastWord) {
  const auto arguments = eal_arguments({.user_arguments = {"--log-level=debug"}}, true);
  EXPECT_EQ(arguments.back(), "--log-level=debug");
}

TEST(EalStart, RefusesACoreThatIsNotThere) {
  const auto started = Eal::start({.worker_cores = {4000}});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("core 4000"));
}

TEST(EalStart, RefusesMoreHugepagesThanAreFree) {
  const auto started =
      Eal::start({.packet_memory_bytes = uint64_t{1} << 50, .memory = PacketMemory::hugepages});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("hugepages"));
}

int note_lcore_and_cpu(void* argument) {
  *static_cast<uint32_t*>(argument) = rte_lcore_id();
  return sched_getcpu();
}

TEST(EdgeEal, RunsWorkersOnTheirCores) {
  Eal& eal = test::eal();
  for (uint32_t worker = 0; worker < eal.workers(); ++worker) {
    uint32_t lcore = 0;
    ASSERT_TRUE(eal.launch(worker, note_lcore_and_cpu, &lcore));
    EXPECT_EQ(eal.join(worker), static_cast<int>(eal.core(worker)));
    EXPECT_EQ(lcore, eal.lcore(worker));
  }
  EXPECT_FALSE(eal.launch(7, note_lcore_and_cpu, nullptr));
}

TEST(EdgeEal, TelemetryListens) {
  const std::filesystem::path directory = test::eal().runtime_directory();
  EXPECT_TRUE(std::filesystem::is_socket(directory / "dpdk_telemetry.v2")) << directory;
  EXPECT_FALSE(test::eal().uses_hugepages());
}

}  // namespace
}  // namespace sluice::nic
