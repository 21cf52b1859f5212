// Directory: who is there, which generations exist, who is to hold each, who verified it, and which
// one each path leads to. Decides; moves no bytes.
//
//   commands (publish, unpublish) and registry events in; requests to the registry, and tasks for
//   this node (ingest, hold, release, redirect) out.
//
// Rules
//  - Placement: the publisher, then the nodes alive in rendezvous order of (generation, node), as
//    many as copies were asked for, if they have room.
//  - A path leads to a generation only by a Commit, which needs the marks of the holders. It is
//  made
//    when all copies asked for are verified; with fewer, when every live holder has verified or
//    failed, and then the generation is DEGRADED until it is repaired.
//  - The old generation stays until the new one is committed, and its holders keep it until
//    then. After, they release it.
//  - Repair: a holder that is gone for repair_after is replaced, by the first live holder in order,
//    with a higher revision of the Assignment. A node that comes back with a valid mark counts
//    again.
//  - While the registry is not available nothing is committed and nothing released.
//
// Control work, some events a second: tables are bounded by Limits, but allocate.
// Pure; on the replica's thread, inside Node.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "replica/registry.h"

namespace sluice::replica {

struct DirectoryConfig {
  NodeId self;
  NodeEpoch epoch = 0;
  uint32_t piece_bytes = 0;
  uint64_t hold_bytes_max = 0;  // of this node
  uint32_t generations_max = 4'096;
  Duration repair_after = 10_s;
  Duration commit_patience = 30_s;  // without progress of any live holder: commit what there is
  Digests digests;
};

/// What this node is to do. Each Ingest and Hold is answered, once, by handle_ingested or
/// handle_held.
struct IngestTask {
  uint32_t ticket = 0;
  std::string path;
};
struct HoldTask {
  Manifest manifest;
  std::vector<NodeId> upstreams;  // where to fetch from, best first; empty: this node's own file
  bool redirect_early = false;    // nothing else is current for the path: serve what is verified
};
/// The order of sources changed, as holders come and go.
struct SourcesTask {
  GenerationId generation;
  std::vector<NodeId> upstreams;
};
struct ReleaseTask {
  GenerationId generation;
};
struct RedirectTask {
  std::string path;
  GenerationId generation;  // none: to the disk
};
using Task = std::variant<IngestTask, HoldTask, SourcesTask, ReleaseTask, RedirectTask>;

enum class HoldResult : uint8_t { verified, no_room, no_source, cancelled };

enum class PublishState : uint8_t { ingesting, copying, committing, published, degraded, failed };
struct PublishStatus {
  uint32_t ticket = 0;
  PublishState state = PublishState::ingesting;
  GenerationId generation;
  uint8_t copies_asked = 0;
  uint8_t copies_verified = 0;
  std::string detail;  // for people: why it failed, who is missing
};

/// One row of `sluicectl replicas`.
struct ReplicaRow {
  std::string path;
  GenerationId generation;
  uint64_t size_bytes = 0;
  uint64_t etag = 0;
  uint8_t copies_asked = 0;
  uint8_t copies_verified = 0;
  bool current = false;
  bool degraded = false;
  std::vector<NodeId> holders;
  std::vector<NodeId> verified;
};

struct NodeRow {
  NodeSeen node;
  bool alive = false;
};

class Directory {
 public:
  explicit Directory(const DirectoryConfig& config);

  // Commands
  /// Returns a ticket for status(). The path is as in content::Lookup. 1 <= copies <= holders_max.
  [[nodiscard]] uint32_t publish(Instant now, int64_t wall_ns, std::string_view path,
                                 uint8_t copies);
  [[nodiscard]] uint32_t unpublish(Instant now, std::string_view path);

  // Input
  void handle(Instant now, const RegistryEvent& event);
  /// Answers an IngestTask: the manifest but for generation and digest; or why not.
  void handle_ingested(Instant now, uint32_t ticket, Manifest&& manifest);
  void handle_ingest_failed(Instant now, uint32_t ticket, std::string_view why);
  /// Answers a HoldTask.
  void handle_held(Instant now, GenerationId generation, HoldResult result);
  /// More pieces of it are verified than before (keeps commit_patience from running out).
  void handle_progress(Instant now, GenerationId generation);
  /// Scrub found a piece rotten and it could not be mended: no longer a copy.
  void handle_lost(Instant now, GenerationId generation);
  void handle_timeout(Instant now);

  // Output
  [[nodiscard]] bool poll_task(Task& out);
  [[nodiscard]] bool poll_request(RegistryRequest& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  [[nodiscard]] PublishStatus status(uint32_t ticket) const;
  [[nodiscard]] std::vector<ReplicaRow> replicas() const;
  [[nodiscard]] std::vector<NodeRow> nodes() const;
  [[nodiscard]] const Manifest* manifest(GenerationId generation) const;
  [[nodiscard]] uint32_t degraded() const;
};

}  // namespace sluice::replica
