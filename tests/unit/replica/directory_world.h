// A cluster of Directories over StaticRegistries: messages between each pair of nodes in order, but
// not between pairs; virtual time; disks and arenas that know which generation they really have.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "replica/directory.h"
#include "replica/static_registry.h"

namespace sluice::replica {

class World {
 public:
  struct Pending {
    GenerationId generation;
    std::vector<NodeId> upstreams;
    Manifest manifest;
    bool cancelled = false;
  };
  struct Member {
    NodeId id;
    std::string name;
    uint64_t room = 1'000'000;
    bool up = false;
    NodeEpoch epoch = 0;
    std::unique_ptr<StaticRegistry> registry;
    std::unique_ptr<Directory> directory;
    bool registry_hangs = false;  // requests are answered: unavailable
    // What is really there.
    std::set<GenerationId> has;
    std::map<std::string, GenerationId> redirects;
    std::deque<Pending> holds;
    bool holds_by_itself = true;  // answers HoldTasks as soon as it can
    bool never_has_room = false;
    std::set<GenerationId> held_now;       // by tasks: asked, not released
    std::map<std::string, uint64_t> disk;  // path -> content
    std::vector<std::string> faults;
    std::set<GenerationId> forgotten;
  };

  explicit World(size_t members, uint64_t seed = 1);

  [[nodiscard]] Member& operator[](size_t i) { return *members_[i]; }
  [[nodiscard]] Directory& directory(size_t i) { return *members_[i]->directory; }
  [[nodiscard]] size_t size() const { return members_.size(); }
  [[nodiscard]] static NodeId id_of(size_t i) { return {0x100 + i}; }

  void start(size_t i);
  void crash(size_t i);
  void connect(size_t a, size_t b);
  void disconnect(size_t a, size_t b);
  void connect_all();
  [[nodiscard]] bool is_connected(size_t a, size_t b) const;

  /// Publishes `content` (0: none on this disk) with so many copies.
  uint32_t publish(size_t i, const std::string& path, uint64_t content, uint8_t copies,
                   uint64_t size = 1000);

  /// One of the things that can happen now, by the seed. False: nothing can.
  bool step();
  /// Everything that can happen without time passing.
  void settle();
  /// Settles, then lets time pass in steps of what the nodes wait for.
  void advance(Duration duration);

  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] Prng& prng() { return prng_; }
  [[nodiscard]] GenerationId current(size_t i, const std::string& path) const;
  [[nodiscard]] const ReplicaRow* row(size_t i, GenerationId generation);

  /// What the invariants found. Empty: they hold.
  [[nodiscard]] std::string fault() const { return fault_; }
  /// All live members that are connected agree; what is current is held where it is said to be.
  void check_agreement();
  /// All that the members say, for a person who looks for a fault.
  [[nodiscard]] std::string describe() const;
  int64_t wall_offset_ns = 0;
  uint64_t commits = 0;

 private:
  void pump(Member& member);
  void carry_out(Member& member, Task& task);
  void check_commit(const Member& member, const Commit& commit);
  bool try_hold(Member& member);
  void blame(const std::string& what);
  [[nodiscard]] Member* find(NodeId id);

  std::vector<std::unique_ptr<Member>> members_;
  std::set<std::pair<size_t, size_t>> connected_;
  std::map<std::pair<uint64_t, uint64_t>, std::deque<Record>> wires_;
  std::map<uint32_t, std::pair<uint64_t, uint64_t>> ingests_;
  std::map<std::pair<uint64_t, NodeEpoch>, std::set<GenerationId>> ever_verified_;
  std::map<GenerationId, uint64_t> content_of_;
  std::vector<ReplicaRow> rows_;
  Instant now_ = Instant::from_ns(1'000'000'000);
  Prng prng_;
  std::string fault_;
  uint64_t next_size_ = 1000;
};

/// All of them up, and connected with each other.
struct Cluster : World {
  explicit Cluster(size_t members, uint64_t seed = 1) : World(members, seed) {
    for (size_t i = 0; i < members; ++i) start(i);
    connect_all();
    settle();
  }
  [[nodiscard]] PublishState state(size_t i, uint32_t ticket) {
    return directory(i).status(ticket).state;
  }
  [[nodiscard]] std::string detail(size_t i, uint32_t ticket) {
    return directory(i).status(ticket).detail;
  }
};

}  // namespace sluice::replica
