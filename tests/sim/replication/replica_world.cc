#include "replica_world.h"

#include <algorithm>

#include "content_source.h"
#include "plain_digests.h"

namespace sluice::sim {

using namespace replica;

namespace {

constexpr uint32_t steps_at_once_max = 200'000;

MoverOptions mover_options(const ReplicaWorldOptions& options) {
  MoverOptions mover = options.mover;
  mover.seed = options.seed + 1;
  return mover;
}

EtcdOptions etcd_options(const ReplicaWorldOptions& options) {
  EtcdOptions etcd = options.etcd;
  etcd.seed = options.seed + 2;
  return etcd;
}

}  // namespace

ReplicaWorld::ReplicaWorld(const ReplicaWorldOptions& options)
    : options_(options),
      prng_(options.seed),
      mover_(mover_options(options)),
      etcd_(etcd_options(options)),
      watched_(options.nodes) {
  for (uint32_t i = 0; i < options.nodes; ++i) {
    SimNodeOptions node = options.node;
    node.index = i;
    node.seed = prng_.next();
    node.paths = options.paths;
    if (!node.has_registry) {
      for (uint32_t other = 0; other < options.nodes; ++other) {
        if (other != i) node.peers.push_back(host_address(other));
      }
    }
    if (i == options.odd_node) node.key = "another key";
    nodes_.push_back(std::make_unique<SimNode>(node, mover_, etcd_));
    mover_.set_rate(i, options.bytes_per_s);
    join(i);
  }
  mover_.set_on_landing([this](FakeMover::HostIndex host, const content::Extent& extent) {
    if (nodes_[host]->is_being_fetched(extent)) return;
    fail(host_name(host) + ": a peer writes where nothing is being fetched");
  });
  etcd_.set_on_commit([this](const Commit& commit) { check_commit(commit); });
  for (uint32_t i = 0; i < options.nodes; ++i) {
    nodes_[i]->start(now_ns_);
    join(i);
  }
}

// A process that starts has a new reader.
void ReplicaWorld::join(uint32_t index) {
  SimNode& node = *nodes_[index];
  node.on_wrong = [this](const std::string& what) { fail(what); };
  node.on_describe = [this](const Describe& describe) { handle_describe(describe); };
  node.on_redirect = [this, index](const Redirect& redirect) { handle_redirect(index, redirect); };
  node.on_fetched = [this, index](const SimNode::OpenFetch& open) { check_fetched(index, open); };
  if (!node.is_alive()) return;
  watched_[index].led.clear();
  watched_[index].tickets.clear();
  seen_current_[index].clear();
  node.reader().on_answer = [this, index](const Reading& reading) { return judge(index, reading); };
  node.reader().on_end = [this, index](const Reading& reading) { judge_end(index, reading); };
}

void ReplicaWorld::set_log(std::function<void(const std::string&)> log) {
  log_ = std::move(log);
  for (const auto& node : nodes_) node->log = log_;
}

void ReplicaWorld::set_readers_idle(bool idle) {
  for (const auto& node : nodes_) {
    if (node->is_alive()) node->reader().set_idle(idle || !options_.node.has_reader);
  }
}

// What tests do
// -----------------------------------------------------------------------------------------------

const ReplicaWorld::Version& ReplicaWorld::put(uint32_t node, const std::string& path,
                                               uint64_t size) {
  while (versions_.contains(size)) ++size;
  Version& version = versions_[size];
  version.path = path;
  version.seed = prng_.next();
  version.bytes = pattern(version.seed, 0, size);
  version.etag = etag_of(version);
  put_same(node, version);
  return version;
}

void ReplicaWorld::put_same(uint32_t node, const Version& version) {
  watched_[node].on_disk[version.path].insert(&version);
  nodes_[node]->put_file(now_ns_, version.path, version.bytes.size(), version.seed);
}

uint64_t ReplicaWorld::etag_of(const Version& version) const {
  Manifest manifest;
  manifest.size_bytes = version.bytes.size();
  manifest.piece_bytes = options_.node.chunk_bytes;
  for (size_t at = 0; at < version.bytes.size(); at += manifest.piece_bytes) {
    const std::string_view piece = std::string_view(version.bytes).substr(at, manifest.piece_bytes);
    manifest.piece_crcs.push_back(plain_digests().crc32c(as_byte_span(piece)));
  }
  manifest.digest = digest_of(manifest, plain_digests());
  return manifest.etag();
}

void ReplicaWorld::publish(uint32_t node, const std::string& path, uint8_t copies) {
  const uint32_t number = nodes_[node]->publish(now_ns_, path, copies);
  watched_[node].tickets[path] = {number, now_ns_, nodes_[node]->epoch()};
}

void ReplicaWorld::unpublish(uint32_t node, const std::string& path) {
  const uint32_t number = nodes_[node]->unpublish(now_ns_, path);
  watched_[node].tickets[path] = {number, now_ns_, nodes_[node]->epoch()};
}

void ReplicaWorld::kill(uint32_t node, bool silently) {
  note_fault();
  watched_[node].killed_ns = now_ns_;
  nodes_[node]->kill(now_ns_, silently);
}

void ReplicaWorld::start(uint32_t node) {
  nodes_[node]->start(now_ns_);
  join(node);
}

void ReplicaWorld::set_stopped(uint32_t node, bool stopped) {
  note_fault();
  (stopped ? watched_[node].stopped_ns : watched_[node].continued_ns) = now_ns_;
  nodes_[node]->set_stopped(now_ns_, stopped);
}

void ReplicaWorld::rot(uint32_t node) {
  note_fault();
  if (nodes_[node]->rot(prng_)) {
    watched_[node].rotted_ns = now_ns_;
    note("a byte rots at " + host_name(node));
  }
}

PublishStatus ReplicaWorld::last_publication(uint32_t node, const std::string& path) {
  const auto at = watched_[node].tickets.find(path);
  if (at == watched_[node].tickets.end()) return {.state = PublishState::failed};
  return nodes_[node]->node().status(at->second.number);
}

Reading ReplicaWorld::read(uint32_t index, const std::string& path) {
  Reader& reader = nodes_[index]->reader();
  reader.set_idle(true);
  static_cast<void>(run_until([&] { return !reader.is_reading(); }, 120'000'000'000));
  watched_[index].finished = false;
  reader.read_now(path);
  static_cast<void>(run_until([&] { return watched_[index].finished; }, 120'000'000'000));
  if (!watched_[index].finished) fail("a reading does not end");
  return watched_[index].last;
}

// Time
// -----------------------------------------------------------------------------------------------

void ReplicaWorld::step(int64_t end_ns) {
  int64_t next = std::min({end_ns, mover_.next_ns(), check_due_ns_});
  if (options_.node.has_registry) next = std::min(next, etcd_.next_ns());
  for (const auto& node : nodes_) next = std::min(next, node->next_ns());
  steps_at_once_ = next > now_ns_ ? 0 : steps_at_once_ + 1;
  if (steps_at_once_ > steps_at_once_max) return fail("time stands still");
  now_ns_ = std::max(now_ns_, next);
  mover_.advance(now_ns_);
  if (options_.node.has_registry) etcd_.advance(now_ns_);
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->next_ns() <= now_ns_ || etcd_.has_events(now_ns_, i)) {
      nodes_[i]->turn(now_ns_);
    }
  }
  check();
}

uint64_t ReplicaWorld::trace() const {
  uint64_t trace = static_cast<uint64_t>(now_ns_) ^ (readings_ << 32) ^ commits_;
  for (const auto& node : nodes_) trace = trace * 0x100000001b3 ^ node->trace();
  return trace;
}

// State
// -----------------------------------------------------------------------------------------------

uint32_t ReplicaWorld::index_of(NodeId id) const {
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->id() == id) return i;
  }
  return UINT32_MAX;
}

const ReplicaWorld::Version* ReplicaWorld::version_of(GenerationId generation) const {
  const auto at = generations_.find(generation);
  return at == generations_.end() ? nullptr : at->second;
}

GenerationId ReplicaWorld::current(uint32_t node, const std::string& path) {
  for (const ReplicaRow& row : nodes_[node]->node().replicas()) {
    if (row.current && row.path == path) return row.generation;
  }
  return {};
}

std::string ReplicaWorld::missing(uint32_t index, GenerationId generation) {
  SimNode& node = *nodes_[index];
  if (!node.is_alive()) return "it is not there";
  const Version* version = version_of(generation);
  if (version == nullptr) return "nobody described it";
  const uint32_t chunk_bytes = options_.node.chunk_bytes;
  const auto pieces =
      static_cast<uint32_t>((version->bytes.size() + chunk_bytes - 1) / chunk_bytes);
  const auto held = node.pieces().find(std::string(internal_name(generation).view()));
  for (uint32_t number = 0; number < pieces; ++number) {
    const std::string what = "piece " + std::to_string(number) + " of " + std::to_string(pieces);
    if (held == node.pieces().end()) return what + " is not there";
    const auto piece = held->second.find(number);
    if (piece == held->second.end()) return what + " is not there";
    const content::Extent& extent = piece->second;
    if (node.pins().pins(extent.chunk) == 0) return what + " is not pinned";
    const MutableBytes bytes = node.arena().bytes(extent);
    const std::string_view expected =
        std::string_view(version->bytes).substr(size_t{number} * chunk_bytes, chunk_bytes);
    if (as_text(bytes) != expected) return what + " has wrong bytes";
  }
  return {};
}

std::string ReplicaWorld::describe() {
  std::string text = "  at " + std::to_string(now_ns_) + " ns, " + std::to_string(nodes()) +
                     (options_.node.has_registry ? " nodes with etcd" : " nodes") + "\n";
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    SimNode& node = *nodes_[i];
    text += "  " + host_name(i) + (node.is_alive() ? "" : " dead") +
            (node.is_stopped() ? " stopped" : "");
    if (!node.is_alive()) {
      text += "\n";
      continue;
    }
    text += ": " + std::to_string(node.fetches().size()) + " fetches open, " +
            std::to_string(node.pins().total()) + " pins, " +
            std::to_string(mover_.granted(i).size()) + " grants\n";
    for (const PeerRow& peer : node.node().peers()) {
      text += "    peer " + peer.name + (peer.alive ? " alive" : "") +
              (peer.rdma_up ? " rdma" : "") + (peer.tcp_up ? " tcp" : "") + " " + peer.last_end +
              "\n";
    }
    for (const ReplicaRow& row : node.node().replicas()) {
      text += "    " + row.path + " generation " + std::to_string(row.generation.number) + ", " +
              std::to_string(row.size_bytes) + " bytes, " + std::to_string(row.copies_verified) +
              "/" + std::to_string(row.copies_asked) + (row.current ? " current" : "") +
              (row.degraded ? " degraded" : "") + ", holders";
      for (const NodeId id : row.holders) text += " " + std::to_string(index_of(id));
      text += ", verified";
      for (const NodeId id : row.verified) text += " " + std::to_string(index_of(id));
      const std::string lacks = missing(i, row.generation);
      text += lacks.empty() ? "; it has all\n" : "; here " + lacks + "\n";
    }
    for (const auto& [path, ticket] : watched_[i].tickets) {
      const PublishStatus status = node.node().status(ticket.number);
      text += "    publication of " + path + ": state " +
              std::to_string(static_cast<int>(status.state)) + " " + status.detail + "\n";
    }
  }
  return text;
}

}  // namespace sluice::sim
