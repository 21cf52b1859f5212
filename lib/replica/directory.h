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
//    then. After, they release it: release_after later, for responses that are under way.
//  - Repair: a holder that is gone for repair_after is replaced, by the first live holder in order,
//    with a higher revision of the Assignment. A node that comes back with a valid mark counts
//    again.
//  - While the registry is not available nothing is committed and nothing released.
//
// Control work, some events a second: tables are bounded by Limits, but allocate.
// Pure; on the replica's thread, inside Node.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
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
  Duration release_after = 5_s;     // superseded: kept for responses that are under way
  Duration retry_after = 500_ms;    // a request that the registry could not take
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
/// The order of sources changed, as holders come and go. Also for a generation that is current but
/// not held here: what clients ask for is fetched from there.
/// manifest() has what it is; where it does not, a later task takes this one back: skip it.
struct SourcesTask {
  GenerationId generation;
  std::vector<NodeId> upstreams;
};
/// It is not held here any more: unpin. A Hold of it that is under way is answered (cancelled).
struct ReleaseTask {
  GenerationId generation;
  /// Nothing else is needed of it either: told for all that were held or redirected to, after the
  /// path leads elsewhere. Otherwise it is current still, and others hold it.
  bool forget = true;
};
/// Also told where a HoldTask said redirect_early. manifest() as for SourcesTask.
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
  /// Returns a ticket for status(), never 0. A path or a number of copies that cannot be
  /// (is_published_path, 1 to holders_max) is a publication that failed.
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
  /// More pieces of it are verified than before, here or at a peer that takes them from here (keeps
  /// commit_patience from running out).
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
  /// Current generations with fewer verified copies than asked for.
  [[nodiscard]] uint32_t degraded() const;

 private:
  /// What a Directory knows of one generation.
  struct Generation {
    struct Marked {
      NodeEpoch epoch = 0;
      bool held = false;
    };
    enum class Own : uint8_t { none, asked, verified, failed };
    enum class ToldMark : uint8_t { none, held, withdrawn, unknown };

    std::optional<Manifest> manifest;
    std::optional<Assignment> assignment;
    std::map<NodeId, Marked> marks;

    // This node's copy
    Own own = Own::none;
    uint32_t unanswered = 0;  // HoldTasks; only the answer to the last one counts
    HoldResult last_failure = HoldResult::no_source;
    Instant hold_again;           // own failed: not before
    bool was_told = false;        // the node knows of it: a Hold, Sources or Redirect
    std::vector<NodeId> sources;  // as told last
    ToldMark told_mark = ToldMark::none;
    uint32_t mark_request = 0;  // under way; 0: none
    Instant mark_again;

    // The coordinator's
    uint32_t assign_request = 0;
    uint32_t commit_request = 0;
    uint32_t drop_request = 0;
    Instant decide_again;  // after a request that failed
    Instant assigned;      // when the assignment was heard of
    Instant progress;      // the last sign of it

    bool abandoned = false;  // its publisher gave it up: never committed
    bool is_gone = false;    // out of the registry; kept while the path leads to it here
    Instant superseded_since = Instant::never();
    Instant due = Instant::never();
  };
  struct NodeState {
    NodeSeen seen;
    bool alive = false;
    Instant gone_since;
  };
  struct PathState {
    GenerationId current;
    uint64_t supersedes = 0;
    GenerationId told;     // where this node was told to redirect it
    uint64_t highest = 0;  // number of any generation of it
    std::set<GenerationId> generations;
  };
  struct Publication {
    bool is_unpublish = false;
    std::string path;
    uint8_t copies = 0;
    int64_t wall_ns = 0;
    PublishState state = PublishState::ingesting;
    GenerationId generation;
    std::string detail;
    uint8_t verified = 0;
    std::optional<Manifest> manifest;  // ingested; until the registry took it
    std::optional<Assignment> assignment;
    uint32_t manifest_request = 0;
    uint32_t assignment_request = 0;
    bool manifest_put = false;
    bool assignment_put = false;
    uint32_t commit_request = 0;  // unpublish
    bool commit_unknown = false;  // one may have been carried out
    Instant again;                // not before
    Instant deadline = Instant::never();
  };
  enum class Standing : uint8_t { candidate, current, superseded };
  struct Waiting {  // for the registry's answer
    enum class For : uint8_t {
      put_manifest,
      put_assignment,
      reassign,
      restore,
      mark,
      drop_mark,
      commit,
      drop,
      unpublish
    };
    For what = For::restore;
    GenerationId generation;
    uint32_t ticket = 0;  // of a publication
    bool held = false;    // of a mark
  };
  using Generations = std::map<GenerationId, Generation>;
  using Publications = std::map<uint32_t, Publication>;

  // directory.cc: events
  void take(Instant now, const RegistryAnswer& answer);
  void take(Instant now, const NodeSeen& node);
  void take(Instant now, const NodeGone& node);
  void take(Instant now, const RecordSeen& seen);
  void take(Instant now, const RecordGone& gone);
  void take(Instant now, const Synced&);
  void take(Instant now, const Availability& availability);
  void take(Instant now, const Fenced&);
  void take_record(Instant now, const Manifest& manifest);
  void take_record(Instant now, const Assignment& assignment);
  void take_record(Instant now, const Mark& mark);
  void take_record(Instant now, const Current& current);
  void forget_generation(GenerationId id);

  // directory_settle.cc: from what is known to what is to be done
  void settle(Instant now);
  void settle_generation(Instant now, GenerationId id, Generation& generation);
  void settle_hold(Instant now, GenerationId id, Generation& generation, Standing standing);
  void settle_gone(GenerationId id, Generation& generation);
  void settle_sources(GenerationId id, Generation& generation);
  void settle_mark(Instant now, GenerationId id, Generation& generation);
  void settle_redirect(const std::string& path);
  void ask_hold(GenerationId id, Generation& generation);
  void release(GenerationId id, Generation& generation, bool forget);

  // directory_commit.cc: the coordinator, and the publisher
  void settle_candidate(Instant now, GenerationId id, Generation& generation);
  void settle_current(Instant now, GenerationId id, Generation& generation);
  void settle_superseded(Instant now, GenerationId id, Generation& generation);
  void settle_orphan(Instant now, GenerationId id, Generation& generation);
  void drop(Instant now, GenerationId id, Generation& generation);
  void settle_publication(Instant now, Publication& publication, uint32_t ticket);
  void start_copying(Instant now, Publication& publication, uint32_t ticket);
  void settle_unpublish(Instant now, Publication& publication, uint32_t ticket);
  void fail_publication(Publication& publication, std::string detail);

  [[nodiscard]] bool is_ready() const { return available_ && synced_; }
  [[nodiscard]] bool is_alive(NodeId node) const;
  [[nodiscard]] bool is_holder(const Generation& generation, NodeId node) const;
  [[nodiscard]] bool is_counted(const Generation& generation, NodeId node) const;
  [[nodiscard]] bool is_anywhere(const Generation& generation) const;
  [[nodiscard]] bool has_failed(const Generation& generation, NodeId node) const;
  [[nodiscard]] std::vector<Mark> counted_marks(GenerationId id,
                                                const Generation& generation) const;
  [[nodiscard]] NodeId coordinator(const Generation& generation) const;
  [[nodiscard]] NodeId collector(GenerationId id, const Generation& generation) const;
  [[nodiscard]] Standing standing(GenerationId id, const Generation& generation) const;
  [[nodiscard]] std::vector<NodeId> sources_for_self(const Generation& generation) const;
  [[nodiscard]] std::vector<NodeId> candidates(GenerationId id, uint64_t size_bytes) const;
  [[nodiscard]] std::map<NodeId, uint64_t> held_bytes() const;
  [[nodiscard]] std::string name_of(NodeId node) const;
  [[nodiscard]] std::string missing(const Generation& generation) const;
  [[nodiscard]] uint32_t request(Waiting waiting, RegistryRequest request);
  void remind(Instant now, Generation& generation, Instant at);
  void soil(GenerationId id);
  void soil_all();
  [[nodiscard]] Generation* generation_for(Instant now, GenerationId id);
  [[nodiscard]] uint32_t new_ticket(Publication publication);

  DirectoryConfig config_;
  bool available_ = false;
  bool synced_ = false;
  std::map<NodeId, NodeState> nodes_;  // this one among them
  Generations generations_;
  std::map<std::string, PathState, std::less<>> paths_;
  Publications publications_;
  std::set<uint32_t> active_;                        // publications that are not at their end
  std::map<GenerationId, uint32_t> publication_of_;  // active ones
  std::map<GenerationId, uint32_t> stale_answers_;   // to Holds of what was forgotten since
  std::set<GenerationId> abandoned_;                 // given up before the registry told of them
  std::map<uint32_t, Waiting> waiting_;
  std::set<GenerationId> dirty_;
  std::set<uint32_t> dirty_publications_;
  std::deque<Task> tasks_;
  std::deque<RegistryRequest> requests_;
  uint64_t last_number_ = 0;  // of a generation published here
  uint32_t last_ticket_ = 0;
  uint32_t last_request_ = 0;
  Instant next_due_ = Instant::never();
};

}  // namespace sluice::replica
