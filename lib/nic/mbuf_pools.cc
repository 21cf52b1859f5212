#include "nic/mbuf_pools.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sluice::nic {
namespace {

// nic/limits.h and nic/pools.cc know these without DPDK's headers.
static_assert(RTE_PKTMBUF_HEADROOM == 128);
static_assert(sizeof(rte_mbuf) == 128);
static_assert(pool_cache_mbufs <= RTE_MEMPOOL_CACHE_MAX_SIZE);
static_assert(payload_tag_bytes % RTE_MBUF_PRIV_ALIGN == 0);

int socket_of(int numa_node) {
  return numa_node < 0 ? SOCKET_ID_ANY : numa_node;
}

unsigned cache_of(uint32_t mbufs) {
  // DPDK refuses caches beyond two thirds of the pool.
  return std::min(pool_cache_mbufs, mbufs / 2);
}

Error no_pool(const PoolShape& shape) {
  return Error{"no memory for " + std::to_string(shape.mbufs) + " mbufs of " +
               std::to_string(shape.data_bytes) + " bytes (" + rte_strerror(rte_errno) +
               "): more hugepages, or fewer descriptors or workers"};
}

extern "C" void payload_freed(void* /*address*/, void* opaque) {
  const auto* tag = static_cast<const PayloadTag*>(opaque);
  tag->home->give_back(tag->chunk);
}

extern "C" void prepare_payload_mbuf(rte_mempool* /*pool*/, void* /*argument*/, void* object,
                                     unsigned /*index*/) {
  PayloadTag& tag = payload_tag(*static_cast<rte_mbuf*>(object));
  tag.shared.free_cb = payload_freed;
  tag.shared.fcb_opaque = &tag;
  rte_mbuf_ext_refcnt_set(&tag.shared, 0);
  tag.home = nullptr;
  tag.chunk = content::ChunkIndex::none();
}

// The pool's memory may begin in the middle of a page, and its objects then end one page later than
// the driver thinks: what lies there stays out of circulation.
void withhold_beyond_umem(rte_mempool& pool) {
  const rte_mempool_memhdr* memory = STAILQ_FIRST(&pool.mem_list);
  const auto* end =
      static_cast<const std::byte*>(memory->addr) + size_t{pool.populated_size} * umem_object_bytes;
  std::vector<void*> good;
  void* object = nullptr;
  while (rte_mempool_get(&pool, &object) == 0) {
    const auto* after =
        static_cast<const std::byte*>(object) - pool.header_size + umem_object_bytes;
    if (after <= end) good.push_back(object);
  }
  for (void* kept : good) rte_mempool_put(&pool, kept);
}

}  // namespace

Result<MempoolHandle> make_data_pool(const PoolShape& shape) {
  MempoolHandle pool(rte_pktmbuf_pool_create(shape.name.c_str(), shape.mbufs, cache_of(shape.mbufs),
                                             0, static_cast<uint16_t>(shape.data_bytes),
                                             socket_of(shape.numa_node)));
  if (!pool) return fail(no_pool(shape));
  return pool;
}

Result<MempoolHandle> make_umem_pool(const PoolShape& shape) {
  constexpr unsigned flags = RTE_MEMPOOL_F_NO_SPREAD;
  uint32_t element = umem_object_bytes;
  while (rte_mempool_calc_obj_size(element, flags, nullptr) > umem_object_bytes) {
    element -= RTE_MEMPOOL_ALIGN;
  }
  const auto data_bytes = element - static_cast<uint32_t>(sizeof(rte_mbuf));
  if (shape.data_bytes > data_bytes) {
    return fail("frames of " + std::to_string(shape.data_bytes - RTE_PKTMBUF_HEADROOM) +
                " bytes do not fit into a page of the umem: set an MTU of at most " +
                std::to_string(umem_mtu_max));
  }
  MempoolHandle pool(rte_mempool_create_empty(
      shape.name.c_str(), shape.mbufs, element, cache_of(shape.mbufs),
      sizeof(rte_pktmbuf_pool_private), socket_of(shape.numa_node), flags));
  if (!pool) return fail(no_pool(shape));
  rte_pktmbuf_pool_private layout{};
  layout.mbuf_data_room_size = static_cast<uint16_t>(data_bytes);
  if (const int code = rte_mempool_set_ops_byname(pool.get(), rte_mbuf_best_mempool_ops(), nullptr);
      code != 0) {
    rte_errno = -code;
    return fail(no_pool(shape));
  }
  rte_pktmbuf_pool_init(pool.get(), &layout);
  if (const int populated = rte_mempool_populate_default(pool.get()); populated < 0) {
    rte_errno = -populated;
    return fail(no_pool(shape));
  }
  rte_mempool_obj_iter(pool.get(), rte_pktmbuf_init, nullptr);
  withhold_beyond_umem(*pool);
  return pool;
}

Result<MempoolHandle> make_payload_pool(const PoolShape& shape) {
  MempoolHandle pool(rte_pktmbuf_pool_create(shape.name.c_str(), shape.mbufs, cache_of(shape.mbufs),
                                             payload_tag_bytes, 0, socket_of(shape.numa_node)));
  if (!pool) return fail(no_pool(shape));
  rte_mempool_obj_iter(pool.get(), prepare_payload_mbuf, nullptr);
  return pool;
}

Result<RingHandle> make_ring(const RingShape& shape) {
  RingHandle ring(rte_ring_create(shape.name.c_str(), shape.capacity, socket_of(shape.numa_node),
                                  RING_F_SC_DEQ | RING_F_EXACT_SZ));
  if (!ring) {
    return fail("no memory for a ring of " + std::to_string(shape.capacity) + " entries (" +
                rte_strerror(rte_errno) + ")");
  }
  return ring;
}

}  // namespace sluice::nic
