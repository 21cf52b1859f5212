// What holds of a ReplicaWorld at every moment, and what when all is quiet.

#include <algorithm>

#include "replica_world.h"

namespace sluice::sim {

using namespace replica;
using content::Extent;

namespace {

// A fetch, or a reading, that has not ended after so long never will.
constexpr int64_t end_ns_max = 90'000'000'000;
// What was just killed, stopped or spoiled may be counted for so long.
constexpr int64_t notice_ns_max = 25'000'000'000;
// What a path led to so long ago may still be answered: freshness of the reader's catalog and of
// the Store, a slow disk.
constexpr int64_t answer_lag_ns = 1'500'000'000;
constexpr int64_t check_every_ns = 500'000'000;

}  // namespace

void ReplicaWorld::fail(const std::string& why) {
  if (!failure_.empty()) return;
  failure_ = why + ", at " + std::to_string(now_ns_) + " ns";
  note("FAILED: " + failure_);
}

bool ReplicaWorld::is_excused(uint32_t index) const {
  const Watched& w = watched_[index];
  const int64_t last = std::max({w.stopped_ns, w.continued_ns, w.killed_ns, w.rotted_ns});
  const bool now_stopped = w.stopped_ns > w.continued_ns;
  return last > 0 && (now_stopped || now_ns_ - last < notice_ns_max);
}

void ReplicaWorld::check() {
  if (!mover_.violation().empty()) fail(mover_.violation());
  if (!etcd_.violation().empty()) fail(etcd_.violation());
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]->is_alive() || mover_.writes(i) == 0) continue;
    for (const Extent& source : mover_.writing(i)) {
      if (nodes_[i]->pins().pins(source.chunk) == 0) {
        fail(host_name(i) + ": a chunk that is being written to a peer is not pinned");
      }
    }
  }
  // Only now: a node that was stopped hears of several generations within one turn, and tells of
  // the redirect to a candidate when that one is current already.
  for (const auto& [index, path] : redirected_) {
    if (!nodes_[index]->is_alive()) continue;
    const GenerationId led_to = watched_[index].led[path].back().generation;
    if (current(index, path) == led_to) seen_current_[index].insert(led_to);
  }
  redirected_.clear();
  if (now_ns_ >= check_due_ns_) check_periodically();
}

void ReplicaWorld::check_periodically() {
  check_due_ns_ = now_ns_ + check_every_ns;
  check_ends();
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->is_alive() && !nodes_[i]->is_stopped()) check_rows(i);
  }
  // What etcd says is held is held.
  for (const auto& [path, current] : etcd_.currents()) {
    for (const auto& [key, mark] : etcd_.marks()) {
      const uint32_t index = index_of(mark.node);
      if (key.first != current.generation || !mark.held || nodes_[index]->epoch() != mark.epoch)
        continue;
      if (!nodes_[index]->is_alive() || is_excused(index)) continue;
      const std::string what = missing(index, key.first);
      if (!what.empty()) {
        fail(host_name(index) + " has a mark for the current generation of " + path + ": " + what);
      }
    }
  }
}

void ReplicaWorld::check_ends() {
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    SimNode& node = *nodes_[i];
    if (!node.is_alive() || node.is_stopped()) continue;
    const int64_t since = watched_[i].continued_ns;
    if (node.reader().is_reading() &&
        now_ns_ - std::max(node.reader().asked_ns(), since) > end_ns_max) {
      fail(host_name(i) + ": a reading of " + node.reader().path() + " does not end");
    }
    for (const auto& [number, open] : node.fetches()) {
      if (now_ns_ - std::max(open.since_ns, since) > end_ns_max) {
        fail(host_name(i) + ": a fetch of piece " + std::to_string(open.fetch.piece) +
             " does not end");
      }
    }
  }
}

