// Generations: what the data path knows of each published version that this node has to do with:
// its pieces' checksums and where they may be had. Filled from the Directory's tasks; control work.
#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/fixed_vector.h"
#include "base/time.h"
#include "content/ids.h"
#include "replica/record.h"

namespace sluice::replica {

/// Wrong checksums after which a source is given up for a generation, and for how long: its own
/// scrub may have mended it by then.
inline constexpr uint8_t strikes_max = 3;
inline constexpr Duration source_dropped_for = 60_s;

struct Source {
  NodeId node;
  uint8_t strikes = 0;
  Instant dropped_until;
};

struct KnownGeneration {
  GenerationId id;
  std::string path;
  uint64_t size_bytes = 0;
  uint32_t piece_bytes = 0;
  std::vector<uint32_t> crcs;
  FixedVector<Source, holders_max> sources;  // best first
  uint64_t bytes_arrived = 0;                // from peers
  Instant wanted_at;                         // when a peer last asked for a piece of it

  [[nodiscard]] uint32_t pieces() const { return static_cast<uint32_t>(crcs.size()); }
  /// Requires: piece < pieces().
  [[nodiscard]] uint32_t length_of(content::PieceNumber piece) const {
    const uint64_t start = uint64_t{piece} * piece_bytes;
    return static_cast<uint32_t>(std::min<uint64_t>(piece_bytes, size_bytes - start));
  }
  [[nodiscard]] Source* source(NodeId node) {
    for (Source& each : sources) {
      if (each.node == node) return &each;
    }
    return nullptr;
  }
  /// Keeps what is known of those that stay.
  void set_sources(std::span<const NodeId> nodes) {
    FixedVector<Source, holders_max> next;
    for (const NodeId node : nodes) {
      const Source* known = source(node);
      if (!next.push_back(known != nullptr ? *known : Source{node, 0, Instant()})) break;
    }
    sources = next;
  }
};

class Generations {
 public:
  [[nodiscard]] KnownGeneration* find(GenerationId id) {
    const auto at = all_.find(id);
    return at != all_.end() ? &at->second : nullptr;
  }
  /// Requires: the manifest is sound (replica/record.h checked it): as many pieces as its size
  /// asks for.
  KnownGeneration& add(const Manifest& manifest) {
    KnownGeneration& entry = all_[manifest.generation];
    if (!entry.id.is_none()) return entry;
    entry.id = manifest.generation;
    entry.path = manifest.path;
    entry.size_bytes = manifest.size_bytes;
    entry.piece_bytes = manifest.piece_bytes;
    entry.crcs = manifest.piece_crcs;
    return entry;
  }
  void remove(GenerationId id) { all_.erase(id); }
  [[nodiscard]] size_t size() const { return all_.size(); }

 private:
  std::map<GenerationId, KnownGeneration> all_;
};

}  // namespace sluice::replica
