#include "budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::app {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Machine machine_of(uint32_t cores) {
  Machine machine;
  for (uint32_t i = 0; i < cores; ++i) machine.cores.push_back({.number = i});
  machine.nodes.push_back({.number = 0, .hugepages_free = 0});
  machine.memory_available_bytes = uint64_t{16} << 30;
  machine.open_files_max = 20'000;
  return machine;
}

control::ServeOptions options_of(uint32_t workers) {
  control::ServeOptions options;
  options.workers = workers;
  options.cache_bytes = 256u << 20;
  return options;
}

PortGuess tap() {
  PortGuess port;
  port.spec = "tap";
  port.pairs_max = 1;
  port.pools.rx_descriptors = 512;
  port.pools.tx_descriptors = 512;
  return port;
}

PortGuess nic(int node) {
  PortGuess port = tap();
  port.spec = "0000:01:00.0";
  port.is_pci = true;
  port.numa_node = node;
  port.pairs_max = 64;
  return port;
}

TEST(Budget, ReplicationCostsNothingWhereItIsOff) {
  control::ServeOptions options = options_of(2);
  const Budget off = compute_budget(options, machine_of(4), {tap()});
  EXPECT_FALSE(off.plan.replica.enabled);
  EXPECT_EQ(off.plan.replica.bytes, 0u);
  EXPECT_EQ(off.plan.store.workers, 2u);
  EXPECT_FALSE(off.plan.store.last_holds);
  options.replica.node_name = "a";
  const Budget on = compute_budget(options, machine_of(4), {tap()});
  EXPECT_THAT(on.refusals, IsEmpty());
  EXPECT_EQ(on.plan.store.workers, 3u);
  EXPECT_TRUE(on.plan.store.last_holds);
  EXPECT_EQ(on.plan.replica.hold_bytes_max, 128u << 20);
  EXPECT_GT(on.plan.replica.bytes, replica::Overlay::memory_bytes(on.plan.replica.overlay));
  EXPECT_THAT(on.text(), HasSubstr("holds at most 128 MiB"));
}

TEST(Budget, WhatIsHeldLeavesRoomForTheRest) {
  control::ServeOptions options = options_of(1);
  options.replica.node_name = "a";
  options.replica.hold_bytes = 250u << 20;
  Budget budget = compute_budget(options, machine_of(2), {tap()});
  EXPECT_THAT(budget.refusals,
              ElementsAre(HasSubstr("--hold 250 MiB: of a cache of 256 MiB 16 MiB must be left")));
  options.replica.hold_bytes = 1'000;
  budget = compute_budget(options, machine_of(2), {tap()});
  EXPECT_THAT(budget.refusals, ElementsAre(HasSubstr("--hold 1000 B: less than one chunk")));
  options.replica.hold_bytes = 200u << 20;
  options.objects_max = 1'000;
  budget = compute_budget(options, machine_of(2), {tap()});
  EXPECT_THAT(budget.refusals, ElementsAre(HasSubstr("--max-objects 1,000: replication needs")));
}

TEST(Budget, LimitsOfOneSourceAreOffUnlessAskedFor) {
  control::ServeOptions options = options_of(1);
  Budget budget = compute_budget(options, machine_of(1), {tap()});
  EXPECT_FALSE(budget.plan.engine.tcp.source_limits.enabled());
  EXPECT_EQ(budget.plan.engine.tcp.fast_open_pending_max, 0u);
  const uint64_t without = budget.plan.engine_bytes;
  options.source_connections_max = 100;
  options.fast_open = true;
  budget = compute_budget(options, machine_of(1), {tap()});
  EXPECT_EQ(budget.plan.engine.tcp.source_limits.connections_max, 100u);
  EXPECT_GT(budget.plan.engine.tcp.fast_open_pending_max, 0u);
  EXPECT_GT(budget.plan.engine_bytes, without);
  EXPECT_THAT(budget.text(), HasSubstr("of one /32 or /64 100 connections, no limit half-open"));
}

TEST(Budget, ATapAndOneCoreAreEnough) {
  const Budget budget = compute_budget(options_of(1), machine_of(1), {tap()});
  EXPECT_THAT(budget.refusals, IsEmpty());
  EXPECT_EQ(budget.plan.engines, 1u);
  EXPECT_EQ(budget.plan.chunk_count, 128u);
  EXPECT_FALSE(budget.plan.hugepages_for_packets);
  EXPECT_GE(budget.plan.arena_bytes, uint64_t{256} << 20);
  EXPECT_GT(budget.plan.packet_bytes, 0u);
  for (const char* word : {"workers", "cache", "mbufs", "connections", "open files"}) {
    EXPECT_THAT(budget.text(), HasSubstr(word));
  }
}

