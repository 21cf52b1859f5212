// The part of `sluiced check` that is about RDMA: would replication use it, and is all as it should
// be? What goes wrong for people, most frequent first: GID and RoCE version, a network that loses
// frames or has another MTU at the other end, limits of registration and of locked memory, the
// wrong device.
//
//   rdma::read_facts   what sysfs and the devices say
//   probe_path         whether whole frames reach a peer and come back
//   judge_*            pure: facts in, findings out
//
// Where there is no RDMA at all, one finding says so, and that TCP does the work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "rdma/facts.h"

namespace sluice::app {

/// What `serve` would want of RDMA.
struct RdmaQuestion {
  bool required = false;           // --rdma required: what is missing blocks
  std::string listen;              // HOST:PORT
  std::string device;              // forced; empty: as the route says
  std::vector<std::string> peers;  // HOST:PORT
  uint64_t arena_bytes = 0;
  int arena_node = -1;
  uint64_t locked_memory_max_bytes = 0;
  bool may_lock_any = false;  // CAP_IPC_LOCK
};

/// An echo of the interface's whole MTU, not to be fragmented.
struct PathAnswer {
  enum class Outcome : uint8_t { whole, small_only, silent, not_tried };
  std::string peer;
  uint32_t bytes = 0;  // of the IP packet
  Outcome outcome = Outcome::not_tried;
};

/// Sends ICMP echoes to the host of HOST:PORT: one as large as `mtu`, and a small one where that is
/// not answered. Takes up to 2 s. Needs root, or net.ipv4.ping_group_range.
[[nodiscard]] PathAnswer probe_path(const std::string& peer, uint32_t mtu);

/// Whether this process may lock memory beyond its limit (CAP_IPC_LOCK in effect).
[[nodiscard]] bool may_lock_any();

[[nodiscard]] std::vector<Finding> judge_rdma(const RdmaQuestion& question,
                                              const rdma::Facts& facts);
[[nodiscard]] std::vector<Finding> judge_paths(const std::vector<PathAnswer>& answers);
/// `before` and `after`: the same device's counters, some time apart.
[[nodiscard]] std::vector<Finding> judge_counters(const std::string& device,
                                                  const std::map<std::string, uint64_t>& before,
                                                  const std::map<std::string, uint64_t>& after);

/// All of it: asks the machine, takes about a second, and up to two more a peer.
[[nodiscard]] std::vector<Finding> check_rdma(const RdmaQuestion& question);

}  // namespace sluice::app
