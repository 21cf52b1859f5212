// Directory: commands and events. directory_state.cc tells of its state, directory_settle.cc turns
// what is known into tasks of this node, directory_commit.cc into what the coordinator of a
// generation asks of the registry.

#include "replica/directory.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "base/assert.h"

namespace sluice::replica {
namespace {

constexpr size_t publications_max = 8'192;

}  // namespace

Directory::Directory(const DirectoryConfig& config) : config_(config) {
  NodeState& self = nodes_[config_.self];
  self.seen = {
      .node = config_.self, .epoch = config_.epoch, .hold_bytes_max = config_.hold_bytes_max};
  self.alive = true;
}

// Commands

uint32_t Directory::new_ticket(Publication publication) {
  // The oldest that has ended makes room; of those that have not there are few (sluicectl waits).
  for (auto it = publications_.begin();
       publications_.size() >= publications_max && it != publications_.end();) {
    it = active_.contains(it->first) ? std::next(it) : publications_.erase(it);
  }
  const uint32_t ticket = ++last_ticket_;
  if (publication.state != PublishState::failed) active_.insert(ticket);
  publications_.emplace(ticket, std::move(publication));
  return ticket;
}

uint32_t Directory::publish(Instant now, int64_t wall_ns, std::string_view path, uint8_t copies) {
  Publication publication;
  publication.copies = copies;
  publication.wall_ns = wall_ns;
  const auto refuse = [&](std::string why) {
    publication.state = PublishState::failed;
    publication.detail = std::move(why);
    return new_ticket(std::move(publication));
  };
  if (!is_published_path(path)) return refuse("not a path that can be published");
  publication.path = path;
  if (copies == 0 || copies > holders_max) {
    return refuse("copies must be from 1 to " + std::to_string(holders_max));
  }
  if (generations_.size() + active_.size() >= config_.generations_max) {
    return refuse("the table of published files is full: " +
                  std::to_string(config_.generations_max));
  }
  const uint32_t ticket = new_ticket(std::move(publication));
  tasks_.push_back(IngestTask{ticket, std::string(path)});
  settle(now);
  return ticket;
}

uint32_t Directory::unpublish(Instant now, std::string_view path) {
  Publication publication;
  publication.is_unpublish = true;
  publication.path = path;
  publication.state = PublishState::committing;
  publication.deadline = now + config_.commit_patience;
  const auto found = paths_.find(path);
  if (found == paths_.end() || found->second.current.is_none()) {
    publication.state = PublishState::failed;
    publication.detail = "nothing is published there";
    return new_ticket(std::move(publication));
  }
  const uint32_t ticket = new_ticket(std::move(publication));
  dirty_publications_.insert(ticket);
  settle(now);
  return ticket;
}

void Directory::handle_ingested(Instant now, uint32_t ticket, Manifest&& manifest) {
  const auto found = publications_.find(ticket);
  if (found == publications_.end() || found->second.state != PublishState::ingesting) return;
  Publication& publication = found->second;
  manifest.path = publication.path;
  if (manifest.pieces() > pieces_max ||
      pieces_of(manifest.size_bytes, manifest.piece_bytes) != manifest.pieces()) {
    fail_publication(publication, "too large: more than " + std::to_string(pieces_max) + " pieces");
    active_.erase(ticket);
    return;
  }
  PathState& path = paths_[publication.path];
  const auto wall = static_cast<uint64_t>(std::max<int64_t>(publication.wall_ns, 1));
  // Newer than any of the path, and never again for other bytes: nor for another path.
  last_number_ = std::max({wall, path.highest + 1, last_number_ + 1});
  while (generations_.contains({last_number_, config_.self})) ++last_number_;
  path.highest = last_number_;
  manifest.generation = {last_number_, config_.self};
  manifest.digest = digest_of(manifest, config_.digests);
  publication.generation = manifest.generation;
  publication.manifest = std::move(manifest);
  publication.state = PublishState::copying;
  publication.deadline = now + config_.commit_patience;
  publication_of_[publication.generation] = ticket;
  dirty_publications_.insert(ticket);
  settle(now);
}

void Directory::handle_ingest_failed(Instant, uint32_t ticket, std::string_view why) {
  const auto found = publications_.find(ticket);
  if (found == publications_.end() || found->second.state != PublishState::ingesting) return;
  fail_publication(found->second, std::string(why));
  active_.erase(ticket);
}

// Input

void Directory::handle(Instant now, const RegistryEvent& event) {
  std::visit([&](const auto& one) { take(now, one); }, event);
  settle(now);
}

void Directory::take(Instant now, const RegistryAnswer& answer) {
  const auto found = waiting_.find(answer.request);
  if (found == waiting_.end()) return;
  const Waiting waiting = found->second;
  waiting_.erase(found);
  const bool done = answer.outcome == RegistryOutcome::done;
  const Instant again = now + config_.retry_after;

  if (const auto at = publications_.find(waiting.ticket); at != publications_.end()) {
    Publication& publication = at->second;
    const bool refused = answer.outcome == RegistryOutcome::refused;
    if (!done) publication.again = again;
    dirty_publications_.insert(waiting.ticket);
    switch (waiting.what) {
      case Waiting::For::put_manifest:
        publication.manifest_request = 0;
        publication.manifest_put = done;
        if (refused) fail_publication(publication, "the registry refused the manifest");
        break;
      case Waiting::For::put_assignment:
        publication.assignment_request = 0;
        // A conflict: somebody has changed the assignment since. It is there.
        publication.assignment_put = done || answer.outcome == RegistryOutcome::conflict;
        if (refused) fail_publication(publication, "the registry refused the assignment");
        break;
      case Waiting::For::unpublish:
        publication.commit_request = 0;
        if (answer.outcome == RegistryOutcome::unavailable) publication.commit_unknown = true;
        if (refused) fail_publication(publication, "the registry refused it");
        if (done) publication.state = PublishState::published;
        break;
      default:
        break;
    }
  }
  const auto at = generations_.find(waiting.generation);
  if (at == generations_.end()) return;
  Generation& generation = at->second;
  soil(waiting.generation);
  switch (waiting.what) {
    case Waiting::For::reassign:
      generation.assign_request = 0;
      if (!done) generation.decide_again = again;
      break;
    case Waiting::For::commit:
      generation.commit_request = 0;
      if (!done) generation.decide_again = again;
      break;
    case Waiting::For::drop:
      generation.drop_request = 0;
      if (!done) generation.decide_again = again;
      break;
    case Waiting::For::mark:
      generation.mark_request = 0;
      if (done) {
        generation.told_mark =
            waiting.held ? Generation::ToldMark::held : Generation::ToldMark::withdrawn;
      } else {
        generation.mark_again = again;
      }
      break;
    case Waiting::For::drop_mark:
      generation.mark_request = 0;
      if (done) {
        generation.told_mark = Generation::ToldMark::none;
      } else {
        generation.mark_again = again;
      }
      break;
    default:
      break;
  }
}

void Directory::take(Instant, const NodeSeen& node) {
  if (node.node.is_none()) return;
  auto found = nodes_.find(node.node);
  if (node.node == config_.self) {
    found->second.seen.name = node.name;
    found->second.seen.address = node.address;
    return;
  }
  if (found == nodes_.end()) {
    if (nodes_.size() >= nodes_max) {
      // One that has been gone makes room.
      const auto gone = std::find_if(nodes_.begin(), nodes_.end(),
                                     [](const auto& entry) { return !entry.second.alive; });
      if (gone == nodes_.end()) return;
      nodes_.erase(gone);
    }
    found = nodes_.emplace(node.node, NodeState{}).first;
  }
  if (node.epoch < found->second.seen.epoch) return;
  found->second.seen = node;
  found->second.alive = true;
  soil_all();
}

void Directory::take(Instant now, const NodeGone& node) {
  const auto found = nodes_.find(node.node);
  if (node.node == config_.self || found == nodes_.end() || !found->second.alive) return;
  if (node.epoch < found->second.seen.epoch) return;  // it is back already
  found->second.alive = false;
  found->second.gone_since = now;
  soil_all();
}

void Directory::take(Instant now, const RecordSeen& seen) {
  std::visit([&](const auto& record) { take_record(now, record); }, seen.record);
}

void Directory::take_record(Instant now, const Manifest& manifest) {
  Generation* generation = generation_for(now, manifest.generation);
  if (generation == nullptr) return;
  soil(manifest.generation);
  generation->is_gone = false;
  if (generation->manifest) return;
  generation->manifest = manifest;
  PathState& path = paths_[manifest.path];
  path.generations.insert(manifest.generation);
  path.highest = std::max(path.highest, manifest.generation.number);
  // What it supersedes could not be left before.
  for (const GenerationId id : path.generations) soil(id);
}

void Directory::take_record(Instant now, const Assignment& assignment) {
  Generation* generation = generation_for(now, assignment.generation);
  if (generation == nullptr) return;
  if (generation->assignment) {
    const Assignment& known = *generation->assignment;
    if (assignment.revision < known.revision) return;
    // Two that could not see each other made the same revision: all take the same one.
    if (assignment.revision == known.revision &&
        !std::lexicographical_compare(assignment.holders.begin(), assignment.holders.end(),
                                      known.holders.begin(), known.holders.end())) {
      return;
    }
  }
  generation->assignment = assignment;
  generation->assigned = now;
  generation->progress = now;
  soil(assignment.generation);
}

void Directory::take_record(Instant now, const Mark& mark) {
  Generation* generation = generation_for(now, mark.generation);
  if (generation == nullptr) return;
  auto found = generation->marks.find(mark.node);
  if (found == generation->marks.end()) {
    if (generation->marks.size() >= nodes_max) return;
    found = generation->marks.emplace(mark.node, Generation::Marked{}).first;
  }
  if (mark.epoch < found->second.epoch) return;
  found->second = {mark.epoch, mark.held};
  if (mark.held) generation->progress = now;
  soil(mark.generation);
}

void Directory::take_record(Instant, const Current& current) {
  auto found = paths_.find(current.path);
  if (found == paths_.end()) {
    if (paths_.size() >= 2 * size_t{config_.generations_max}) return;
    found = paths_.emplace(current.path, PathState{}).first;
  }
  PathState& path = found->second;
  path.current = current.generation;
  path.supersedes = current.supersedes;
  path.highest = std::max({path.highest, current.generation.number, current.supersedes});
  for (const GenerationId id : path.generations) soil(id);
  for (const uint32_t ticket : active_) {
    if (publications_.at(ticket).is_unpublish) dirty_publications_.insert(ticket);
  }
  settle_redirect(current.path);
}

void Directory::take(Instant, const RecordGone& gone) {
  const auto found = generations_.find(gone.generation);
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  if (gone.what == DropRecord::What::generation) {
    if (standing(gone.generation, generation) != Standing::current) {
      generation.is_gone = true;
      soil(gone.generation);
      return;
    }
    // It serves: it was not for anybody to take away. It is put back.
    if (coordinator(generation) == config_.self) {
      (void)request({.what = Waiting::For::restore}, PutRecord{0, *generation.manifest});
      (void)request({.what = Waiting::For::restore}, PutRecord{0, *generation.assignment});
    }
    return;
  }
  generation.marks.erase(gone.node);
  if (gone.node == config_.self) generation.told_mark = Generation::ToldMark::none;
  soil(gone.generation);
}

void Directory::take(Instant, const Synced&) {
  synced_ = true;
  soil_all();
}

void Directory::take(Instant, const Availability& availability) {
  available_ = availability.available;
  soil_all();
}

void Directory::take(Instant, const Fenced&) {
  // Whatever is still on its way was said under the old lease.
  std::erase_if(waiting_, [](const auto& entry) {
    return entry.second.what == Waiting::For::mark || entry.second.what == Waiting::For::drop_mark;
  });
  for (auto& [id, generation] : generations_) {
    generation.marks.erase(config_.self);
    if (generation.told_mark != Generation::ToldMark::none || generation.mark_request != 0) {
      generation.told_mark = Generation::ToldMark::unknown;
    }
    generation.mark_request = 0;
  }
  soil_all();
}

void Directory::handle_held(Instant now, GenerationId id, HoldResult result) {
  if (const auto stale = stale_answers_.find(id); stale != stale_answers_.end()) {
    if (--stale->second == 0) stale_answers_.erase(stale);
    return;
  }
  const auto found = generations_.find(id);
  if (found == generations_.end() || found->second.unanswered == 0) return;
  Generation& generation = found->second;
  if (--generation.unanswered > 0 || generation.own != Generation::Own::asked) return;
  if (result == HoldResult::verified) {
    generation.own = Generation::Own::verified;
    generation.progress = now;
  } else {
    generation.own = Generation::Own::failed;
    generation.last_failure = result;
    generation.hold_again = now + config_.repair_after;
  }
  soil(id);
  settle(now);
}

void Directory::handle_progress(Instant now, GenerationId id) {
  const auto found = generations_.find(id);
  if (found != generations_.end()) found->second.progress = now;
}

void Directory::handle_lost(Instant now, GenerationId id) {
  const auto found = generations_.find(id);
  if (found == generations_.end() || found->second.own != Generation::Own::verified) return;
  found->second.own = Generation::Own::failed;
  found->second.last_failure = HoldResult::no_source;
  found->second.hold_again = now + config_.repair_after;
  soil(id);
  settle(now);
}

void Directory::handle_timeout(Instant now) {
  if (now < next_due_) return;
  next_due_ = Instant::never();
  for (auto& [id, generation] : generations_) {
    if (generation.due <= now) {
      soil(id);
    } else {
      next_due_ = std::min(next_due_, generation.due);
    }
  }
  dirty_publications_.insert(active_.begin(), active_.end());
  settle(now);
}

// Output

bool Directory::poll_task(Task& out) {
  if (tasks_.empty()) return false;
  out = std::move(tasks_.front());
  tasks_.pop_front();
  return true;
}

bool Directory::poll_request(RegistryRequest& out) {
  if (requests_.empty()) return false;
  out = std::move(requests_.front());
  requests_.pop_front();
  return true;
}

Instant Directory::next_timeout() const {
  return next_due_;
}

uint32_t Directory::request(Waiting waiting, RegistryRequest what) {
  if (++last_request_ == 0) ++last_request_;
  std::visit([&](auto& one) { one.request = last_request_; }, what);
  waiting_.emplace(last_request_, waiting);
  requests_.push_back(std::move(what));
  return last_request_;
}

void Directory::remind(Instant now, Generation& generation, Instant at) {
  at = std::max(at, now + 1_ms);
  generation.due = std::min(generation.due, at);
  next_due_ = std::min(next_due_, at);
}

void Directory::soil(GenerationId id) {
  dirty_.insert(id);
}

void Directory::soil_all() {
  for (const auto& [id, generation] : generations_) dirty_.insert(id);
  dirty_publications_.insert(active_.begin(), active_.end());
}

Directory::Generation* Directory::generation_for(Instant now, GenerationId id) {
  const auto found = generations_.find(id);
  if (found != generations_.end()) return &found->second;
  if (generations_.size() >= config_.generations_max) return nullptr;
  Generation& generation = generations_[id];
  generation.progress = now;
  generation.abandoned = abandoned_.erase(id) > 0;
  return &generation;
}

void Directory::forget_generation(GenerationId id) {
  const auto found = generations_.find(id);
  if (found == generations_.end()) return;
  Generation& generation = found->second;
  if (const auto ticket = publication_of_.find(id); ticket != publication_of_.end()) {
    dirty_publications_.insert(ticket->second);
  }
  release(id, generation, true);
  if (generation.manifest) {
    if (const auto path = paths_.find(generation.manifest->path); path != paths_.end()) {
      path->second.generations.erase(id);
    }
  }
  if (generation.unanswered > 0) stale_answers_[id] += generation.unanswered;
  generations_.erase(found);
  dirty_.erase(id);
}

}  // namespace sluice::replica