TEST(Budget, DefaultsGoByTheMachineAndThePorts) {
  control::ServeOptions options;
  Machine machine = machine_of(8);
  EXPECT_EQ(compute_budget(options, machine, {tap()}).plan.workers, 1u);
  machine.has_iommu = true;
  EXPECT_EQ(compute_budget(options, machine, {nic(0)}).plan.workers, 7u);
  EXPECT_EQ(compute_budget(options, machine, {tap()}).plan.cache_bytes, uint64_t{1} << 30);
  machine.memory_available_bytes = uint64_t{2} << 30;
  EXPECT_EQ(compute_budget(options, machine, {tap()}).plan.cache_bytes, uint64_t{512} << 20);
}

TEST(Budget, CoresAreChosenOnThePortsNodeOneThreadACoreFirst) {
  Machine machine;
  // Node 0: cores 0, 1; node 1: cores 2, 3, and 6, 7 as their second threads.
  for (const uint32_t core : {0u, 1u}) machine.cores.push_back({.number = core, .node = 0});
  for (const uint32_t core : {2u, 3u}) machine.cores.push_back({.number = core, .node = 1});
  for (const uint32_t core : {6u, 7u}) {
    machine.cores.push_back({.number = core, .node = 1, .is_second_thread = true});
  }
  machine.nodes = {{.number = 0}, {.number = 1}};
  machine.memory_available_bytes = uint64_t{16} << 30;
  machine.has_iommu = true;
  const auto cores = [&](uint32_t workers) {
    return compute_budget(options_of(workers), machine, {nic(1)}).plan.cores;
  };
  EXPECT_THAT(cores(1), ElementsAre(3u));
  EXPECT_THAT(cores(2), ElementsAre(2u, 3u));
  EXPECT_THAT(cores(3), ElementsAre(2u, 3u, 7u));
  EXPECT_THAT(cores(5), ElementsAre(1u, 2u, 3u, 6u, 7u));
  EXPECT_THAT(compute_budget(options_of(5), machine, {nic(1)}).text(),
              HasSubstr("NOT all on that"));
}

TEST(Budget, CoresThatAreNotThereAreRefused) {
  EXPECT_THAT(compute_budget(options_of(3), machine_of(2), {tap()}).refusals,
              ElementsAre(HasSubstr("--workers 3: this process may use 2 cores (0-1)")));
  control::ServeOptions options = options_of(1);
  options.workers.reset();
  options.cores = {1, 9};
  EXPECT_THAT(compute_budget(options, machine_of(2), {tap()}).refusals,
              ElementsAre(HasSubstr("--cores: core 9 is not there")));
}

TEST(Budget, EnginesAreWorkersTimesPorts) {
  const Budget budget = compute_budget(options_of(2), machine_of(4), {tap(), tap()});
  EXPECT_EQ(budget.plan.engines, 4u);
  EXPECT_EQ(budget.plan.store.workers, 4u);
  EXPECT_THAT(compute_budget(options_of(40), machine_of(64), {tap(), tap()}).refusals,
              ElementsAre(HasSubstr("use fewer workers")));
}

TEST(Budget, OneWorkerTakesEveryConnectionSeveralShareThemWithRoom) {
  control::ServeOptions options = options_of(1);
  options.connections_max = 1000;
  EXPECT_EQ(compute_budget(options, machine_of(4), {tap()}).plan.engine.tcp.max_connections, 1000u);
  options.workers = 4;
  const Plan plan = compute_budget(options, machine_of(4), {tap()}).plan;
  EXPECT_GT(plan.engine.tcp.max_connections, 250u);
  EXPECT_LT(plan.engine.tcp.max_connections, 500u);
  EXPECT_GT(plan.engine.catalog.pieces_max, plan.engine.catalog.waiters_max);
}

TEST(Budget, TheSmallestConfigurationIsStillConsistent) {
  control::ServeOptions options = options_of(1);
  options.connections_max = 1;
  options.objects_max = 16;
  options.chunk_bytes = 64u << 10;
  options.cache_bytes = 512u << 10;
  const Budget budget = compute_budget(options, machine_of(1), {tap()});
  EXPECT_THAT(budget.refusals, IsEmpty());
  EXPECT_EQ(budget.plan.chunk_count, 8u);
  EXPECT_GT(budget.plan.engine.tcp.max_half_open, 0u);
}

