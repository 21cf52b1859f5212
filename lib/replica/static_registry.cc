#include "replica/static_registry.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

namespace sluice::replica {
namespace {

// What is kept, so that a peer can make this node neither larger nor slower without end.
constexpr size_t generations_max = 16'384;
constexpr size_t paths_max = 16'384;
constexpr size_t dropped_max = 4'096;

// A generation that was taken away before it was ever committed is told as an Assignment of the
// last revision: no other can replace it.
constexpr uint32_t revision_dropped = UINT32_MAX;

/// Of two statements about a path the greater one wins everywhere. "Unpublished" is about the
/// generation it took away, and beats it, but nothing newer.
auto rank(const Current& current) {
  const bool unpublished = current.generation.is_none();
  return std::tuple(unpublished ? current.supersedes : current.generation.number, unpublished,
                    current.generation.publisher);
}

}  // namespace

struct StaticRegistry::Parts {
  struct Generation {
    std::optional<Manifest> manifest;
    std::optional<Assignment> assignment;
    std::map<NodeId, Mark> marks;
  };
  struct Peer {
    NodeEpoch epoch = 0;
  };
  // What is to be sent is named, and looked up when it is: a later state replaces an earlier one.
  struct ManifestOf {
    GenerationId generation;
    auto operator<=>(const ManifestOf&) const = default;
  };
  struct AssignmentOf {
    GenerationId generation;
    auto operator<=>(const AssignmentOf&) const = default;
  };
  struct OwnMarkOf {
    GenerationId generation;
    auto operator<=>(const OwnMarkOf&) const = default;
  };
  struct CurrentOf {
    std::string path;
    auto operator<=>(const CurrentOf&) const = default;
  };
  using Name = std::variant<CurrentOf, ManifestOf, AssignmentOf, OwnMarkOf>;

  Parts(NodeId node, NodeEpoch node_epoch) : self(node), epoch(node_epoch) {
    events.emplace_back(Availability{true});
    events.emplace_back(Synced{});
  }

  NodeId self;
  NodeEpoch epoch;
  std::map<GenerationId, Generation> generations;
  std::map<std::string, Current> currents;
  std::map<GenerationId, Assignment> dropped;
  std::deque<GenerationId> dropped_order;
  std::map<NodeId, Peer> peers;
  std::deque<RegistryEvent> events;
  std::deque<std::pair<NodeId, Name>> to_send;
  std::set<std::pair<NodeId, Name>> is_to_send;

  void send(NodeId to, const Name& name) {
    if (is_to_send.emplace(to, name).second) to_send.emplace_back(to, name);
  }
  void send_all(const Name& name) {
    for (const auto& [peer, state] : peers) send(peer, name);
  }

  /// Not everybody may be linked with whom it came from. Who knows it already passes nothing on, so
  /// it ends. Marks are of those alone that are linked with the marked node.
  void pass_on(NodeId from, const Record& record) {
    std::optional<Name> name;
    if (const auto* manifest = std::get_if<Manifest>(&record)) {
      name = ManifestOf{manifest->generation};
    } else if (const auto* assignment = std::get_if<Assignment>(&record)) {
      name = AssignmentOf{assignment->generation};
    } else if (const auto* current = std::get_if<Current>(&record)) {
      name = CurrentOf{current->path};
    }
    if (!name) return;
    for (const auto& [peer, state] : peers) {
      if (peer != from) send(peer, *name);
    }
  }

  [[nodiscard]] bool is_current(GenerationId id) const {
    const auto found = generations.find(id);
    if (found == generations.end() || !found->second.manifest) return false;
    const auto path = currents.find(found->second.manifest->path);
    return path != currents.end() && path->second.generation == id;
  }
  [[nodiscard]] Generation* generation_for(GenerationId id) {
    const auto found = generations.find(id);
    if (found != generations.end()) return &found->second;
    if (dropped.contains(id) || generations.size() >= generations_max) return nullptr;
    return &generations[id];
  }

