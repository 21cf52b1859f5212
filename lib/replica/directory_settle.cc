// Directory: what this node does with each generation: hold, release, where to fetch from, which
// mark it has in the registry, where each path leads.

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "replica/directory.h"
#include "replica/placement.h"

namespace sluice::replica {

void Directory::settle(Instant now) {
  while (!dirty_.empty()) {
    const GenerationId id = *dirty_.begin();
    dirty_.erase(dirty_.begin());
    const auto found = generations_.find(id);
    if (found != generations_.end()) settle_generation(now, id, found->second);
    if (const auto ticket = publication_of_.find(id); ticket != publication_of_.end()) {
      dirty_publications_.insert(ticket->second);
    }
  }
  while (!dirty_publications_.empty()) {
    const uint32_t ticket = *dirty_publications_.begin();
    dirty_publications_.erase(dirty_publications_.begin());
    const auto found = publications_.find(ticket);
    if (found != publications_.end() && active_.contains(ticket)) {
      settle_publication(now, found->second, ticket);
    }
  }
}

void Directory::settle_generation(Instant now, GenerationId id, Generation& generation) {
  generation.due = Instant::never();
  // Before everything has been told nothing can be judged: what looks new may be long superseded.
  if (!synced_) return;
  if (generation.is_gone) {
    settle_gone(id, generation);
    return;
  }
  if (!generation.manifest || !generation.assignment) {
    settle_orphan(now, id, generation);
    return;
  }
  const Standing stands = standing(id, generation);
  if (stands == Standing::current) generation.abandoned = false;  // a commit came through after all
  if (stands != Standing::superseded) generation.superseded_since = Instant::never();
  // Redirects away from it come before its release, and its sources before redirects to it.
  if (stands == Standing::current) settle_sources(id, generation);
  settle_redirect(generation.manifest->path);
  settle_hold(now, id, generation, stands);
  if (stands == Standing::candidate) settle_redirect(generation.manifest->path);
  settle_sources(id, generation);
  settle_mark(now, id, generation);
  if (!is_ready()) return;
  switch (stands) {
    case Standing::candidate:
      settle_candidate(now, id, generation);
      break;
    case Standing::current:
      settle_current(now, id, generation);
      break;
    case Standing::superseded:
      settle_superseded(now, id, generation);
      break;
  }
}

/// Others took it away: nothing is left to decide. What the path leads to here may not be known
/// yet; until it is, this serves on.
void Directory::settle_gone(GenerationId id, Generation& generation) {
  if (generation.manifest) {
    settle_redirect(generation.manifest->path);
    const PathState& path = paths_.at(generation.manifest->path);
    if (path.told == id && !path.current.is_none()) return;
  }
  forget_generation(id);
}

void Directory::settle_hold(Instant now, GenerationId id, Generation& generation, Standing stands) {
  if (generation.abandoned) {
    release(id, generation, true);
    return;
  }
  if (stands == Standing::superseded) {
    if (generation.superseded_since.is_never()) generation.superseded_since = now;
    const Instant release_at = generation.superseded_since + config_.release_after;
    if (now < release_at) {
      remind(now, generation, release_at);
    } else if (is_ready() && paths_.at(generation.manifest->path).told != id) {
      release(id, generation, true);
    }
    return;
  }
  if (!is_holder(generation, config_.self)) {
    // It was replaced. Its copy goes when the others have theirs.
    if (generation.own == Generation::Own::none || !is_ready()) return;
    if (counted_marks(id, generation).size() < generation.assignment->copies &&
        generation.own == Generation::Own::verified) {
      return;
    }
    release(id, generation, stands != Standing::current);
    return;
  }
  if (generation.own == Generation::Own::none) {
    ask_hold(id, generation);
  } else if (generation.own == Generation::Own::failed) {
    if (now >= generation.hold_again || sources_for_self(generation) != generation.sources) {
      ask_hold(id, generation);
    } else {
      remind(now, generation, generation.hold_again);
    }
  }
}

void Directory::ask_hold(GenerationId id, Generation& generation) {
  generation.sources = sources_for_self(generation);
  generation.own = Generation::Own::asked;
  generation.was_told = true;
  ++generation.unanswered;
  const PathState& path = paths_.at(generation.manifest->path);
  tasks_.push_back(HoldTask{.manifest = *generation.manifest,
                            .upstreams = generation.sources,
                            .redirect_early = path.current.is_none()});
  (void)id;
}

void Directory::release(GenerationId id, Generation& generation, bool forget) {
  if (!generation.was_told) return;
  generation.own = Generation::Own::none;
  if (generation.manifest && forget) {
    PathState& path = paths_.at(generation.manifest->path);
    if (path.told == id) {
      path.told = {};
      tasks_.push_back(RedirectTask{generation.manifest->path, {}});
    }
  }
  tasks_.push_back(ReleaseTask{id, forget});
  if (!forget) return;
  generation.was_told = false;
  generation.sources.clear();
}

void Directory::settle_sources(GenerationId id, Generation& generation) {
  const PathState& path = paths_.at(generation.manifest->path);
  const bool is_needed = generation.own != Generation::Own::none || path.current == id;
  // Where it failed, a change is the reason to ask for it again: settle_hold.
  if (!is_needed || generation.abandoned || generation.own == Generation::Own::failed) return;
  std::vector<NodeId> sources = sources_for_self(generation);
  if (sources == generation.sources) return;
  generation.sources = std::move(sources);
  generation.was_told = true;
  tasks_.push_back(SourcesTask{id, generation.sources});
}

/// The chain upwards from here, nearest first; then whoever else has it. A star: the first holder
/// instead of the chain. Nobody waits in a circle: who is not verified waits only for those in
/// front of it in the chain.
std::vector<NodeId> Directory::sources_for_self(const Generation& generation) const {
  std::vector<NodeId> sources;
  const auto add = [&](NodeId node) {
    if (node == config_.self || !is_alive(node) || has_failed(generation, node)) return;
    if (std::find(sources.begin(), sources.end(), node) == sources.end()) sources.push_back(node);
  };
  const auto holders = generation.assignment->holders.span();
  const auto own = std::find(holders.begin(), holders.end(), config_.self);
  if (own != holders.end() && own != holders.begin()) {
    if (generation.manifest->size_bytes < chain_bytes_min) {
      add(holders.front());
    } else {
      for (auto at = own; at != holders.begin();) add(*--at);
    }
  }
  std::vector<NodeId> verified;
  for (const auto& [node, mark] : generation.marks) {
    if (is_counted(generation, node)) verified.push_back(node);
  }
  // Not all from the same one.
  const GenerationId own_order{generation.manifest->generation.number, config_.self};
  for (const NodeId node : rendezvous_order(own_order, verified)) add(node);
  return sources;
}

void Directory::settle_mark(Instant now, GenerationId id, Generation& generation) {
  using Told = Generation::ToldMark;
  if (!is_ready() || generation.mark_request != 0) return;
  Told wanted = Told::none;
  switch (generation.own) {
    case Generation::Own::none:
      break;
    case Generation::Own::asked:
      wanted = generation.told_mark == Told::none ? Told::none : Told::withdrawn;
      break;
    case Generation::Own::verified:
      wanted = Told::held;
      break;
    case Generation::Own::failed:
      wanted = Told::withdrawn;
      break;
  }
  if (wanted == generation.told_mark) return;
  if (now < generation.mark_again) {
    remind(now, generation, generation.mark_again);
    return;
  }
  if (wanted == Told::none) {
    generation.mark_request = request({.what = Waiting::For::drop_mark, .generation = id},
                                      DropRecord{.what = DropRecord::What::mark, .generation = id});
    return;
  }
  const bool held = wanted == Told::held;
  generation.mark_request = request({.what = Waiting::For::mark, .generation = id, .held = held},
                                    PutRecord{0, Mark{id, config_.self, config_.epoch, held}});
}

void Directory::settle_redirect(const std::string& name) {
  const auto found = paths_.find(name);
  if (found == paths_.end() || !synced_) return;
  PathState& path = found->second;
  GenerationId wanted = path.current;
  if (!wanted.is_none()) {
    // Not told of its bytes yet: what was served goes on being served.
    const auto at = generations_.find(wanted);
    if (at == generations_.end() || !at->second.manifest || !at->second.assignment) return;
  } else {
    // Nothing is current: the newest that is on its way to this node. But one that is served
    // stays: it may be committed already, and this node not told yet.
    for (const GenerationId id : path.generations) {
      const Generation& generation = generations_.at(id);
      const bool is_here =
          generation.own == Generation::Own::asked || generation.own == Generation::Own::verified;
      if (is_here && !generation.abandoned && !generation.is_gone &&
          standing(id, generation) == Standing::candidate) {
        wanted = id;
        if (id == path.told) break;
      }
    }
  }
  if (wanted == path.told) return;
  if (!path.told.is_none()) soil(path.told);  // it may be released now
  path.told = wanted;
  if (!wanted.is_none()) generations_.at(wanted).was_told = true;
  tasks_.push_back(RedirectTask{name, wanted});
}

}  // namespace sluice::replica
