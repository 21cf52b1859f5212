#include "simulated_etcd.h"

#include <algorithm>
#include <variant>

namespace sluice::sim {

using namespace replica;

namespace {

uint32_t number_of(const RegistryRequest& request) {
  return std::visit([](const auto& what) { return what.request; }, request);
}

}  // namespace

// Edges
// -----------------------------------------------------------------------------------------------

void SimulatedEtcd::start(int64_t now_ns, uint32_t host, const NodeSeen& self) {
  Edge& edge = edges_[host];
  const uint64_t life = edge.life + 1;
  const bool cut = edge.cut;
  edge = Edge{};
  edge.life = life;
  edge.cut = cut;
  edge.alive = true;
  edge.self = self;
  edge.heard_ns = edge.next_beat_ns = now_ns;
}

void SimulatedEtcd::kill(uint32_t host) {
  Edge& edge = edges_[host];
  edge.alive = false;
  edge.inbox.clear();
  edge.open.clear();
}

void SimulatedEtcd::set_stopped(int64_t now_ns, uint32_t host, bool stopped) {
  Edge& edge = edges_[host];
  edge.stopped = stopped;
  if (!stopped) edge.next_beat_ns = now_ns;
}

void SimulatedEtcd::submit(int64_t now_ns, uint32_t host, const RegistryRequest& request) {
  Edge& edge = edges_[host];
  const uint32_t number = number_of(request);
  if (!edge.open.emplace(number, now_ns + options_.deadline_ns).second) {
    violation_ = "a request number that is in use";
  }
  pending_.emplace(now_ns + delay(), Pending{host, edge.life, number, request});
}

bool SimulatedEtcd::poll(int64_t now_ns, uint32_t host, RegistryEvent& out) {
  Edge& edge = edges_[host];
  if (edge.inbox.empty() || edge.inbox.begin()->first > now_ns) return false;
  out = std::move(edge.inbox.begin()->second);
  edge.inbox.erase(edge.inbox.begin());
  return true;
}

// A keepalive, or its time-out.
void SimulatedEtcd::beat(int64_t now_ns, uint32_t host) {
  Edge& edge = edges_[host];
  const int64_t fence_ns = edge.heard_ns + options_.lease_ns * 2 / 3;
  edge.next_beat_ns = now_ns + options_.lease_ns / 6;
  if (fence_ns > now_ns) edge.next_beat_ns = std::min(edge.next_beat_ns, fence_ns);
  // A process that was stopped finds its own clock far ahead: the lease may be gone.
  if (now_ns >= fence_ns && edge.synced) {
    edge.synced = false;
    edge.told_available = false;
    edge.fenced = true;
    tell(now_ns, edge, Availability{false});
    tell(now_ns, edge, Fenced{});
  }
  if (!reaches(edge)) return;
  edge.heard_ns = now_ns;
  if (!edge.synced) {
    connect(now_ns, host);
    return;
  }
  const auto member = members_.find(edge.self.node);
  if (member != members_.end()) member->second.lease_until_ns = now_ns + options_.lease_ns;
}

// A new lease, and all there is.
void SimulatedEtcd::connect(int64_t now_ns, uint32_t host) {
  Edge& edge = edges_[host];
  // The lease of an earlier life, or of before the fence, goes with its marks.
  const auto former = members_.find(edge.self.node);
  if (former != members_.end()) {
    former->second.lease_until_ns = 0;
    expire(now_ns);
  }
  members_[edge.self.node] = {edge.self, now_ns + options_.lease_ns};
  edge.synced = true;
  edge.fenced = false;
  // What is gone since then.
  const auto nodes_told = edge.nodes_told;
  for (const auto& [id, seen] : nodes_told) {
    const auto at = members_.find(id);
    if (at == members_.end() || at->second.seen.epoch != seen.epoch) {
      tell(now_ns, edge, NodeGone{id, seen.epoch});
    }
  }
  const auto marks_told = edge.marks_told;
  for (const auto& [key, unused] : marks_told) {
    if (!marks_.contains(key)) {
      tell(now_ns, edge, RecordGone{DropRecord::What::mark, key.first, key.second});
    }
  }
  const auto manifests_told = edge.manifests_told;
  for (const auto& [generation, unused] : manifests_told) {
    if (!manifests_.contains(generation)) {
      tell(now_ns, edge, RecordGone{DropRecord::What::generation, generation, {}});
    }
  }
  for (const auto& [id, member] : members_) {
    if (id != edge.self.node) tell(now_ns, edge, member.seen);
  }
  for (const auto& [generation, manifest] : manifests_) tell(now_ns, edge, RecordSeen{manifest});
  for (const auto& [generation, assignment] : assignments_) {
    tell(now_ns, edge, RecordSeen{assignment});
  }
  for (const auto& [key, mark] : marks_) tell(now_ns, edge, RecordSeen{mark});
  for (const auto& [path, current] : currents_) tell(now_ns, edge, RecordSeen{current});
  tell(now_ns, edge, Synced{});
  tell(now_ns, edge, Availability{true});
  edge.told_available = true;
  for (auto& [other_host, other] : edges_) {
    if (other_host != host && other.synced) tell(now_ns, other, edge.self);
  }
}

// Time
// -----------------------------------------------------------------------------------------------

int64_t SimulatedEtcd::next_ns() const {
  int64_t next = pending_.empty() ? INT64_MAX : pending_.begin()->first;
  for (const auto& [host, edge] : edges_) {
    if (!edge.alive || edge.stopped) continue;
    next = std::min(next, edge.next_beat_ns);
    if (!edge.inbox.empty()) next = std::min(next, edge.inbox.begin()->first);
    for (const auto& [number, deadline] : edge.open) next = std::min(next, deadline);
  }
  for (const auto& [id, member] : members_) next = std::min(next, member.lease_until_ns);
  return next;
}

void SimulatedEtcd::advance(int64_t now_ns) {
  while (!pending_.empty() && pending_.begin()->first <= now_ns) {
    const Pending pending = pending_.begin()->second;
    pending_.erase(pending_.begin());
    Edge& edge = edges_[pending.host];
    if (edge.life != pending.life || !reaches(edge) || !edge.open.contains(pending.number)) {
      continue;  // the deadline tells
    }
    // An edge without a lease does not ask.
    const RegistryOutcome outcome = edge.synced ? carry_out(now_ns, pending.host, pending.request)
                                                : RegistryOutcome::unavailable;
    if (prng_.chance(options_.lost_answer_ppm, 1'000'000)) continue;
    edge.open.erase(pending.number);
    tell(now_ns, edge, RegistryAnswer{pending.number, outcome});
  }
  for (auto& [host, edge] : edges_) {
    if (!edge.alive || edge.stopped) continue;
    while (!edge.open.empty()) {
      const auto late = std::find_if(edge.open.begin(), edge.open.end(),
                                     [&](const auto& open) { return open.second <= now_ns; });
      if (late == edge.open.end()) break;
      const uint32_t number = late->first;
      edge.open.erase(late);
      tell(now_ns, edge, RegistryAnswer{number, RegistryOutcome::unavailable});
    }
    if (edge.next_beat_ns <= now_ns) beat(now_ns, host);
  }
  expire(now_ns);
}

void SimulatedEtcd::expire(int64_t now_ns) {
  for (auto at = members_.begin(); at != members_.end();) {
    if (at->second.lease_until_ns > now_ns) {
      ++at;
      continue;
    }
    // etcd that has no quorum expires nothing; it extends leases when it has one again.
    if (!available_) {
      at->second.lease_until_ns = now_ns + options_.lease_ns;
      ++at;
      continue;
    }
    const NodeSeen gone = at->second.seen;
    at = members_.erase(at);
    std::vector<MarkKey> theirs;
    for (const auto& [key, mark] : marks_) {
      if (key.second == gone.node) theirs.push_back(key);
    }
    for (const MarkKey& key : theirs) drop_mark(now_ns, key);
    tell_all(now_ns, NodeGone{gone.node, gone.epoch});
  }
}

// Keys
// -----------------------------------------------------------------------------------------------

RegistryOutcome SimulatedEtcd::carry_out(int64_t now_ns, uint32_t host,
                                         const RegistryRequest& request) {
  if (const auto* wanted = std::get_if<Commit>(&request)) return commit(now_ns, *wanted);
  if (const auto* drop = std::get_if<DropRecord>(&request)) {
    if (drop->what == DropRecord::What::mark) {
      drop_mark(now_ns, {drop->generation, edges_[host].self.node});
    } else {
      drop_generation(now_ns, drop->generation);
    }
    return RegistryOutcome::done;
  }
  const Record& record = std::get<PutRecord>(request).record;
  if (const auto* manifest = std::get_if<Manifest>(&record)) {
    manifests_.try_emplace(manifest->generation, *manifest);
  } else if (const auto* assignment = std::get_if<Assignment>(&record)) {
    const auto at = assignments_.find(assignment->generation);
    if (at != assignments_.end() && at->second.revision >= assignment->revision) {
      return RegistryOutcome::conflict;
    }
    assignments_[assignment->generation] = *assignment;
  } else if (const auto* mark = std::get_if<Mark>(&record)) {
    if (!members_.contains(mark->node)) return RegistryOutcome::unavailable;
    marks_[{mark->generation, mark->node}] = *mark;
  } else {
    return RegistryOutcome::refused;  // pointers move by Commit
  }
  tell_all(now_ns, RecordSeen{record});
  return RegistryOutcome::done;
}

RegistryOutcome SimulatedEtcd::commit(int64_t now_ns, const Commit& commit) {
  const auto at = currents_.find(commit.path);
  const GenerationId is = at == currents_.end() ? GenerationId{} : at->second.generation;
  if (is != commit.expected) return RegistryOutcome::conflict;
  for (const Mark& mark : commit.marks) {
    const auto found = marks_.find({mark.generation, mark.node});
    if (found == marks_.end() || found->second.epoch != mark.epoch || !found->second.held) {
      return RegistryOutcome::conflict;
    }
  }
  if (!commit.generation.is_none() && commit.marks.empty()) {
    violation_ = "a commit without a mark";
  }
  const Current current{commit.path, commit.generation, is.number};
  currents_[commit.path] = current;
  if (on_commit_) on_commit_(commit);
  tell_all(now_ns, RecordSeen{current});
  return RegistryOutcome::done;
}

void SimulatedEtcd::drop_mark(int64_t now_ns, const MarkKey& key) {
  if (marks_.erase(key) == 0) return;
  tell_all(now_ns, RecordGone{DropRecord::What::mark, key.first, key.second});
}

void SimulatedEtcd::drop_generation(int64_t now_ns, GenerationId generation) {
  std::vector<MarkKey> theirs;
  for (const auto& [key, mark] : marks_) {
    if (key.first == generation) theirs.push_back(key);
  }
  for (const MarkKey& key : theirs) drop_mark(now_ns, key);
  const bool was = manifests_.erase(generation) + assignments_.erase(generation) > 0;
  if (was) tell_all(now_ns, RecordGone{DropRecord::What::generation, generation, {}});
}

// Telling
// -----------------------------------------------------------------------------------------------

void SimulatedEtcd::tell_all(int64_t now_ns, const RegistryEvent& event) {
  // Who is cut off now is told the difference when it comes back.
  for (auto& [host, edge] : edges_) {
    if (!edge.alive || !edge.synced) continue;
    if (!reaches(edge)) {
      edge.heard_ns = std::min(edge.heard_ns, now_ns - options_.lease_ns);  // the watch is broken
      continue;
    }
    tell(now_ns, edge, event);
  }
}

void SimulatedEtcd::tell(int64_t now_ns, Edge& edge, const RegistryEvent& event) {
  edge.inbox_free_ns = std::max(edge.inbox_free_ns, now_ns + delay());
  edge.inbox.emplace(edge.inbox_free_ns, event);
  note_told(edge, event);
}

void SimulatedEtcd::note_told(Edge& edge, const RegistryEvent& event) {
  if (const auto* node = std::get_if<NodeSeen>(&event)) edge.nodes_told[node->node] = *node;
  if (const auto* gone = std::get_if<NodeGone>(&event)) edge.nodes_told.erase(gone->node);
  if (const auto* seen = std::get_if<RecordSeen>(&event)) {
    if (const auto* manifest = std::get_if<Manifest>(&seen->record)) {
      edge.manifests_told[manifest->generation] = 1;
    } else if (const auto* mark = std::get_if<Mark>(&seen->record)) {
      edge.marks_told[{mark->generation, mark->node}] = 1;
    } else if (const auto* current = std::get_if<Current>(&seen->record)) {
      edge.currents_told[current->path] = 1;
    }
  }
  if (const auto* gone = std::get_if<RecordGone>(&event)) {
    if (gone->what == DropRecord::What::mark) {
      edge.marks_told.erase({gone->generation, gone->node});
    } else {
      edge.manifests_told.erase(gone->generation);
    }
  }
}

}  // namespace sluice::sim
