#include "replica/node.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "replica/data_plane.h"
#include "replica/static_registry.h"

namespace sluice::replica {
namespace {

using stats::Counter;

// Rounds in which the parts may lead each other to more within one call: each ends by itself, as
// each message is answered once; this is for a fault that made two of them answer each other for
// ever.
constexpr uint32_t rounds_max = 10'000;

DirectoryConfig directory_config(const NodeConfig& config) {
  DirectoryConfig out;
  out.self = config.self;
  out.epoch = config.epoch;
  out.piece_bytes = config.chunk_bytes;
  out.hold_bytes_max = config.hold_bytes_max;
  out.digests = config.digests;
  return out;
}

}  // namespace

struct Node::Parts {
  Parts(const NodeConfig& given, const content::ArenaView& arena, content::ChunkPins& pins,
        stats::Counters& own_counters)
      : config(given),
        counters(own_counters),
        plane(config, arena, pins, own_counters),
        directory(directory_config(config)),
        registry(config.self, config.epoch) {}

  // What one part says to another, until nobody has anything to say.
  void pass_on(Instant now) {
    for (uint32_t round = 0; round < rounds_max; ++round) {
      bool any = pass_session_events(now);
      any |= pass_keeper_events(now);
      any |= pass_tasks(now);
      if (!config.has_registry) any |= pass_registry(now);
      if (!any) break;
    }
    counters.set(Counter::replica_degraded, directory.degraded());
  }

  bool pass_session_events(Instant now) {
    bool any = false;
    for (SessionEvent event; plane.poll_session_event(event); any = true) {
      if (config.has_registry) continue;  // the registry tells who is there, and all records
      if (const auto* up = std::get_if<PeerUp>(&event)) {
        registry.handle_peer_up(now, up->peer);
      } else if (const auto* down = std::get_if<PeerDown>(&event)) {
        registry.handle_peer_down(now, down->node, down->epoch);
      } else if (const auto* record = std::get_if<RecordArrived>(&event)) {
        registry.handle_record(now, record->from, record->record);
      }
    }
    return any;
  }

  bool pass_keeper_events(Instant now) {
    bool any = false;
    for (Keeper::Event event; plane.poll_keeper_event(event); any = true) {
      if (const auto* held = std::get_if<Keeper::Held>(&event)) {
        directory.handle_held(now, held->generation, held->result);
      } else if (const auto* progress = std::get_if<Keeper::Progress>(&event)) {
        directory.handle_progress(now, progress->generation);
      } else if (const auto* lost = std::get_if<Keeper::Lost>(&event)) {
        directory.handle_lost(now, lost->generation);
      } else if (auto* ingested = std::get_if<Keeper::Ingested>(&event)) {
        directory.handle_ingested(now, ingested->ticket, std::move(ingested->manifest));
      } else if (const auto* failed = std::get_if<Keeper::IngestFailed>(&event)) {
        directory.handle_ingest_failed(now, failed->ticket, failed->why);
      }
    }
    for (GenerationId generation; plane.poll_progress(generation);) {
      directory.handle_progress(now, generation);
    }
    return any;
  }

  bool pass_tasks(Instant now) {
    bool any = false;
    for (Task task; directory.poll_task(task); any = true) {
      const Manifest* manifest = nullptr;
      if (const auto* redirect = std::get_if<RedirectTask>(&task)) {
        manifest = directory.manifest(redirect->generation);
      } else if (const auto* sources = std::get_if<SourcesTask>(&task)) {
        manifest = directory.manifest(sources->generation);
      }
      plane.handle_task(now, task, manifest);
    }
    return any;
  }

  bool pass_registry(Instant now) {
    bool any = false;
    for (RegistryRequest request; directory.poll_request(request); any = true) {
      registry.handle_request(now, request);
    }
    for (RegistryEvent event; registry.poll_event(event); any = true) {
      directory.handle(now, event);
    }
    NodeId to;
    Record record;
    while (plane.sessions().has_record_room() && registry.poll_record(to, record)) {
      plane.sessions().send_record(to, record);
      any = true;
    }
    return any;
  }

  const NodeConfig config;
  stats::Counters& counters;
  DataPlane plane;
  Directory directory;
  StaticRegistry registry;  // without has_registry
};

Node::Node(const NodeConfig& config, const content::ArenaView& arena, content::ChunkPins& pins,
           stats::Counters& counters)
    : parts_(std::make_unique<Parts>(config, arena, pins, counters)) {
  parts_->pass_on(Instant());
}

Node::~Node() = default;

// Input ------------------------------------------------------------------------------------------

void Node::handle(Instant now, const LinkEvent& event) {
  parts_->plane.handle(now, event);
  parts_->pass_on(now);
}

void Node::handle(Instant now, const content::ToWorker& message) {
  parts_->plane.handle(now, message);
  parts_->pass_on(now);
}

void Node::handle(Instant now, const FromOverlay& message) {
  parts_->plane.handle(now, message);
  if (std::holds_alternative<Readers>(message)) parts_->pass_on(now);
}

void Node::handle(Instant now, const RegistryEvent& event) {
  ASSERT(parts_->config.has_registry);
  if (const auto* seen = std::get_if<NodeSeen>(&event)) {
    parts_->plane.sessions().handle(now, *seen);
  } else if (const auto* gone = std::get_if<NodeGone>(&event)) {
    parts_->plane.sessions().handle(now, *gone);
  }
  parts_->directory.handle(now, event);
  parts_->pass_on(now);
}

void Node::handle_load(Instant now, uint64_t client_tx_bytes) {
  parts_->plane.handle_load(now, client_tx_bytes);
}

void Node::handle_timeout(Instant now) {
  parts_->plane.handle_timeout(now);
  if (parts_->directory.next_timeout() <= now) parts_->directory.handle_timeout(now);
  parts_->pass_on(now);
}

// Commands ---------------------------------------------------------------------------------------

uint32_t Node::publish(Instant now, int64_t wall_ns, std::string_view path, uint8_t copies) {
  const uint32_t ticket = parts_->directory.publish(now, wall_ns, path, copies);
  parts_->pass_on(now);
  return ticket;
}

uint32_t Node::unpublish(Instant now, std::string_view path) {
  const uint32_t ticket = parts_->directory.unpublish(now, path);
  parts_->pass_on(now);
  return ticket;
}

// Output -----------------------------------------------------------------------------------------

bool Node::poll_post(Instant now, Post& out) {
  return parts_->plane.poll_post(now, out);
}

bool Node::poll_message(content::ToStore& out) {
  return parts_->plane.poll_message(out);
}

bool Node::poll_overlay(ToOverlay& out) {
  return parts_->plane.poll_overlay(out);
}

bool Node::poll_registry(RegistryRequest& out) {
  return parts_->config.has_registry && parts_->directory.poll_request(out);
}

Instant Node::next_timeout() const {
  return std::min(parts_->plane.next_timeout(), parts_->directory.next_timeout());
}

// State ------------------------------------------------------------------------------------------

PublishStatus Node::status(uint32_t ticket) const {
  return parts_->directory.status(ticket);
}

std::vector<PeerRow> Node::peers() const {
  return parts_->plane.sessions().peers();
}

std::vector<ReplicaRow> Node::replicas() const {
  return parts_->directory.replicas();
}

std::vector<TransferRow> Node::transfers() const {
  return parts_->plane.transfers();
}

}  // namespace sluice::replica