void ReplicaWorld::check_rows(uint32_t index) {
  for (const ReplicaRow& row : nodes_[index]->node().replicas()) {
    if (!row.current) continue;
    seen_current_[index].insert(row.generation);
    const std::string what = host_name(index) + " says of " + row.path + ": ";
    if (row.degraded != (row.copies_verified < row.copies_asked)) {
      fail(what + std::to_string(row.copies_verified) + " of " + std::to_string(row.copies_asked) +
           " copies, degraded " + std::to_string(row.degraded));
    }
    if (row.copies_verified != row.verified.size()) fail(what + "another count than nodes");
    const Version* version = version_of(row.generation);
    if (version != nullptr && row.etag != version->etag) fail(what + "another ETag");
    if (now_ns_ - fault_ns_ < notice_ns_max) continue;
    for (const NodeId id : row.verified) {
      const uint32_t holder = index_of(id);
      if (is_excused(holder)) continue;
      const std::string lacks = missing(holder, row.generation);
      if (!lacks.empty()) fail(what + host_name(holder) + " counts, but " + lacks);
    }
  }
}

// The moment of publication: each node that is counted has every byte.
void ReplicaWorld::check_commit(const Commit& commit) {
  ++commits_;
  note("commit of " + commit.path + ", generation " + std::to_string(commit.generation.number));
  if (commit.generation.is_none()) {
    unpublished_.insert(commit.path);
    return;
  }
  committed_.insert(commit.generation);
  for (const Mark& mark : commit.marks) {
    const uint32_t index = index_of(mark.node);
    if (!nodes_[index]->is_alive() || nodes_[index]->epoch() != mark.epoch) continue;
    if (now_ns_ - watched_[index].rotted_ns < notice_ns_max && watched_[index].rotted_ns > 0) {
      continue;
    }
    const std::string what = missing(index, commit.generation);
    if (!what.empty()) {
      fail("published with a mark of " + host_name(index) + ", but " + what);
    }
  }
}

void ReplicaWorld::check_fetched(uint32_t index, const SimNode::OpenFetch& open) {
  const Version* version = version_of(open.fetch.generation);
  if (version == nullptr) return fail("a fetch for a generation that nobody described");
  const std::string_view expected =
      std::string_view(version->bytes)
          .substr(size_t{open.fetch.piece} * options_.node.chunk_bytes,
                  open.fetch.extent.length_bytes);
  if (as_text(nodes_[index]->arena().bytes(open.fetch.extent)) != expected) {
    fail(host_name(index) + ": piece " + std::to_string(open.fetch.piece) + " of " + version->path +
         " was given to the Store with wrong bytes");
  }
}

void ReplicaWorld::handle_describe(const Describe& describe) {
  const auto version = versions_.find(describe.size_bytes);
  if (version == versions_.end() || version->second.path != describe.path.view()) {
    return fail("a generation of " + std::string(describe.path.view()) +
                " has a size that no file had: " + std::to_string(describe.size_bytes));
  }
  if (version->second.etag != describe.etag) fail("a generation with a wrong ETag");
  const auto [at, is_new] = generations_.emplace(describe.generation, &version->second);
  if (!is_new && at->second != &version->second) fail("a generation with two contents");
}

void ReplicaWorld::handle_redirect(uint32_t index, const Redirect& redirect) {
  const std::string path(redirect.path.view());
  std::vector<Led>& led = watched_[index].led[path];
  const GenerationId before = led.empty() ? GenerationId{} : led.back().generation;
  note(host_name(index) + " leads " + path + " to generation " +
       std::to_string(redirect.generation.number));
  led.push_back({now_ns_, redirect.generation});
  if (redirect.generation.is_none() || before == redirect.generation) return;
  const GenerationId is_current = current(index, path);
  redirected_.emplace_back(index, path);
  // Where nothing is current (any more) a candidate may be led to, and another in its place.
  if (seen_current_[index].contains(before) && redirect.generation < before) {
    fail(host_name(index) + ": " + path + " leads back to an older generation");
  }
  const bool replaces = options_.node.has_registry
                            ? committed_.contains(before) && !unpublished_.contains(path)
                            : seen_current_[index].contains(before) && !is_current.is_none();
  if (!replaces) return;
  if (options_.node.has_registry) {
    if (!committed_.contains(redirect.generation)) {
      fail(host_name(index) + ": the old generation of " + path +
           " goes before the new one is committed");
    }
    return;
  }
  ++commits_;
  bool somewhere = false;
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    somewhere = somewhere || missing(i, redirect.generation).empty() || is_excused(i);
  }
  if (!somewhere) fail(path + ": the new generation is not whole on any node");
}

