#include "directory_world.h"

#include <algorithm>

#include "plain_digests.h"

namespace sluice::replica {

World::World(size_t members, uint64_t seed) : prng_(seed) {
  for (size_t i = 0; i < members; ++i) {
    members_.push_back(std::make_unique<Member>());
    members_[i]->id = id_of(i);
    members_[i]->name = std::string(1, static_cast<char>('a' + i));
  }
}

World::Member* World::find(NodeId id) {
  for (auto& member : members_) {
    if (member->id == id) return member.get();
  }
  return nullptr;
}

void World::start(size_t i) {
  Member& member = *members_[i];
  member.up = true;
  ++member.epoch;
  member.registry = std::make_unique<StaticRegistry>(member.id, member.epoch);
  member.directory = std::make_unique<Directory>(DirectoryConfig{.self = member.id,
                                                                 .epoch = member.epoch,
                                                                 .piece_bytes = 4096,
                                                                 .hold_bytes_max = member.room,
                                                                 .digests = plain_digests});
  pump(member);
}

void World::crash(size_t i) {
  Member& member = *members_[i];
  for (size_t k = 0; k < size(); ++k) disconnect(i, k);
  member.up = false;
  member.has.clear();
  member.held_now.clear();
  member.redirects.clear();
  member.holds.clear();
  member.forgotten.clear();
  member.registry.reset();
  member.directory.reset();
}

bool World::is_connected(size_t a, size_t b) const {
  return connected_.contains({std::min(a, b), std::max(a, b)});
}

void World::connect(size_t a, size_t b) {
  if (a == b || is_connected(a, b) || !members_[a]->up || !members_[b]->up) return;
  connected_.insert({std::min(a, b), std::max(a, b)});
  for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    const Member& peer = *members_[other];
    members_[one]->registry->handle_peer_up(now_, NodeSeen{.node = peer.id,
                                                           .epoch = peer.epoch,
                                                           .name = peer.name,
                                                           .address = peer.name + ":1",
                                                           .hold_bytes_max = peer.room});
    pump(*members_[one]);
  }
}

void World::disconnect(size_t a, size_t b) {
  if (connected_.erase({std::min(a, b), std::max(a, b)}) == 0) return;
  for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
    const Member& peer = *members_[other];
    wires_.erase({members_[one]->id.value, peer.id.value});
    members_[one]->registry->handle_peer_down(now_, peer.id, peer.epoch);
    pump(*members_[one]);
  }
}

void World::connect_all() {
  for (size_t a = 0; a < size(); ++a) {
    for (size_t b = 0; b < a; ++b) connect(a, b);
  }
}

uint32_t World::publish(size_t i, const std::string& path, uint64_t content, uint8_t copies,
                        uint64_t bytes) {
  Member& member = *members_[i];
  if (content != 0) member.disk[path] = content;
  next_size_ = bytes;
  // Its nanoseconds are never the same twice, as those of a real clock.
  const int64_t wall = 1'700'000'000'000'000'000 + now_.ns() + wall_offset_ns +
                       static_cast<int64_t>(prng_.below(1'000'000));
  const uint32_t ticket = member.directory->publish(now_, wall, path, copies);
  pump(member);
  return ticket;
}

void World::blame(const std::string& what) {
  if (fault_.empty()) fault_ = what;
}

/// Moves what a member puts out to where it goes.
void World::pump(Member& member) {
  if (!member.up) return;
  for (bool moved = true; moved;) {
    moved = false;
    RegistryRequest request;
    while (member.directory->poll_request(request)) {
      moved = true;
      if (member.registry_hangs) {
        const uint32_t id = std::visit([](const auto& one) { return one.request; }, request);
        member.directory->handle(now_, RegistryAnswer{id, RegistryOutcome::unavailable});
        continue;
      }
      if (const auto* commit = std::get_if<Commit>(&request)) check_commit(member, *commit);
      member.registry->handle_request(now_, request);
    }
    RegistryEvent event;
    while (member.registry->poll_event(event)) {
      moved = true;
      member.directory->handle(now_, event);
    }
    NodeId to;
    Record record;
    while (member.registry->poll_record(to, record)) {
      moved = true;
      // Over the wire as bytes.
      std::vector<std::byte> bytes;
      emit(record, bytes);
      Record received;
      if (parse(bytes, plain_digests, received) != RecordError::none) {
        blame("a record does not survive the way");
        continue;
      }
      wires_[{member.id.value, to.value}].push_back(received);
    }
    Task task;
    while (member.directory->poll_task(task)) {
      moved = true;
      carry_out(member, task);
    }
  }
}

