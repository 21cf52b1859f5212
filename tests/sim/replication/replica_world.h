// ReplicaWorld: 2 to 5 whole nodes that replicate, in virtual time under one seed, and what must
// hold of them at every moment.
//
//   published implies every byte equal on every counted node     check_commit(), check_rows()
//   a reader sees one version, whole, with its own ETag          judge()
//   the old generation serves until the new one is committed     handle_redirect()
//   no peer writes where nothing is being fetched                set_on_landing, SimNode
//   a fetch that succeeded has the right bytes; each one ends    check_fetched(), check_ends()
//   when all is quiet, nodes agree and hold nothing for nobody   disagreement(), leaks()
//
// Every version of every file has a size of its own, so that any answer tells which one it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim_node.h"

namespace sluice::sim {

struct ReplicaWorldOptions {
  uint64_t seed = 1;
  uint32_t nodes = 2;
  MoverOptions mover;
  EtcdOptions etcd;
  uint64_t bytes_per_s = 0;  // of each NIC; 0: no limit
  std::vector<std::string> paths{"a"};
  SimNodeOptions node;  // index, seed and peers are drawn
  /// Has a key of its own; none of the nodes: nodes.
  uint32_t odd_node = UINT32_MAX;
  /// Nothing goes wrong in this world: every reading must succeed.
  bool gentle = false;
};

class ReplicaWorld {
 public:
  explicit ReplicaWorld(const ReplicaWorldOptions& options);

  // What tests do
  [[nodiscard]] SimNode& node(uint32_t index) { return *nodes_[index]; }
  [[nodiscard]] uint32_t nodes() const { return static_cast<uint32_t>(nodes_.size()); }
  [[nodiscard]] FakeMover& mover() { return mover_; }
  [[nodiscard]] SimulatedEtcd& etcd() { return etcd_; }
  struct Version {
    std::string path;
    uint64_t seed = 0;
    std::string bytes;
    uint64_t etag = 0;  // once published
  };
  /// A file of about this size comes to the node's disk; it differs from every other.
  const Version& put(uint32_t node, const std::string& path, uint64_t size);
  /// The same file on another node's disk.
  void put_same(uint32_t node, const Version& version);
  void publish(uint32_t node, const std::string& path, uint8_t copies);
  void unpublish(uint32_t node, const std::string& path);
  void kill(uint32_t node, bool silently);
  void start(uint32_t node);
  void set_stopped(uint32_t node, bool stopped);
  void rot(uint32_t node);
  /// Something happened that excuses failures for a while.
  void note_fault() { fault_ns_ = now_ns_; }

  template <typename Done>
  [[nodiscard]] bool run_until(Done done, int64_t limit_ns) {
    const int64_t end = now_ns_ + limit_ns;
    while (failure_.empty() && !done()) {
      if (now_ns_ >= end) return false;
      step(end);
    }
    return failure_.empty();
  }
  void run_for(int64_t ns) {
    static_cast<void>(run_until([] { return false; }, ns));
  }
  /// Reads the path on that node now, to its end, and returns how it went.
  [[nodiscard]] Reading read(uint32_t node, const std::string& path);

  // State
  [[nodiscard]] int64_t now_ns() const { return now_ns_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] uint64_t trace() const;
  [[nodiscard]] uint64_t readings() const { return readings_; }
  [[nodiscard]] uint64_t readings_complete() const { return readings_complete_; }
  [[nodiscard]] uint64_t commits() const { return commits_; }
  /// State of the last publication of the path through that node, in its present life.
  [[nodiscard]] replica::PublishStatus last_publication(uint32_t node, const std::string& path);
  /// The node has all of it, pinned, each byte as published. Empty, or why not.
  [[nodiscard]] std::string missing(uint32_t node, replica::GenerationId generation);
  /// The generation that a node takes for current, and of which version it is.
  [[nodiscard]] replica::GenerationId current(uint32_t node, const std::string& path);
  [[nodiscard]] const Version* version_of(replica::GenerationId generation) const;
  /// No node has all of it, nor the file that it was made from.
  [[nodiscard]] bool is_lost(replica::GenerationId generation);
  /// Why the nodes are not in agreement and complete; empty when they are.
  [[nodiscard]] std::string disagreement();
  /// What is held though nobody needs it. Requires: no readings, no disagreement.
  [[nodiscard]] std::string leaks();
  /// The whole state, for people.
  [[nodiscard]] std::string describe();
  void set_log(std::function<void(const std::string&)> log);
  void set_readers_idle(bool idle);

 private:
  struct Ticket {
    uint32_t number = 0;
    int64_t asked_ns = 0;
    replica::NodeEpoch epoch = 0;
  };
  struct Led {  // where a path led, from when on
    int64_t from_ns = 0;
    replica::GenerationId generation;
  };
  struct Watched {
    std::map<std::string, std::vector<Led>> led;
    std::map<std::string, std::set<const Version*>> on_disk;
    std::map<std::string, Ticket> tickets;
    int64_t stopped_ns = 0, continued_ns = 0, killed_ns = 0, rotted_ns = 0;
    Reading last;
    bool finished = false;
  };

  void step(int64_t end_ns);
  void join(uint32_t index);
  void fail(const std::string& why);
  void check();
  void check_periodically();
  void check_ends();
  void check_rows(uint32_t index);
  void check_commit(const replica::Commit& commit);
  void check_fetched(uint32_t index, const SimNode::OpenFetch& open);
  void handle_describe(const replica::Describe& describe);
  void handle_redirect(uint32_t index, const replica::Redirect& redirect);
  [[nodiscard]] const std::string* judge(uint32_t index, const Reading& reading);
  void judge_end(uint32_t index, const Reading& reading);
  [[nodiscard]] std::set<const Version*> versions_led_to(uint32_t index, const std::string& path,
                                                         bool& disk);
  [[nodiscard]] uint64_t etag_of(const Version& version) const;
  [[nodiscard]] uint32_t index_of(replica::NodeId id) const;
  [[nodiscard]] bool is_excused(uint32_t index) const;
  void note(const std::string& what) {
    if (log_) log_(std::to_string(now_ns_) + " " + what);
  }

  ReplicaWorldOptions options_;
  Prng prng_;
  int64_t now_ns_ = 1'000'000'000;
  FakeMover mover_;
  SimulatedEtcd etcd_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<Watched> watched_;
  std::map<uint64_t, Version> versions_;  // by size
  std::map<replica::GenerationId, const Version*> generations_;
  std::map<uint64_t, const Version*> etags_;
  std::set<replica::GenerationId> committed_;
  std::set<std::string> unpublished_;                                 // at some time
  std::map<uint32_t, std::set<replica::GenerationId>> seen_current_;  // by node
  std::vector<std::pair<uint32_t, std::string>> redirected_;          // in this step: node, path
  int64_t fault_ns_ = -1'000'000'000'000;
  int64_t check_due_ns_ = 0;
  uint64_t readings_ = 0, readings_complete_ = 0, commits_ = 0;
  uint32_t steps_at_once_ = 0;
  std::function<void(const std::string&)> log_;
  std::string failure_;
};

}  // namespace sluice::sim
