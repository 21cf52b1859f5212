// SimulatedEtcd: what the nodes of a simulated cluster agree through, with the edge (lib/cluster)
// that each of them reaches it by: leases, transactions, watches, and what goes wrong with them.
//
//   Node -> RegistryRequest -> edge of the node -> (delay, cut, hang) -> etcd
//   Node <- RegistryEvent   <- edge             <- watch, answers
//
// Keys: nodes (leased), manifests, assignments, marks (leased with their node), currents. A commit
// is one transaction. An edge that hears nothing for two thirds of the lease's time fences its
// node; etcd drops the node, and its marks, when the lease has run out. An edge that comes back
// tells what changed meanwhile, then Synced.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/prng.h"
#include "replica/registry.h"

namespace sluice::sim {

struct EtcdOptions {
  uint64_t seed = 1;
  int64_t delay_ns_max = 3'000'000;  // one way; watches, too
  int64_t lease_ns = 6'000'000'000;
  int64_t deadline_ns = 2'000'000'000;  // of a request
  uint32_t lost_answer_ppm = 0;         // of requests carried out whose answer is lost
};

class SimulatedEtcd {
 public:
  explicit SimulatedEtcd(const EtcdOptions& options) : options_(options), prng_(options.seed) {}

  /// A node starts: its edge connects. `host` numbers are the world's.
  void start(int64_t now_ns, uint32_t host, const replica::NodeSeen& self);
  /// It is gone. Its lease runs out by itself.
  void kill(uint32_t host);
  /// Its process does nothing.
  void set_stopped(int64_t now_ns, uint32_t host, bool stopped);
  /// This node cannot reach etcd.
  void set_cut(uint32_t host, bool cut) { edges_[host].cut = cut; }
  /// No quorum, or hung: nobody hears from it, and nothing is changed.
  void set_available(bool available) { available_ = available; }

  void submit(int64_t now_ns, uint32_t host, const replica::RegistryRequest& request);
  [[nodiscard]] bool poll(int64_t now_ns, uint32_t host, replica::RegistryEvent& out);
  [[nodiscard]] bool has_events(int64_t now_ns, uint32_t host) const {
    const auto edge = edges_.find(host);
    return edge != edges_.end() && !edge->second.inbox.empty() &&
           edge->second.inbox.begin()->first <= now_ns;
  }
  void advance(int64_t now_ns);
  [[nodiscard]] int64_t next_ns() const;

  // The truth
  /// An unpublished path stays, and leads to no generation.
  [[nodiscard]] const std::map<std::string, replica::Current>& currents() const {
    return currents_;
  }
  [[nodiscard]] const std::map<replica::GenerationId, replica::Assignment>& assignments() const {
    return assignments_;
  }
  using MarkKey = std::pair<replica::GenerationId, replica::NodeId>;
  [[nodiscard]] const std::map<MarkKey, replica::Mark>& marks() const { return marks_; }
  /// Called when a transaction moved a pointer.
  void set_on_commit(std::function<void(const replica::Commit&)> call) {
    on_commit_ = std::move(call);
  }
  /// Commits that were asked for without the mark of anybody.
  [[nodiscard]] const std::string& violation() const { return violation_; }

 private:
  struct Edge {
    bool alive = false, stopped = false, cut = false;
    bool synced = false;  // has a lease, and hears its watch
    bool fenced = false;  // told its node
    bool told_available = false;
    replica::NodeSeen self;
    int64_t heard_ns = 0;  // etcd's last word
    int64_t next_beat_ns = 0;
    uint64_t life = 0;
    std::multimap<int64_t, replica::RegistryEvent> inbox;
    int64_t inbox_free_ns = 0;
    std::map<uint32_t, int64_t> open;  // requests and their deadlines
    // What the node was told, so that a reconnected watch tells the difference.
    std::map<replica::NodeId, replica::NodeSeen> nodes_told;
    std::map<replica::GenerationId, int> manifests_told, assignments_told;
    std::map<MarkKey, int> marks_told;
    std::map<std::string, int> currents_told;
  };
  struct Member {
    replica::NodeSeen seen;
    int64_t lease_until_ns = 0;
  };

  [[nodiscard]] bool reaches(const Edge& edge) const {
    return available_ && edge.alive && !edge.cut;
  }
  void beat(int64_t now_ns, uint32_t host);
  void connect(int64_t now_ns, uint32_t host);
  void expire(int64_t now_ns);
  [[nodiscard]] replica::RegistryOutcome carry_out(int64_t now_ns, uint32_t host,
                                                   const replica::RegistryRequest& request);
  [[nodiscard]] replica::RegistryOutcome commit(int64_t now_ns, const replica::Commit& commit);
  void drop_mark(int64_t now_ns, const MarkKey& key);
  void drop_generation(int64_t now_ns, replica::GenerationId generation);
  void tell_all(int64_t now_ns, const replica::RegistryEvent& event);
  void tell(int64_t now_ns, Edge& edge, const replica::RegistryEvent& event);
  void note_told(Edge& edge, const replica::RegistryEvent& event);
  [[nodiscard]] int64_t delay() {
    return 1 + static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.delay_ns_max)));
  }

  EtcdOptions options_;
  Prng prng_;
  bool available_ = true;
  std::map<uint32_t, Edge> edges_;
  struct Pending {
    uint32_t host = 0;
    uint64_t life = 0;
    uint32_t number = 0;
    replica::RegistryRequest request;
  };
  std::multimap<int64_t, Pending> pending_;
  std::map<replica::NodeId, Member> members_;
  std::map<replica::GenerationId, replica::Manifest> manifests_;
  std::map<replica::GenerationId, replica::Assignment> assignments_;
  std::map<MarkKey, replica::Mark> marks_;
  std::map<std::string, replica::Current> currents_;
  std::function<void(const replica::Commit&)> on_commit_;
  std::string violation_;
};

}  // namespace sluice::sim