// Readers
// -----------------------------------------------------------------------------------------------

// What the path led to in the last while, by what this node's Node told its Overlay.
std::set<const ReplicaWorld::Version*> ReplicaWorld::versions_led_to(uint32_t index,
                                                                     const std::string& path,
                                                                     bool& disk) {
  const Watched& w = watched_[index];
  int64_t since_ns = now_ns_ - answer_lag_ns;
  // Mail waits in a process that is stopped.
  if (w.continued_ns > since_ns) since_ns = w.stopped_ns - answer_lag_ns;
  std::set<const Version*> versions;
  disk = true;
  const auto led = w.led.find(path);
  if (led == w.led.end()) return versions;
  for (const Led& to : led->second) {
    if (to.from_ns <= since_ns) {
      versions.clear();
      disk = false;
    }
    if (to.generation.is_none()) {
      disk = true;
    } else {
      versions.insert(version_of(to.generation));
    }
  }
  return versions;
}

const std::string* ReplicaWorld::judge(uint32_t index, const Reading& reading) {
  bool disk = false;
  const std::set<const Version*> versions = versions_led_to(index, reading.path, disk);
  const std::string what = host_name(index) + ": " + reading.path + " ";
  if (reading.status != content::LookupStatus::found) {
    const bool passing = reading.status == content::LookupStatus::busy ||
                         reading.status == content::LookupStatus::io_error;
    if (!disk && (options_.gentle || !passing)) {
      fail(what + "leads to a generation, but the answer is status " +
           std::to_string(static_cast<int>(reading.status)));
    }
    return nullptr;
  }
  const auto at = versions_.find(reading.info.size_bytes);
  if (at == versions_.end() || at->second.path != reading.path) {
    fail(what + "has a size that no file had: " + std::to_string(reading.info.size_bytes));
    return nullptr;
  }
  const Version* version = &at->second;
  if (version->etag == reading.info.etag) {
    if (!versions.contains(version)) {
      fail(what + "was answered with a generation that it does not lead to, of " +
           std::to_string(version->bytes.size()) + " bytes");
    }
    return &version->bytes;
  }
  if (!disk) fail(what + "leads to a generation, but was answered from the disk");
  if (!watched_[index].on_disk[reading.path].contains(version)) {
    fail(what + "was answered with a file that this node never had");
  }
  if (etags_.emplace(reading.info.etag, version).first->second != version) {
    fail(what + "has the ETag of other bytes");
  }
  return &version->bytes;
}

void ReplicaWorld::judge_end(uint32_t index, const Reading& reading) {
  ++readings_;
  if (reading.complete) ++readings_complete_;
  watched_[index].last = reading;
  watched_[index].finished = true;
  if (!options_.gentle || reading.complete) return;
  const auto version = versions_.find(reading.info.size_bytes);
  // Of what is current: a candidate may turn out to be had from nobody.
  const bool published = version != versions_.end() && version->second.etag == reading.info.etag &&
                         version_of(current(index, reading.path)) == &version->second;
  if (reading.status == content::LookupStatus::found && published) {
    fail(host_name(index) + ": a reading of " + reading.path + " was cut, and nothing is wrong");
  }
}

// When all is quiet
// -----------------------------------------------------------------------------------------------

