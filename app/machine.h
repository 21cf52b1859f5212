// Machine: what there is to be had on this machine, for the budget. Read once at start.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace sluice::app {

inline constexpr uint64_t unlimited = std::numeric_limits<uint64_t>::max();

struct Core {
  uint32_t number = 0;
  int node = 0;
  bool is_second_thread = false;  // shares its core with one of a lower number
};

struct Node {
  int number = 0;
  uint64_t hugepages_free = 0;  // of 2 MiB
};

struct Machine {
  std::vector<Core> cores;  // those this process may run on, by number
  std::vector<Node> nodes;
  uint64_t hugepages_free = 0;          // of 2 MiB, over all nodes
  uint64_t memory_available_bytes = 0;  // plain memory: the machine's, or the control group's
  uint64_t open_files_max = 1024;       // hard limit
  uint64_t locked_memory_max_bytes = unlimited;
  bool has_iommu = false;
};

inline constexpr uint64_t hugepage_bytes = 2u << 20;

[[nodiscard]] Machine read_machine();

/// Raises the soft limit on open files to the hard one.
void raise_open_files();

}  // namespace sluice::app
