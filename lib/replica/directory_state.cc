// Directory: what it says of itself, to others and to its other files. See directory.cc.

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "replica/directory.h"

namespace sluice::replica {

// State

PublishStatus Directory::status(uint32_t ticket) const {
  PublishStatus status{.ticket = ticket};
  const auto found = publications_.find(ticket);
  if (found == publications_.end()) {
    status.state = PublishState::failed;
    status.detail = "no such ticket";
    return status;
  }
  const Publication& publication = found->second;
  status.state = publication.state;
  status.generation = publication.generation;
  status.copies_asked = publication.copies;
  status.copies_verified = publication.verified;
  status.detail = publication.detail;
  const auto at = generations_.find(publication.generation);
  if (publication.is_unpublish || publication.state == PublishState::failed ||
      at == generations_.end()) {
    return status;
  }
  const Generation& generation = at->second;
  status.copies_verified =
      static_cast<uint8_t>(counted_marks(publication.generation, generation).size());
  if (standing(publication.generation, generation) == Standing::current) {
    const bool whole = status.copies_verified >= publication.copies;
    status.state = whole ? PublishState::published : PublishState::degraded;
  }
  if (status.state != PublishState::published) status.detail = missing(generation);
  return status;
}

std::vector<ReplicaRow> Directory::replicas() const {
  std::vector<ReplicaRow> rows;
  for (const auto& [id, generation] : generations_) {
    if (!generation.manifest) continue;
    ReplicaRow row{.path = generation.manifest->path,
                   .generation = id,
                   .size_bytes = generation.manifest->size_bytes,
                   .etag = generation.manifest->etag()};
    row.current = standing(id, generation) == Standing::current;
    for (const Mark& mark : counted_marks(id, generation)) row.verified.push_back(mark.node);
    row.copies_verified = static_cast<uint8_t>(row.verified.size());
    if (generation.assignment) {
      row.copies_asked = generation.assignment->copies;
      row.holders.assign(generation.assignment->holders.begin(),
                         generation.assignment->holders.end());
    }
    row.degraded = row.current && row.copies_verified < row.copies_asked;
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const ReplicaRow& a, const ReplicaRow& b) {
    return std::tie(a.path, a.generation) < std::tie(b.path, b.generation);
  });
  return rows;
}

std::vector<NodeRow> Directory::nodes() const {
  std::vector<NodeRow> rows;
  for (const auto& [id, node] : nodes_) rows.push_back({node.seen, node.alive});
  return rows;
}

const Manifest* Directory::manifest(GenerationId id) const {
  const auto found = generations_.find(id);
  if (found == generations_.end() || !found->second.manifest) return nullptr;
  return &*found->second.manifest;
}

uint32_t Directory::degraded() const {
  uint32_t count = 0;
  for (const auto& [id, generation] : generations_) {
    if (!generation.assignment || standing(id, generation) != Standing::current) continue;
    if (counted_marks(id, generation).size() < generation.assignment->copies) ++count;
  }
  return count;
}

// What the other files ask

bool Directory::is_alive(NodeId node) const {
  const auto found = nodes_.find(node);
  return found != nodes_.end() && found->second.alive;
}

bool Directory::is_holder(const Generation& generation, NodeId node) const {
  if (!generation.assignment) return false;
  const auto holders = generation.assignment->holders.span();
  return std::find(holders.begin(), holders.end(), node) != holders.end();
}

bool Directory::is_counted(const Generation& generation, NodeId node) const {
  const auto mark = generation.marks.find(node);
  const auto seen = nodes_.find(node);
  return mark != generation.marks.end() && seen != nodes_.end() && seen->second.alive &&
         mark->second.held && mark->second.epoch == seen->second.seen.epoch;
}

bool Directory::has_failed(const Generation& generation, NodeId node) const {
  const auto mark = generation.marks.find(node);
  const auto seen = nodes_.find(node);
  return mark != generation.marks.end() && seen != nodes_.end() && !mark->second.held &&
         mark->second.epoch == seen->second.seen.epoch;
}

/// Some live node has every byte, be it a holder or one that was.
bool Directory::is_anywhere(const Generation& generation) const {
  return std::any_of(generation.marks.begin(), generation.marks.end(),
                     [&](const auto& mark) { return is_counted(generation, mark.first); });
}

std::vector<Mark> Directory::counted_marks(GenerationId id, const Generation& generation) const {
  std::vector<Mark> marks;
  if (!generation.assignment) return marks;
  for (const NodeId holder : generation.assignment->holders) {
    if (!is_counted(generation, holder)) continue;
    marks.push_back({id, holder, generation.marks.at(holder).epoch, true});
  }
  return marks;
}

NodeId Directory::coordinator(const Generation& generation) const {
  if (!generation.assignment) return {};
  for (const NodeId holder : generation.assignment->holders) {
    if (is_alive(holder)) return holder;
  }
  return {};
}

NodeId Directory::collector(GenerationId id, const Generation& generation) const {
  const NodeId first = coordinator(generation);
  if (!first.is_none()) return first;
  if (is_alive(id.publisher)) return id.publisher;
  for (const auto& [node, state] : nodes_) {
    if (state.alive) return node;
  }
  return {};
}

Directory::Standing Directory::standing(GenerationId id, const Generation& generation) const {
  if (!generation.manifest) return Standing::candidate;
  const auto found = paths_.find(generation.manifest->path);
  if (found == paths_.end()) return Standing::candidate;
  const PathState& path = found->second;
  if (path.current.is_none()) {
    return id.number <= path.supersedes ? Standing::superseded : Standing::candidate;
  }
  if (path.current == id) return Standing::current;
  return id < path.current ? Standing::superseded : Standing::candidate;
}

std::string Directory::name_of(NodeId node) const {
  const auto found = nodes_.find(node);
  if (found != nodes_.end() && !found->second.seen.name.empty()) return found->second.seen.name;
  static constexpr char digits[] = "0123456789abcdef";
  std::string text = "node ";
  for (int shift = 60; shift >= 0; shift -= 4) text += digits[(node.value >> shift) & 15];
  return text;
}

std::string Directory::missing(const Generation& generation) const {
  if (!generation.assignment) return "nobody is to hold it yet";
  std::string text;
  const auto say = [&](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
  for (const NodeId holder : generation.assignment->holders) {
    if (is_counted(generation, holder)) continue;
    const std::string name = name_of(holder);
    if (!is_alive(holder)) {
      say(name + " is gone");
    } else if (holder == config_.self && generation.own == Generation::Own::failed) {
      say(name + (generation.last_failure == HoldResult::no_room
                      ? " has no room"
                      : " found no source with the bytes (has the file changed?)"));
    } else if (has_failed(generation, holder)) {
      say(name + " could not hold it");
    } else {
      say(name + " has not verified it yet");
    }
  }
  const size_t holders = generation.assignment->holders.size();
  if (holders < generation.assignment->copies) {
    const size_t lacking = generation.assignment->copies - holders;
    say("no node with room for " + std::to_string(lacking) + " more");
  }
  return text;
}

}  // namespace sluice::replica