TEST(Budget, ACacheOfTooFewChunksIsRefused) {
  control::ServeOptions options = options_of(1);
  options.cache_bytes = 1;
  EXPECT_THAT(compute_budget(options, machine_of(1), {tap()}).refusals,
              ElementsAre(HasSubstr("--cache 1 B: at least 8 chunks are needed; ask for 16 MiB")));
}

TEST(Budget, ACacheLargerThanMemoryIsRefusedWithWhatWouldFit) {
  control::ServeOptions options = options_of(1);
  options.cache_bytes = uint64_t{900} << 40;
  EXPECT_THAT(compute_budget(options, machine_of(1), {tap()}).refusals,
              Contains(HasSubstr("--cache")));
  options.cache_bytes = uint64_t{20} << 30;
  const Budget budget = compute_budget(options, machine_of(1), {tap()});
  ASSERT_THAT(budget.refusals, ElementsAre(HasSubstr("ask for a smaller --cache (at most ")));
  // And what it says does fit.
  const std::string& line = budget.refusals[0];
  const size_t at = line.find("at most ") + 8;
  options.cache_bytes = std::stoull(line.substr(at)) << 20;
  EXPECT_THAT(compute_budget(options, machine_of(1), {tap()}).refusals, IsEmpty());
}

TEST(Budget, HugepagesGoToPacketsFirst) {
  Machine machine = machine_of(1);
  machine.hugepages_free = machine.nodes[0].hugepages_free = 4096;
  EXPECT_TRUE(compute_budget(options_of(1), machine, {tap()}).plan.hugepages_for_arena);

  const Plan plan = compute_budget(options_of(1), machine, {tap()}).plan;
  const uint64_t for_packets = (plan.packet_bytes + hugepage_bytes - 1) / hugepage_bytes;
  machine.hugepages_free = machine.nodes[0].hugepages_free = for_packets + 1;
  const Budget some = compute_budget(options_of(1), machine, {tap()});
  EXPECT_TRUE(some.plan.hugepages_for_packets);
  EXPECT_FALSE(some.plan.hugepages_for_arena);
  EXPECT_THAT(some.text(), HasSubstr("sysctl vm.nr_hugepages="));

  machine.hugepages_free = machine.nodes[0].hugepages_free = 4096;
  control::ServeOptions options = options_of(1);
  options.no_huge = true;
  EXPECT_FALSE(compute_budget(options, machine, {tap()}).plan.hugepages_for_packets);
}

TEST(Budget, HugepagesOfAnotherNodeDoNotCount) {
  Machine machine = machine_of(2);
  machine.nodes = {{.number = 0, .hugepages_free = 4096}, {.number = 1, .hugepages_free = 0}};
  machine.hugepages_free = 4096;
  machine.has_iommu = true;
  EXPECT_TRUE(compute_budget(options_of(1), machine, {nic(0)}).plan.hugepages_for_arena);
  EXPECT_FALSE(compute_budget(options_of(1), machine, {nic(1)}).plan.hugepages_for_arena);
}

TEST(Budget, ANicWithoutIommuNeedsHugepages) {
  Machine machine = machine_of(2);
  EXPECT_THAT(compute_budget(options_of(1), machine, {nic(-1)}).refusals,
              ElementsAre(HasSubstr("vm.nr_hugepages=")));
  machine.has_iommu = true;
  EXPECT_THAT(compute_budget(options_of(1), machine, {nic(-1)}).refusals, IsEmpty());
}

TEST(Budget, FewOpenFilesMeanFewerFilesThenARefusal) {
  Machine machine = machine_of(1);
  machine.open_files_max = 400;
  const Budget some = compute_budget(options_of(1), machine, {tap()});
  EXPECT_THAT(some.refusals, IsEmpty());
  EXPECT_LT(some.plan.store.max_open_files, 400u);
  machine.open_files_max = 100;
  EXPECT_THAT(compute_budget(options_of(1), machine, {tap()}).refusals,
              ElementsAre(HasSubstr("ulimit -Hn")));
}

TEST(Budget, LittleLockedMemoryIsANoteOnly) {
  Machine machine = machine_of(1);
  machine.locked_memory_max_bytes = 64u << 10;
  const Budget budget = compute_budget(options_of(1), machine, {tap()});
  EXPECT_THAT(budget.refusals, IsEmpty());
  EXPECT_THAT(budget.text(), HasSubstr("ulimit -l"));
}

}  // namespace
}  // namespace sluice::app