void World::carry_out(Member& member, Task& task) {
  if (const auto* ingest = std::get_if<IngestTask>(&task)) {
    const auto file = member.disk.find(ingest->path);
    if (file == member.disk.end()) {
      member.directory->handle_ingest_failed(now_, ingest->ticket, "no such file");
      return;
    }
    Manifest manifest{.size_bytes = next_size_, .piece_bytes = 4096};
    manifest.piece_crcs.assign(pieces_of(next_size_, 4096), static_cast<uint32_t>(file->second));
    member.directory->handle_ingested(now_, ingest->ticket, std::move(manifest));
  } else if (auto* hold = std::get_if<HoldTask>(&task)) {
    const GenerationId id = hold->manifest.generation;
    if (!member.held_now.insert(id).second && !member.holds.empty() &&
        std::any_of(member.holds.begin(), member.holds.end(), [&](const Pending& pending) {
          return pending.generation == id && !pending.cancelled;
        })) {
      blame("asked to hold what it is being asked to hold");
    }
    member.forgotten.erase(id);
    member.holds.push_back({id, hold->upstreams, hold->manifest});
  } else if (const auto* sources = std::get_if<SourcesTask>(&task)) {
    for (Pending& pending : member.holds) {
      if (pending.generation == sources->generation) pending.upstreams = sources->upstreams;
    }
    member.forgotten.erase(sources->generation);
  } else if (const auto* let_go = std::get_if<ReleaseTask>(&task)) {
    member.held_now.erase(let_go->generation);
    member.has.erase(let_go->generation);
    for (Pending& pending : member.holds) {
      if (pending.generation == let_go->generation) pending.cancelled = true;
    }
    if (!let_go->forget) return;
    member.forgotten.insert(let_go->generation);
    for (const auto& [path, to] : member.redirects) {
      if (to == let_go->generation) blame(path + " leads to what was released, on " + member.name);
    }
  } else if (const auto* redirect = std::get_if<RedirectTask>(&task)) {
    const bool is_known = member.directory->manifest(redirect->generation) != nullptr;
    if (redirect->generation.is_none() || !is_known) {
      member.redirects.erase(redirect->path);
      return;
    }
    member.forgotten.erase(redirect->generation);
    member.redirects[redirect->path] = redirect->generation;
  }
}

/// Each counted mark was put by that node, in that epoch, when it had every byte.
void World::check_commit(const Member& member, const Commit& commit) {
  ++commits;
  if (commit.generation.is_none()) return;
  if (commit.marks.empty()) blame("a commit without a copy");
  for (const Mark& mark : commit.marks) {
    if (mark.generation != commit.generation) blame("a commit with another's mark");
    const auto found = ever_verified_.find({mark.node.value, mark.epoch});
    if (found == ever_verified_.end() || !found->second.contains(mark.generation)) {
      blame(member.name + " commits what a counted node never verified");
    }
  }
}

/// The first hold of this member that can be answered.
bool World::try_hold(Member& member) {
  for (auto it = member.holds.begin(); it != member.holds.end(); ++it) {
    const Pending pending = *it;
    const auto answer = [&](HoldResult result) {
      member.holds.erase(it);
      member.directory->handle_held(now_, pending.generation, result);
      pump(member);
      return true;
    };
    if (pending.cancelled) return answer(HoldResult::cancelled);
    if (!member.holds_by_itself) continue;
    if (member.never_has_room) return answer(HoldResult::no_room);
    const uint32_t content =
        pending.manifest.piece_crcs.empty() ? 0 : pending.manifest.piece_crcs[0];
    const auto file = member.disk.find(pending.manifest.path);
    const bool from_disk = file != member.disk.end() && file->second == content;
    bool may_come = false;
    bool from_peer = false;
    for (const NodeId upstream : pending.upstreams) {
      const Member* peer = find(upstream);
      const auto index = static_cast<size_t>(upstream.value - id_of(0).value);
      const auto own = static_cast<size_t>(member.id.value - id_of(0).value);
      if (peer == nullptr || !is_connected(index, own)) continue;
      if (peer->has.contains(pending.generation)) from_peer = true;
      may_come = true;
    }
    if (from_peer || from_disk) {
      member.has.insert(pending.generation);
      ever_verified_[{member.id.value, member.epoch}].insert(pending.generation);
      return answer(HoldResult::verified);
    }
    if (!may_come) return answer(HoldResult::no_source);
  }
  return false;
}

bool World::step() {
  // A wire, or a member with something to hold, drawn evenly.
  std::vector<std::pair<uint64_t, uint64_t>> full;
  for (const auto& [ends, records] : wires_) {
    if (!records.empty()) full.push_back(ends);
  }
  const size_t choices = full.size() + size();
  const size_t first = prng_.below(choices);
  for (size_t k = 0; k < choices; ++k) {
    const size_t choice = (first + k) % choices;
    if (choice >= full.size()) {
      Member& member = *members_[choice - full.size()];
      if (member.up && try_hold(member)) return true;
      continue;
    }
    const auto ends = full[choice];
    auto& records = wires_[ends];
    const Record record = std::move(records.front());
    records.pop_front();
    Member& member = *find({ends.second});
    member.registry->handle_record(now_, {ends.first}, record);
    pump(member);
    return true;
  }
  return false;
}

