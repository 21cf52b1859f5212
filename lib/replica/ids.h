// The names of replication: nodes, epochs and generations.
#pragma once

#include <compare>
#include <cstdint>

namespace sluice::replica {

/// A sluiced that takes part. Made from its configured name (node_id_of), so that it is the same
/// after a restart. 0: none.
struct NodeId {
  uint64_t value = 0;
  auto operator<=>(const NodeId&) const = default;
  [[nodiscard]] bool is_none() const { return value == 0; }
};

/// Grows with every start of a node: what an earlier one said, or was granted, holds no more.
using NodeEpoch = uint64_t;

/// One published version of one path. Never used again for other bytes.
struct GenerationId {
  /// Grows with each publication of a path: the publisher's wall clock in nanoseconds, or one more
  /// than the generation it replaces where the clock jumped back.
  uint64_t number = 0;
  NodeId publisher;

  auto operator<=>(const GenerationId&) const = default;
  [[nodiscard]] bool is_none() const { return number == 0; }
};

inline constexpr uint32_t holders_max = 16;           // copies of one generation
inline constexpr uint32_t nodes_max = 64;             // of a cluster
inline constexpr uint32_t published_path_max = 1023;  // bytes
inline constexpr uint32_t pieces_max = 65'536;        // of one generation: 128 GiB at 2 MiB

}  // namespace sluice::replica