  // Each returns whether it was news. `refused`: there is no place for it.
  enum class Taken : uint8_t { news, known, refused };

  Taken take(const Manifest& manifest) {
    Generation* generation = generation_for(manifest.generation);
    if (generation == nullptr) return Taken::refused;
    if (generation->manifest) return Taken::known;
    generation->manifest = manifest;
    events.emplace_back(RecordSeen{manifest});
    return Taken::news;
  }

  Taken take(const Assignment& assignment) {
    if (assignment.revision == revision_dropped) return take_drop(assignment);
    Generation* generation = generation_for(assignment.generation);
    if (generation == nullptr) return Taken::refused;
    if (generation->assignment) {
      const Assignment& known = *generation->assignment;
      // Of one revision, as the Directory: the smaller list.
      const bool is_newer =
          assignment.revision > known.revision ||
          (assignment.revision == known.revision &&
           std::lexicographical_compare(assignment.holders.begin(), assignment.holders.end(),
                                        known.holders.begin(), known.holders.end()));
      if (!is_newer) return Taken::known;
    }
    generation->assignment = assignment;
    events.emplace_back(RecordSeen{assignment});
    return Taken::news;
  }

  Taken take_drop(const Assignment& assignment) {
    // What a path leads to is nobody's to take away.
    if (is_current(assignment.generation) || dropped.contains(assignment.generation)) {
      return Taken::known;
    }
    generations.erase(assignment.generation);
    dropped.emplace(assignment.generation, assignment);
    dropped_order.push_back(assignment.generation);
    if (dropped_order.size() > dropped_max) {
      dropped.erase(dropped_order.front());
      dropped_order.pop_front();
    }
    events.emplace_back(
        RecordGone{.what = DropRecord::What::generation, .generation = assignment.generation});
    return Taken::news;
  }

  Taken take(const Mark& mark) {
    Generation* generation = generation_for(mark.generation);
    if (generation == nullptr) return Taken::refused;
    const auto found = generation->marks.find(mark.node);
    if (found == generation->marks.end()) {
      if (generation->marks.size() >= nodes_max) return Taken::refused;
    } else if (mark.epoch < found->second.epoch) {
      return Taken::known;
    }
    generation->marks[mark.node] = mark;
    events.emplace_back(RecordSeen{mark});
    return Taken::news;
  }

  Taken take(const Current& current) {
    const auto found = currents.find(current.path);
    if (found == currents.end()) {
      if (currents.size() >= paths_max && !forget_unpublished()) return Taken::refused;
    } else if (rank(current) <= rank(found->second)) {
      if (current.generation == found->second.generation) undrop(current.generation);
      return Taken::known;
    }
    currents[current.path] = current;
    undrop(current.generation);
    events.emplace_back(RecordSeen{current});
    return Taken::news;
  }

  /// Who drops a generation may not have heard that it is current: then it is not dropped.
  void undrop(GenerationId id) {
    if (dropped.erase(id) > 0) std::erase(dropped_order, id);
  }

  /// Makes room for a path. Returns false when all of them lead somewhere.
  bool forget_unpublished() {
    for (auto it = currents.begin(); it != currents.end(); ++it) {
      if (!it->second.generation.is_none()) continue;
      currents.erase(it);
      return true;
    }
    return false;
  }

  [[nodiscard]] static RegistryOutcome outcome(Taken taken) {
    return taken == Taken::refused ? RegistryOutcome::refused : RegistryOutcome::done;
  }

  RegistryOutcome carry_out(const PutRecord& put) {
    const Taken taken = std::visit([&](const auto& record) { return take(record); }, put.record);
    if (taken == Taken::refused) return RegistryOutcome::refused;
    if (const auto* assignment = std::get_if<Assignment>(&put.record)) {
      if (taken == Taken::known) return RegistryOutcome::conflict;
      send_all(AssignmentOf{assignment->generation});
    } else if (const auto* manifest = std::get_if<Manifest>(&put.record)) {
      send_all(ManifestOf{manifest->generation});
    } else if (const auto* mark = std::get_if<Mark>(&put.record)) {
      send_all(OwnMarkOf{mark->generation});
    } else if (const auto* current = std::get_if<Current>(&put.record)) {
      send_all(CurrentOf{current->path});
    }
    return RegistryOutcome::done;
  }

