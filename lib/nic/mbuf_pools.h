// The mempools and rings of one port, made at start, freed with the object.
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "nic/pin_home.h"

namespace sluice::nic {

struct MempoolDeleter {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using MempoolHandle = std::unique_ptr<rte_mempool, MempoolDeleter>;

struct RingDeleter {
  void operator()(rte_ring* ring) const { rte_ring_free(ring); }
};
using RingHandle = std::unique_ptr<rte_ring, RingDeleter>;

struct PoolShape {
  std::string name;  // unique in the process
  uint32_t mbufs = 0;
  uint32_t data_bytes = 0;  // head room included
  int numa_node = -1;
};

/// Mbufs with a data room of their own: received frames, headers, copied frames.
[[nodiscard]] Result<MempoolHandle> make_data_pool(const PoolShape& shape);

/// As make_data_pool(), for the AF_XDP driver, which registers `mbufs` times the size of an object
/// from the first one on as the umem, whatever gaps the pool has between objects: frames behind
/// that are lost one by one (tx_invalid_descs), and with them their mbufs. So every object takes
/// exactly one page, and none is padded to spread over memory channels. Errors: a data room that
/// does not fit into a page.
[[nodiscard]] Result<MempoolHandle> make_umem_pool(const PoolShape& shape);

/// Mbufs without data room, to be attached to the arena; each carries its own shared info. Their
/// tags' home is set when they are attached.
[[nodiscard]] Result<MempoolHandle> make_payload_pool(const PoolShape& shape);

struct RingShape {
  std::string name;
  uint32_t capacity = 0;  // exact
  int numa_node = -1;
};

/// Many producers, one consumer.
[[nodiscard]] Result<RingHandle> make_ring(const RingShape& shape);

}  // namespace sluice::nic