std::string ReplicaWorld::disagreement() {
  std::map<std::string, GenerationId> truth;
  std::vector<uint32_t> alive;
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->is_alive() && !nodes_[i]->is_stopped() && i != options_.odd_node) {
      alive.push_back(i);
    }
  }
  if (alive.empty()) return {};
  if (options_.node.has_registry) {
    for (const auto& [path, current] : etcd_.currents()) {
      if (!current.generation.is_none()) truth[path] = current.generation;
    }
  } else {
    for (const ReplicaRow& row : nodes_[alive[0]]->node().replicas()) {
      if (row.current) truth[row.path] = row.generation;
    }
  }
  uint64_t all_bytes = 0;
  for (const auto& [size, version] : versions_) all_bytes += size + options_.node.chunk_bytes;
  const bool roomy = options_.node.hold_bytes_max >= all_bytes;

  for (const uint32_t i : alive) {
    const std::string who = host_name(i) + ": ";
    if (nodes_[i]->redirects() != truth) return who + "its paths lead elsewhere than agreed";
    std::map<std::string, GenerationId> said;
    for (const ReplicaRow& row : nodes_[i]->node().replicas()) {
      if (!row.current) continue;
      said[row.path] = row.generation;
      const bool lost = is_lost(row.generation);
      const size_t possible = std::min<size_t>(row.copies_asked, alive.size());
      if (!lost && roomy && row.copies_verified < possible) {
        return who + row.path + " has " + std::to_string(row.copies_verified) + " copies of " +
               std::to_string(possible);
      }
      for (const NodeId id : row.verified) {
        const uint32_t holder = index_of(id);
        const std::string lacks = missing(holder, row.generation);
        if (!lacks.empty()) return who + "counts " + host_name(holder) + ", but " + lacks;
      }
    }
    if (said != truth) return who + "has other current generations than agreed";
    for (const auto& [path, ticket] : watched_[i].tickets) {
      const PublishState state = nodes_[i]->node().status(ticket.number).state;
      if (state < PublishState::published) return who + "a publication of " + path + " is open";
    }
    if (!nodes_[i]->fetches().empty()) return who + "fetches are open";
    if (!mover_.granted(i).empty()) return who + "grants are alive";
    if (!mover_.writing(i).empty()) return who + "writes are under way";
  }
  return {};
}

bool ReplicaWorld::is_lost(GenerationId generation) {
  const Version* version = version_of(generation);
  if (version == nullptr) return true;
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]->is_alive() || i == options_.odd_node) continue;
    // The file helps where this node is to hold it: nobody asks another for its file.
    const std::vector<ReplicaRow> rows = nodes_[i]->node().replicas();
    const bool holds = std::any_of(rows.begin(), rows.end(), [&](const ReplicaRow& row) {
      return row.generation == generation && std::find(row.holders.begin(), row.holders.end(),
                                                       nodes_[i]->id()) != row.holders.end();
    });
    if (holds && nodes_[i]->has_file(version->path, version->seed)) return false;
    if (missing(i, generation).empty()) return false;
  }
  return true;
}

std::string ReplicaWorld::leaks() {
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    SimNode& node = *nodes_[i];
    if (!node.is_alive() || node.is_stopped() || i == options_.odd_node) continue;
    const std::string who = host_name(i) + ": ";
    if (!node.reader().holds_nothing()) return who + "the reader has pins";
    std::set<uint32_t> wanted;
    for (const ReplicaRow& row : node.node().replicas()) {
      const bool holds =
          std::find(row.verified.begin(), row.verified.end(), node.id()) != row.verified.end() ||
          std::find(row.holders.begin(), row.holders.end(), node.id()) != row.holders.end();
      const auto pieces = node.pieces().find(std::string(internal_name(row.generation).view()));
      if (!row.current || !holds || pieces == node.pieces().end()) continue;
      for (const auto& [number, extent] : pieces->second) wanted.insert(extent.chunk.value());
    }
    for (uint32_t chunk = 0; chunk < node.options().chunk_count; ++chunk) {
      if (node.pins().pins(content::ChunkIndex(chunk)) > 0 && !wanted.contains(chunk)) {
        return who + "chunk " + std::to_string(chunk) + " is pinned for nobody";
      }
    }
    if (node.store().chunks(store::ChunkState::filling) != 0) return who + "a fill never ends";
    if (node.store().chunks(store::ChunkState::retiring) != 0) {
      return who + "a chunk is never retired";
    }
  }
  return {};
}

}  // namespace sluice::sim
