// The seam between the Directory and what the nodes agree through: etcd (lib/cluster), or, without
// it, the peers' own word (StaticRegistry). Plain values both ways.
//
// Every request gets exactly one answer, RegistryAnswer, in any order. An unreachable registry is
// an answer (unavailable), never silence: the edge gives each request a deadline.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "replica/ids.h"
#include "replica/record.h"

namespace sluice::replica {

// To the registry
struct PutRecord {
  uint32_t request = 0;
  Record record;
};
/// Takes this node's mark off a generation, or a superseded manifest and assignment away.
struct DropRecord {
  uint32_t request = 0;
  enum class What : uint8_t { mark, generation } what = What::mark;
  GenerationId generation;
};
/// Moves the pointer of a path, in one transaction: only if it still is `expected`, and if each of
/// `marks` is still there.
struct Commit {
  uint32_t request = 0;
  std::string path;
  GenerationId generation;  // none: unpublish
  GenerationId expected;    // none: there must be none
  std::vector<Mark> marks;
};
using RegistryRequest = std::variant<PutRecord, DropRecord, Commit>;

// From the registry
enum class RegistryOutcome : uint8_t {
  done,
  conflict,     // Commit: the pointer, or a mark, is not what was expected
  unavailable,  // no answer in time, or no quorum: try again later
  refused,      // too large, or not allowed
};
struct RegistryAnswer {
  uint32_t request = 0;
  RegistryOutcome outcome = RegistryOutcome::done;
};
struct NodeSeen {
  NodeId node;
  NodeEpoch epoch = 0;
  std::string name;
  std::string address;          // HOST:PORT of its movers
  uint64_t hold_bytes_max = 0;  // how much it can hold
};
struct NodeGone {
  NodeId node;
  NodeEpoch epoch = 0;
};
struct RecordSeen {
  Record record;
};
struct RecordGone {
  DropRecord::What what = DropRecord::What::mark;
  GenerationId generation;
  NodeId node;  // of the mark
};
/// All that was there when it connected has been told.
struct Synced {};
/// Whether requests have a chance now. While false the last known state goes on being served, and
/// nothing is committed.
struct Availability {
  bool available = false;
};
/// Our lease ran out, or soon will without our hearing of it (two thirds of its time without an
/// answer): others may count us as gone. Marks must be put again once available.
struct Fenced {};
using RegistryEvent = std::variant<RegistryAnswer, NodeSeen, NodeGone, RecordSeen, RecordGone,
                                   Synced, Availability, Fenced>;

}  // namespace sluice::replica
