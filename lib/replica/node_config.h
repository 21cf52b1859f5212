// What a Node is told at start, and the rows that it shows: shared by its parts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/siphash.h"
#include "base/time.h"
#include "replica/digests.h"
#include "replica/ids.h"
#include "replica/mover.h"

namespace sluice::replica {

struct NodeConfig {
  NodeId self;
  NodeEpoch epoch = 0;
  std::string name;
  std::string address;             // HOST:PORT where peers find our movers
  std::vector<std::string> peers;  // static list; empty: the registry tells
  std::vector<std::byte> cluster_key;
  SipKey nonce_key;  // random
  Digests digests;

  uint32_t chunk_count = 0;
  uint32_t chunk_bytes = 0;       // the piece size
  uint64_t hold_bytes_max = 0;    // of the arena, for held generations
  uint32_t fetches_max = 256;     // the Store's reads_in_flight
  uint32_t fetch_window = 16;     // pieces that the Keeper has under way, over all generations
  uint64_t rate_bytes_per_s = 0;  // written to peers; 0: no limit
  uint32_t share_percent = 50;    // of all that leaves while clients are served
  uint64_t scrub_bytes_per_s = 64u << 20;
  // From the start of one pass over all that is held to the next: a node that holds little would
  // otherwise sum the same few pieces all the time.
  Duration scrub_pass_min = 10_s;
  Duration ping_every = 1_s;
  Duration peer_patience = 5_s;    // nothing heard: the link is closed
  Duration fetch_patience = 10_s;  // no piece of it: the next source
  bool prefer_rdma = true;
  Duration rdma_patience = 3_s;  // a peer is up over TCP: its pieces wait so long for RDMA
  bool has_registry = false;     // etcd; otherwise the StaticRegistry inside
};

/// One row of `sluicectl peers`.
struct PeerRow {
  NodeId node;
  NodeEpoch epoch = 0;
  std::string name;
  std::string address;
  bool alive = false;
  bool rdma_up = false;
  bool tcp_up = false;
  std::string why_no_rdma;  // empty: data goes over RDMA
  uint64_t bytes_to = 0;
  uint64_t bytes_from = 0;
  uint32_t srtt_us = 0;  // of pings
  std::string last_end;  // why the last link ended
};

/// One row of `sluicectl transfers`: a generation on its way to this node, or from it.
struct TransferRow {
  GenerationId generation;
  std::string path;
  NodeId peer;
  Transport transport = Transport::tcp;
  bool incoming = false;
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
  uint64_t bytes_per_s = 0;
  uint32_t lag_ms = 0;  // from a piece's arrival upstream to its arrival here
};

}  // namespace sluice::replica
