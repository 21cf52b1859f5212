#include "nic/pools.h"

#include <algorithm>

#include "nic/limits.h"

namespace sluice::nic {
namespace {

// sizeof(rte_mbuf), and what a mempool puts before and after each object (a header and, at worst,
// padding to spread objects over memory channels). Checked against DPDK in mbuf_pools.cc.
constexpr uint64_t mbuf_bytes = 128;
constexpr uint64_t object_overhead_bytes = 192;
// Room in front of received data: RTE_PKTMBUF_HEADROOM.
constexpr uint32_t head_room_bytes = 128;
// Ethernet, two VLAN tags, FCS.
constexpr uint32_t frame_overhead_bytes = 14 + 8 + 4;
// What DPDK and a driver take beside the pools: descriptor rings, the ethdev table, heap slack.
constexpr uint64_t driver_bytes = 16u << 20;
constexpr uint64_t eal_bytes = 32u << 20;
// The AF_XDP driver fills a ring of this size before anything arrives, whatever was asked
// (XSK_RING_PROD__DEFAULT_NUM_DESCS in rte_eth_af_xdp.c).
constexpr uint32_t umem_fill_mbufs = 2048;

uint32_t round_up(uint32_t value, uint32_t to) {
  return (value + to - 1) / to * to;
}

}  // namespace

PoolPlan plan_pools(const PoolNeeds& needs) {
  PoolPlan plan;
  // A frame lies whole in one mbuf: no driver then chains what it receives. 2048 is what drivers
  // expect at least (RTE_MBUF_DEFAULT_DATAROOM).
  const uint32_t frame =
      std::max({2048u, needs.frame_bytes_min, round_up(needs.mtu + frame_overhead_bytes, 64)});
  plan.rx_data_bytes = head_room_bytes + frame;

  const uint32_t rings = needs.workers > 1 ? handover_ring_frames : 0;
  // Each lcore that frees mbufs of a pool keeps some of them at hand (half as many again before it
  // gives back), and frames that were handed over are freed where they went.
  const uint32_t caches = pool_cache_mbufs * 3 / 2 * (needs.workers + 1);
  const uint32_t in_hand = 2 * burst_max;
  plan.rx_mbufs = uint32_t{needs.rx_descriptors} * needs.rx_rings + rings + caches + in_hand;
  if (needs.sends_from_rx_pool) {
    // nic/mbuf_pools.h, make_umem_pool(): a page each.
    plan.object_bytes_min = umem_object_bytes;
    plan.rx_mbufs += umem_fill_mbufs + needs.tx_descriptors + rings + caches + in_hand;
  } else {
    plan.header_mbufs = needs.tx_descriptors + rings + caches + in_hand;
    // Each extra mbuf of a frame takes a descriptor too, so that twice the headers is only ever
    // needed where the driver queues without descriptors.
    if (needs.chained_mbufs) plan.payload_mbufs = 2 * plan.header_mbufs;
  }

  const uint64_t header_data = needs.chained_mbufs ? header_data_bytes : plan.rx_data_bytes;
  const uint64_t per_pair =
      uint64_t{plan.rx_mbufs} *
      std::max<uint64_t>(plan.object_bytes_min,
                         mbuf_bytes + object_overhead_bytes + plan.rx_data_bytes);
  const uint64_t per_worker =
      uint64_t{plan.header_mbufs} * (mbuf_bytes + object_overhead_bytes + header_data) +
      uint64_t{plan.payload_mbufs} * (mbuf_bytes + object_overhead_bytes + payload_tag_bytes) +
      uint64_t{2 * rings + 2 * plan.payload_mbufs} * sizeof(void*);
  plan.total_bytes = per_pair * needs.queue_pairs + per_worker * needs.workers;
  return plan;
}

uint64_t packet_memory_bytes(const PoolNeeds& needs, uint32_t ports) {
  constexpr uint64_t granule = 2u << 20;
  const uint64_t pools = plan_pools(needs).total_bytes;
  // An eighth more: each pool is rounded up to pages, and its objects must not cross some of them.
  const uint64_t total = eal_bytes + ports * (driver_bytes + pools + pools / 8);
  return (total + granule - 1) / granule * granule;
}

}  // namespace sluice::nic
