// The budget: how large every table and pool will be, what that takes, and whether this machine has
// it. All of it is computed here, from the options and before anything is reserved; sluiced prints
// it, and refuses to start when something does not fit.
//
//   memory = arena (chunks, head slots) + packet memory (mbufs, queues, DPDK) + engines + store
//            + replica
//   An engine is one worker's end of one port: there are workers x ports of them.
//
// Pure arithmetic: the machine comes in as a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/serve_options.h"
#include "engine/engine.h"
#include "machine.h"
#include "nic/pools.h"
#include "replica/overlay.h"
#include "store/store.h"

namespace sluice::app {

/// What is known of a port before DPDK has seen it.
struct PortGuess {
  std::string spec;
  bool is_pci = false;  // a NIC: its DMA needs hugepages or an IOMMU
  int numa_node = -1;
  uint16_t pairs_max = 1;  // queue pairs, by its driver profile
  uint16_t mtu = 1500;
  nic::PoolNeeds pools;  // workers and queue_pairs are filled in by the budget
};

/// Messages between the replica's thread and the overlay, each way.
inline constexpr uint32_t replica_ring_capacity = 256;

/// Replication's part of the plan; where it is off, none of it is reserved.
struct ReplicaPlan {
  bool enabled = false;
  uint64_t hold_bytes_max = 0;
  uint32_t links_max = 0;          // of each mover
  replica::OverlayConfig overlay;  // sizes alone
  uint64_t bytes = 0;              // the Node, its pins and rings, the Overlay, the movers
};

/// What was decided: sizes for everything that is reserved at start.
struct Plan {
  uint32_t workers = 1;
  uint32_t engines = 1;
  std::vector<uint32_t> cores;
  int numa_node = -1;
  uint64_t cache_bytes = 0;
  uint32_t chunk_count = 0;
  uint32_t head_slots = 0;  // of each engine
  bool hugepages_for_packets = false;
  bool hugepages_for_arena = false;
  uint64_t arena_bytes = 0;
  uint64_t packet_bytes = 0;
  uint64_t engine_bytes = 0;  // of each engine, pins and rings included
  uint64_t store_bytes = 0;
  uint32_t ring_capacity = 4096;  // messages between an engine and the store, each way
  engine::Config engine;          // sizes alone: addresses, keys and texts come later
  store::Config store;            // likewise
  ReplicaPlan replica;
};

/// One line of the printed budget.
struct BudgetLine {
  std::string what;
  std::string needs;
  std::string has;
  std::string note;
};

struct Budget {
  Plan plan;
  std::vector<BudgetLine> lines;
  std::vector<std::string> refusals;  // each one line that says what to change

  [[nodiscard]] std::string text() const;
};

[[nodiscard]] Budget compute_budget(const control::ServeOptions& options, const Machine& machine,
                                    const std::vector<PortGuess>& ports);

}  // namespace sluice::app
