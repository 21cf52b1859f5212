// Directory: the coordinator of a generation (its first live holder) and its publisher: what they
// ask of the registry.

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "replica/directory.h"
#include "replica/placement.h"

namespace sluice::replica {
namespace {

// A generation that was never committed and that nobody alive holds. Its publisher may come back
// and finish it; this is how long it may take.
constexpr Duration orphan_after = 600_s;

// Between two changes of one assignment, times repair_after.
constexpr int64_t pauses_max = 32;

// A superseded generation is dropped by its collector. Where that one did so before this node had
// heard that it is superseded, this node drops its own knowledge of it, so much later.
constexpr Duration collect_alone_after = 60_s;

}  // namespace

void Directory::settle_candidate(Instant now, GenerationId id, Generation& generation) {
  const bool is_publisher = id.publisher == config_.self;
  if (generation.abandoned) {
    if (is_publisher) drop(now, id, generation);
    return;
  }
  if (coordinator(generation) != config_.self) {
    settle_orphan(now, id, generation);
    return;
  }
  if (generation.commit_request != 0) return;
  const std::vector<Mark> marks = counted_marks(id, generation);
  const auto holders = generation.assignment->holders.span();
  const bool is_waiting = std::any_of(holders.begin(), holders.end(), [&](NodeId holder) {
    return is_alive(holder) && !is_counted(generation, holder) && !has_failed(generation, holder);
  });
  const Instant patience_ends = generation.progress + config_.commit_patience;
  if (marks.size() < generation.assignment->copies && is_waiting && now < patience_ends) {
    remind(now, generation, patience_ends);
    return;
  }
  if (marks.empty()) {
    if (!is_publisher) {
      settle_orphan(now, id, generation);
      return;
    }
    generation.abandoned = true;
    if (const auto ticket = publication_of_.find(id); ticket != publication_of_.end()) {
      fail_publication(publications_.at(ticket->second),
                       "no copy could be verified: " + missing(generation));
    }
    settle_redirect(generation.manifest->path);
    release(id, generation, true);
    drop(now, id, generation);
    return;
  }
  if (now < generation.decide_again) {
    remind(now, generation, generation.decide_again);
    return;
  }
  generation.commit_request =
      request({.what = Waiting::For::commit, .generation = id},
              Commit{.path = generation.manifest->path,
                     .generation = id,
                     .expected = paths_.at(generation.manifest->path).current,
                     .marks = marks});
}

/// Fewer verified copies than asked for: holders that cannot or do not come back are replaced.
void Directory::settle_current(Instant now, GenerationId id, Generation& generation) {
  if (coordinator(generation) != config_.self || generation.assign_request != 0) return;
  const Assignment& known = *generation.assignment;
  if (counted_marks(id, generation).size() >= known.copies || !is_anywhere(generation)) return;
  std::vector<NodeId> kept;
  for (const NodeId holder : known.holders) {
    if (is_alive(holder)) {
      if (!has_failed(generation, holder)) kept.push_back(holder);
      continue;
    }
    const auto seen = nodes_.find(holder);
    const Instant replace_at =
        seen == nodes_.end() ? now : seen->second.gone_since + config_.repair_after;
    if (now < replace_at) {
      kept.push_back(holder);
      remind(now, generation, replace_at);
    }
  }
  if (kept.size() >= known.copies) return;
  std::vector<NodeId> added;
  for (const NodeId node : candidates(id, generation.manifest->size_bytes)) {
    if (kept.size() + added.size() >= known.copies) break;
    if (!is_holder(generation, node)) added.push_back(node);
  }
  if (added.empty()) {
    // Nothing tells of room that becomes free.
    remind(now, generation, now + config_.repair_after);
    return;
  }
  // Holders that fail in turn are changed ever more slowly.
  const Duration pause = config_.repair_after * std::min<int64_t>(known.revision - 1, pauses_max);
  const Instant change_at = std::max(generation.assigned + pause, generation.decide_again);
  if (now < change_at) {
    remind(now, generation, change_at);
    return;
  }
  // Who could not be replaced stays: it may still come back.
  Assignment next{.generation = id, .revision = known.revision + 1, .copies = known.copies};
  size_t replaceable = known.holders.size() - kept.size();
  size_t surplus = known.holders.size() + added.size() > known.copies
                       ? known.holders.size() + added.size() - known.copies
                       : 0;
  surplus = std::min(surplus, replaceable);
  for (const NodeId holder : known.holders) {
    const bool is_kept = std::find(kept.begin(), kept.end(), holder) != kept.end();
    if (!is_kept && surplus > 0) {
      --surplus;
      continue;
    }
    (void)next.holders.push_back(holder);
  }
  for (const NodeId node : added) (void)next.holders.push_back(node);
  generation.assign_request =
      request({.what = Waiting::For::reassign, .generation = id}, PutRecord{0, next});
}

void Directory::settle_superseded(Instant now, GenerationId id, Generation& generation) {
  if (generation.was_told || generation.mark_request != 0) return;
  const Instant alone_at = generation.superseded_since + collect_alone_after;
  if (now >= alone_at) {
    drop(now, id, generation);
    return;
  }
  remind(now, generation, alone_at);
  if (collector(id, generation) != config_.self) return;
  for (const auto& [node, mark] : generation.marks) {
    if (is_counted(generation, node)) return;  // still there: its holder drops the mark first
  }
  const Instant release_at = generation.superseded_since + config_.release_after;
  if (now < release_at) {
    remind(now, generation, release_at);
    return;
  }
  drop(now, id, generation);
}

/// Nobody is there to finish it. It goes after a long while: whoever could may come back, and what
/// is missing here of it may be on its way.
void Directory::settle_orphan(Instant now, GenerationId id, Generation& generation) {
  if (!is_ready() || collector(id, generation) != config_.self) return;
  if (publication_of_.contains(id) && !generation.abandoned) return;
  Instant since = generation.progress;
  if (id.publisher != config_.self) {
    if (is_alive(id.publisher)) return;
    const auto seen = nodes_.find(id.publisher);
    if (seen != nodes_.end()) since = std::max(since, seen->second.gone_since);
  } else if (generation.abandoned) {
    drop(now, id, generation);
    return;
  }
  if (now < since + orphan_after) {
    remind(now, generation, since + orphan_after);
    return;
  }
  drop(now, id, generation);
}

void Directory::drop(Instant now, GenerationId id, Generation& generation) {
  if (generation.drop_request != 0 || !is_ready()) return;
  if (now < generation.decide_again) {
    remind(now, generation, generation.decide_again);
    return;
  }
  // Once more, should nothing come of it.
  generation.decide_again = now + config_.repair_after;
  generation.drop_request =
      request({.what = Waiting::For::drop, .generation = id},
              DropRecord{.what = DropRecord::What::generation, .generation = id});
}

// Publications

void Directory::settle_publication(Instant now, Publication& publication, uint32_t ticket) {
  const auto end = [&] {
    active_.erase(ticket);
    publication_of_.erase(publication.generation);
    publication.manifest.reset();
    publication.assignment.reset();
  };
  if (publication.state == PublishState::ingesting) return;
  if (publication.is_unpublish) {
    if (publication.state == PublishState::committing) settle_unpublish(now, publication, ticket);
    if (publication.state != PublishState::committing) end();
    return;
  }
  if (publication.state == PublishState::failed) {
    end();
    return;
  }
  const GenerationId id = publication.generation;
  if (!publication.manifest_put || !publication.assignment_put) {
    start_copying(now, publication, ticket);
    if (publication.state == PublishState::failed) end();
    return;
  }
  const auto found = generations_.find(id);
  if (found == generations_.end()) {
    // Taken, and gone again. Where the registry has not told of it yet there is time.
    if (now < publication.deadline) {
      next_due_ = std::min(next_due_, publication.deadline);
      return;
    }
    fail_publication(publication, "it was taken out of the registry");
    end();
    return;
  }
  const Generation& generation = found->second;
  publication.verified = static_cast<uint8_t>(counted_marks(id, generation).size());
  switch (standing(id, generation)) {
    case Standing::candidate:
      publication.state =
          generation.commit_request != 0 ? PublishState::committing : PublishState::copying;
      return;
    case Standing::superseded:
      fail_publication(publication, "a newer publication of the same path took its place");
      end();
      return;
    case Standing::current:
      publication.state = publication.verified >= publication.copies ? PublishState::published
                                                                     : PublishState::degraded;
      if (publication.state == PublishState::degraded) publication.detail = missing(generation);
      end();
      return;
  }
}

void Directory::start_copying(Instant now, Publication& publication, uint32_t ticket) {
  if (now >= publication.deadline) {
    fail_publication(publication, "the registry does not answer");
    return;
  }
  next_due_ = std::min(next_due_, publication.deadline);
  if (!is_ready()) return;
  if (now < publication.again) {
    next_due_ = std::min(next_due_, publication.again);
    return;
  }
  const Manifest& manifest = *publication.manifest;
  if (!publication.assignment) {
    const std::vector<NodeId> order = candidates(manifest.generation, manifest.size_bytes);
    if (std::find(order.begin(), order.end(), config_.self) == order.end()) {
      fail_publication(publication, "no room here: the file has " +
                                        std::to_string(manifest.size_bytes) + " bytes, " +
                                        std::to_string(held_bytes()[config_.self]) + " of " +
                                        std::to_string(config_.hold_bytes_max) + " are taken");
      return;
    }
    Assignment assignment{
        .generation = manifest.generation, .revision = 1, .copies = publication.copies};
    (void)assignment.holders.push_back(config_.self);
    for (const NodeId node : order) {
      if (assignment.holders.size() >= publication.copies) break;
      if (node != config_.self) (void)assignment.holders.push_back(node);
    }
    publication.assignment = assignment;
  }
  if (!publication.manifest_put && publication.manifest_request == 0) {
    publication.manifest_request =
        request({.what = Waiting::For::put_manifest, .ticket = ticket}, PutRecord{0, manifest});
  }
  if (!publication.assignment_put && publication.assignment_request == 0) {
    publication.assignment_request =
        request({.what = Waiting::For::put_assignment, .ticket = ticket},
                PutRecord{0, *publication.assignment});
  }
}

void Directory::settle_unpublish(Instant now, Publication& publication, uint32_t ticket) {
  if (publication.commit_request != 0) return;
  const auto path = paths_.find(publication.path);
  if (path == paths_.end() || path->second.current.is_none()) {
    publication.state = PublishState::published;  // by this, or by another
    return;
  }
  if (now >= publication.deadline && !publication.commit_unknown) {
    fail_publication(publication, "the registry does not answer");
    return;
  }
  if (now < publication.deadline) next_due_ = std::min(next_due_, publication.deadline);
  if (!is_ready()) return;
  if (now < publication.again) {
    next_due_ = std::min(next_due_, publication.again);
    return;
  }
  publication.commit_request =
      request({.what = Waiting::For::unpublish, .ticket = ticket},
              Commit{.path = publication.path, .generation = {}, .expected = path->second.current});
}

void Directory::fail_publication(Publication& publication, std::string detail) {
  publication.state = PublishState::failed;
  publication.detail = std::move(detail);
  const GenerationId id = publication.generation;
  if (id.is_none()) return;
  // It must never be committed any more, whatever of it has reached the registry.
  if (const auto found = generations_.find(id); found != generations_.end()) {
    if (standing(id, found->second) == Standing::candidate) found->second.abandoned = true;
    soil(id);
  } else {
    abandoned_.insert(id);
    if (abandoned_.size() > config_.generations_max) abandoned_.erase(abandoned_.begin());
  }
}

// Placement

std::map<NodeId, uint64_t> Directory::held_bytes() const {
  std::map<NodeId, uint64_t> used;
  const auto add = [&](const Assignment& assignment, const Manifest& manifest) {
    for (const NodeId holder : assignment.holders) used[holder] += manifest.size_bytes;
  };
  for (const auto& [id, generation] : generations_) {
    if (generation.assignment && generation.manifest) {
      add(*generation.assignment, *generation.manifest);
    }
  }
  for (const auto& [id, ticket] : publication_of_) {
    const Publication& publication = publications_.at(ticket);
    if (publication.assignment && !generations_.contains(id)) {
      add(*publication.assignment, *publication.manifest);
    }
  }
  return used;
}

/// Nodes alive that have room for so much more, in the order in which they come for the generation.
std::vector<NodeId> Directory::candidates(GenerationId id, uint64_t size_bytes) const {
  const std::map<NodeId, uint64_t> used = held_bytes();
  std::vector<NodeId> nodes;
  for (const auto& [node, state] : nodes_) {
    const auto at = used.find(node);
    const uint64_t taken = at == used.end() ? 0 : at->second;
    const uint64_t room = state.seen.hold_bytes_max;
    if (state.alive && taken <= room && size_bytes <= room - taken) nodes.push_back(node);
  }
  return rendezvous_order(id, nodes);
}

}  // namespace sluice::replica