void World::settle() {
  for (auto& member : members_) pump(*member);
  for (int guard = 0; step(); ++guard) {
    if (guard > 200'000) {
      blame("it does not come to rest");
      return;
    }
  }
}

void World::advance(Duration duration) {
  const Instant end = now_ + duration;
  for (int guard = 0;; ++guard) {
    settle();
    Instant next = Instant::never();
    for (const auto& member : members_) {
      if (member->up) next = std::min(next, member->directory->next_timeout());
    }
    if (next > end) break;
    if (guard > 100'000) {
      blame("its timers do not come to rest");
      break;
    }
    now_ = std::max(now_, next);
    for (auto& member : members_) {
      if (!member->up || member->directory->next_timeout() > now_) continue;
      member->directory->handle_timeout(now_);
      pump(*member);
    }
  }
  now_ = end;
}

GenerationId World::current(size_t i, const std::string& path) const {
  const auto found = members_[i]->redirects.find(path);
  return found == members_[i]->redirects.end() ? GenerationId{} : found->second;
}

const ReplicaRow* World::row(size_t i, GenerationId generation) {
  rows_ = members_[i]->directory->replicas();
  for (const ReplicaRow& row : rows_) {
    if (row.generation == generation) return &row;
  }
  return nullptr;
}

std::string World::describe() const {
  std::string text;
  const auto names = [&](const std::vector<NodeId>& nodes) {
    std::string all;
    for (const NodeId node : nodes) {
      all += static_cast<char>('a' + static_cast<char>(node.value - id_of(0).value));
    }
    return all;
  };
  for (const auto& member : members_) {
    text += member->name + ":" + (member->up ? "" : " down") + "\n";
    if (!member->up) continue;
    for (const ReplicaRow& row : member->directory->replicas()) {
      text += "  " + row.path + " " + std::to_string(row.generation.number % 1'000'000'000'000) +
              " of " + names({row.generation.publisher}) + ", holders " + names(row.holders) +
              ", verified " + names(row.verified) + " of " + std::to_string(row.copies_asked) +
              (row.current ? ", current" : "") +
              (member->has.contains(row.generation) ? ", here" : "") +
              (member->held_now.contains(row.generation) ? ", asked" : "") + "\n";
    }
    for (const auto& [path, to] : member->redirects) {
      text += "  " + path + " -> " + std::to_string(to.number % 1'000'000'000'000) + "\n";
    }
  }
  return text;
}

void World::check_agreement() {
  const Member* first = nullptr;
  // What nobody knows the holders of any more, they died with it, leads nowhere.
  const auto is_lost = [](const ReplicaRow& row) { return row.holders.empty(); };
  std::vector<ReplicaRow> said;
  for (const auto& member : members_) {
    if (!member->up) continue;
    auto rows = member->directory->replicas();
    std::erase_if(rows, is_lost);
    // Where all that is known of the newer one died with its holders, the older serves on.
    size_t older = 0;
    older += std::erase_if(rows, [&](const ReplicaRow& row) {
      const auto redirect = member->redirects.find(row.path);
      return !row.current && redirect != member->redirects.end() &&
             redirect->second == row.generation;
    });
    for (const ReplicaRow& row : rows) {
      if (!row.current) {
        blame(member->name + " still knows a generation of " + row.path + " that is not current");
        continue;
      }
      if (row.copies_verified == 0) continue;
      for (const NodeId node : row.verified) {
        const Member* holder = find(node);
        if (!holder->up || !holder->has.contains(row.generation)) {
          blame(member->name + " counts a copy of " + row.path + " that is not there");
        }
      }
      const auto redirect = member->redirects.find(row.path);
      if (redirect == member->redirects.end() || redirect->second != row.generation) {
        blame(member->name + " does not serve the current generation of " + row.path);
      }
    }
    if (member->redirects.size() != rows.size() + older) {
      blame(member->name + " redirects what is not published");
    }
    if (first == nullptr) {
      first = member.get();
      said = rows;
      continue;
    }
    bool same = rows.size() == said.size();
    for (size_t i = 0; same && i < rows.size(); ++i) {
      same = rows[i].path == said[i].path && rows[i].generation == said[i].generation &&
             rows[i].holders == said[i].holders && rows[i].verified == said[i].verified &&
             rows[i].degraded == said[i].degraded;
    }
    if (!same) blame(first->name + " and " + member->name + " do not agree");
  }
}

}  // namespace sluice::replica
