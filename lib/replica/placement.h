// Placement: in which order the nodes of a cluster come for a generation, and from whom each
// fetches.
//
// Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998):
// rendezvous hashing. Every node computes the same order from the same members, and a member that
// leaves moves only what it held.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "replica/ids.h"

namespace sluice::replica {

/// Below this an object goes from its first holder to each (a star): a chain would save nothing
/// that its hops do not cost again. docs/replication.md.
inline constexpr uint64_t chain_bytes_min = 4u << 20;

/// The nodes, first choice first.
[[nodiscard]] std::vector<NodeId> rendezvous_order(GenerationId generation,
                                                   std::span<const NodeId> nodes);

}  // namespace sluice::replica
