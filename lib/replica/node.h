// Node: one sluiced's whole part in a cluster. Puts together, and is the only user of:
//
//   Session    one peer: its links, authentication, credits, liveness, records in parts
//   Fetcher    pieces that this node wants: from a peer (grant, Want, Landed, verify), else from
//              its own disk; fences before it gives an extent back
//   Supplier   pieces that peers want: found through the Catalog, pinned while they are written
//   Keeper     generations this node holds: asks the Store for every piece, pins, counts, scrubs
//   Throttle   rate and share of what is written to peers
//   Directory  who, what, where, which
//
// Pure: link events, messages and time in; posts, messages and the next timeout out. One thread,
// the replica's. The data path (Fetcher, Supplier, Keeper, Session) allocates nothing after start;
// the Directory does, within limits. docs/replication.md has the protocol and the states.
//
// Invariants
//  - A piece is told to the Store as fetched only when its CRC-32C is the manifest's.
//  - An extent goes back to the Store only when no peer can write there: its grant was revoked, or
//  its
//    link is down.
//  - A chunk that is being written to a peer is pinned until WriteDone or LinkDown.
//  - Nothing but Hello and Proof is taken from a link whose peer has not proved that it has the
//  key.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "content/arena_view.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "replica/directory.h"
#include "replica/mover.h"
#include "replica/node_config.h"
#include "replica/overlay_messages.h"
#include "replica/registry.h"
#include "stats/counters.h"

namespace sluice::replica {

class Node {
 public:
  /// `pins`: this node's own, known to the Store as those of its worker `workers - 1`, which holds.
  Node(const NodeConfig& config, const content::ArenaView& arena, content::ChunkPins& pins,
       stats::Counters& counters);
  ~Node();

  // Input
  void handle(Instant now, const LinkEvent& event);
  void handle(Instant now, const content::ToWorker& message);
  void handle(Instant now, const FromOverlay& message);
  void handle(Instant now, const RegistryEvent& event);
  /// Bytes sent to clients so far, over all workers. Every 10 ms or so.
  void handle_load(Instant now, uint64_t client_tx_bytes);
  void handle_timeout(Instant now);

  // Commands
  [[nodiscard]] uint32_t publish(Instant now, int64_t wall_ns, std::string_view path,
                                 uint8_t copies);
  [[nodiscard]] uint32_t unpublish(Instant now, std::string_view path);

  // Output
  /// A mover that cannot take more now is simply not polled for.
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  [[nodiscard]] bool poll_message(content::ToStore& out);
  [[nodiscard]] bool poll_overlay(ToOverlay& out);
  [[nodiscard]] bool poll_registry(RegistryRequest& out);
  [[nodiscard]] Instant next_timeout() const;

  // State
  [[nodiscard]] PublishStatus status(uint32_t ticket) const;
  [[nodiscard]] std::vector<PeerRow> peers() const;
  [[nodiscard]] std::vector<ReplicaRow> replicas() const;
  [[nodiscard]] std::vector<TransferRow> transfers() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::replica