  RegistryOutcome carry_out(const DropRecord& drop) {
    const auto found = generations.find(drop.generation);
    if (found == generations.end()) {
      if (drop.what == DropRecord::What::generation) {
        events.emplace_back(
            RecordGone{.what = DropRecord::What::generation, .generation = drop.generation});
      }
      return RegistryOutcome::done;
    }
    if (drop.what == DropRecord::What::mark) {
      const auto mark = found->second.marks.find(self);
      if (mark == found->second.marks.end()) return RegistryOutcome::done;
      mark->second.held = false;  // peers are told of that; here it is gone
      events.emplace_back(
          RecordGone{.what = DropRecord::What::mark, .generation = drop.generation, .node = self});
      send_all(OwnMarkOf{drop.generation});
      return RegistryOutcome::done;
    }
    if (is_current(drop.generation)) return RegistryOutcome::conflict;
    Assignment tombstone{.generation = drop.generation, .revision = revision_dropped};
    (void)tombstone.holders.push_back(self);
    (void)take_drop(tombstone);
    send_all(AssignmentOf{drop.generation});
    return RegistryOutcome::done;
  }

  RegistryOutcome carry_out(const Commit& commit) {
    const auto found = currents.find(commit.path);
    const Current known = found == currents.end() ? Current{.path = commit.path} : found->second;
    if (known.generation != commit.expected) return RegistryOutcome::conflict;
    for (const Mark& mark : commit.marks) {
      if (!is_still_there(mark)) return RegistryOutcome::conflict;
    }
    const Current next{commit.path, commit.generation, commit.expected.number};
    const Taken taken = take(next);
    if (taken == Taken::known) return RegistryOutcome::conflict;
    send_all(CurrentOf{commit.path});
    return outcome(taken);
  }

  [[nodiscard]] bool is_still_there(const Mark& mark) const {
    if (mark.node != self) {
      const auto peer = peers.find(mark.node);
      if (peer == peers.end() || peer->second.epoch != mark.epoch) return false;
    } else if (mark.epoch != epoch) {
      return false;
    }
    const auto generation = generations.find(mark.generation);
    if (generation == generations.end()) return false;
    const auto found = generation->second.marks.find(mark.node);
    return found != generation->second.marks.end() && found->second.held &&
           found->second.epoch == mark.epoch;
  }

