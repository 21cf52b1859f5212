// The budget of packet memory: how many mbufs of which kind a port needs, and how many bytes that
// is. Computed before the EAL starts (it must be told) and again exactly when a port starts.
#pragma once

#include <cstdint>

namespace sluice::nic {

struct PoolNeeds {
  uint32_t workers = 1;
  uint32_t queue_pairs = 1;
  uint16_t mtu = 1500;
  uint32_t frame_bytes_min = 0;  // the driver's slots are larger than its frames
  uint16_t rx_descriptors = 1024;
  uint16_t rx_rings = 1;  // of that many descriptors, for one queue
  uint16_t tx_descriptors = 1024;
  bool chained_mbufs = true;
  bool sends_from_rx_pool = false;
};

struct PoolPlan {
  uint32_t rx_mbufs = 0;          // per queue pair
  uint32_t rx_data_bytes = 0;     // data room of each, head room included
  uint32_t object_bytes_min = 0;  // what one takes at least, all included
  uint32_t header_mbufs = 0;      // per worker
  uint32_t payload_mbufs = 0;     // per worker
  uint64_t total_bytes = 0;       // all pools and rings of the port
};

[[nodiscard]] PoolPlan plan_pools(const PoolNeeds& needs);

/// What the EAL should be started with for `ports` such ports: the plan, plus what drivers and DPDK
/// itself take.
[[nodiscard]] uint64_t packet_memory_bytes(const PoolNeeds& needs, uint32_t ports);

}  // namespace sluice::nic
