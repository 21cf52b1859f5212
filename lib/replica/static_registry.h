// StaticRegistry: a registry without etcd, for a short fixed list of peers. Each node tells the
// others what it puts, and passes on what is new to it; a node that comes up is told everything.
// What one node alone says of a path is taken: of two generations the one with the higher
// GenerationId wins, on every node alike, so after a partition both sides end with the same. There
// is no quorum: docs/replication.md says what that means.
//
// Pure; inside Node, which carries the records over its sessions.
#pragma once

#include <memory>

#include "base/time.h"
#include "replica/registry.h"

namespace sluice::replica {

class StaticRegistry {
 public:
  StaticRegistry(NodeId self, NodeEpoch epoch);
  ~StaticRegistry();

  // The Directory's side
  void handle_request(Instant now, const RegistryRequest& request);
  [[nodiscard]] bool poll_event(RegistryEvent& out);

  // The sessions' side
  void handle_peer_up(Instant now, const NodeSeen& peer);
  void handle_peer_down(Instant now, NodeId peer, NodeEpoch epoch);
  void handle_record(Instant now, NodeId from, const Record& record);
  /// A record to be sent to an authenticated peer.
  [[nodiscard]] bool poll_record(NodeId& to, Record& out);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::replica