  // The records that are sent under a name. False: there is none any more.
  [[nodiscard]] bool look_up(const CurrentOf& name, Record& out) const {
    const auto found = currents.find(name.path);
    if (found == currents.end()) return false;
    out = found->second;
    return true;
  }
  [[nodiscard]] bool look_up(const ManifestOf& name, Record& out) const {
    const auto found = generations.find(name.generation);
    if (found == generations.end() || !found->second.manifest) return false;
    out = *found->second.manifest;
    return true;
  }
  [[nodiscard]] bool look_up(const AssignmentOf& name, Record& out) const {
    if (const auto gone = dropped.find(name.generation); gone != dropped.end()) {
      out = gone->second;
      return true;
    }
    const auto found = generations.find(name.generation);
    if (found == generations.end() || !found->second.assignment) return false;
    out = *found->second.assignment;
    return true;
  }
  [[nodiscard]] bool look_up(const OwnMarkOf& name, Record& out) const {
    const auto found = generations.find(name.generation);
    if (found == generations.end()) return false;
    const auto mark = found->second.marks.find(self);
    if (mark == found->second.marks.end() || mark->second.epoch != epoch) return false;
    out = mark->second;
    return true;
  }
};

StaticRegistry::StaticRegistry(NodeId self, NodeEpoch epoch)
    : parts_(std::make_unique<Parts>(self, epoch)) {}

StaticRegistry::~StaticRegistry() = default;

void StaticRegistry::handle_request(Instant, const RegistryRequest& request) {
  std::visit(
      [&](const auto& one) {
        const RegistryOutcome outcome = parts_->carry_out(one);
        parts_->events.emplace_back(RegistryAnswer{one.request, outcome});
      },
      request);
}

bool StaticRegistry::poll_event(RegistryEvent& out) {
  if (parts_->events.empty()) return false;
  out = std::move(parts_->events.front());
  parts_->events.pop_front();
  return true;
}

void StaticRegistry::handle_peer_up(Instant, const NodeSeen& peer) {
  Parts& parts = *parts_;
  if (peer.node == parts.self) return;
  const auto found = parts.peers.find(peer.node);
  if (found == parts.peers.end() && parts.peers.size() >= nodes_max) return;
  if (found != parts.peers.end() && found->second.epoch > peer.epoch) return;
  parts.peers[peer.node] = {peer.epoch};
  parts.events.emplace_back(peer);
  // Everything, what paths lead to first: what is superseded is then seen to be at once.
  for (const auto& [path, current] : parts.currents) parts.send(peer.node, Parts::CurrentOf{path});
  for (const auto& [id, tombstone] : parts.dropped) parts.send(peer.node, Parts::AssignmentOf{id});
  for (const auto& [id, generation] : parts.generations) {
    parts.send(peer.node, Parts::ManifestOf{id});
    parts.send(peer.node, Parts::AssignmentOf{id});
    parts.send(peer.node, Parts::OwnMarkOf{id});
  }
}

void StaticRegistry::handle_peer_down(Instant, NodeId peer, NodeEpoch epoch) {
  Parts& parts = *parts_;
  const auto found = parts.peers.find(peer);
  if (found == parts.peers.end() || found->second.epoch != epoch) return;
  parts.peers.erase(found);
  std::erase_if(parts.to_send, [&](const auto& entry) { return entry.first == peer; });
  std::erase_if(parts.is_to_send, [&](const auto& entry) { return entry.first == peer; });
  parts.events.emplace_back(NodeGone{peer, epoch});
}

void StaticRegistry::handle_record(Instant, NodeId from, const Record& record) {
  Parts& parts = *parts_;
  if (!parts.peers.contains(from)) return;
  // A node speaks for its own copy alone.
  if (const auto* mark = std::get_if<Mark>(&record); mark != nullptr && mark->node != from) return;
  const auto taken = std::visit([&](const auto& one) { return parts.take(one); }, record);
  if (taken == Parts::Taken::news) parts.pass_on(from, record);
  const auto* assignment = std::get_if<Assignment>(&record);
  if (assignment == nullptr || assignment->revision != revision_dropped ||
      !parts.is_current(assignment->generation)) {
    return;
  }
  // It drops what is current: it does not know that. Its own copy is gone in any case.
  const GenerationId id = assignment->generation;
  if (parts.generations.at(id).marks.erase(from) > 0) {
    parts.events.emplace_back(
        RecordGone{.what = DropRecord::What::mark, .generation = id, .node = from});
  }
  parts.send(from, Parts::CurrentOf{parts.generations.at(id).manifest->path});
  parts.send(from, Parts::ManifestOf{id});
  parts.send(from, Parts::AssignmentOf{id});
  parts.send(from, Parts::OwnMarkOf{id});
}

bool StaticRegistry::poll_record(NodeId& to, Record& out) {
  Parts& parts = *parts_;
  while (!parts.to_send.empty()) {
    const auto [peer, name] = std::move(parts.to_send.front());
    parts.to_send.pop_front();
    parts.is_to_send.erase({peer, name});
    if (!std::visit([&](const auto& one) { return parts.look_up(one, out); }, name)) continue;
    to = peer;
    return true;
  }
  return false;
}

}  // namespace sluice::replica
