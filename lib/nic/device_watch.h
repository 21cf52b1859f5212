// DeviceWatch: what the device of a running port says of itself: link, counters, and that the
// kernel wants it back. Any thread may ask, one at a time: drivers keep state while they answer.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "nic/port.h"
#include "nic/port_plan.h"

struct rte_mempool;

namespace sluice::nic {

class DeviceWatch {
 public:
  DeviceWatch() = default;
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;
  ~DeviceWatch() { end(); }

  using Pools = std::vector<const rte_mempool*>;
  /// Control thread: from when the devices are started until before they are stopped.
  void begin(const std::vector<PortUnit>& units, Pools rx_pools, Pools tx_pools);
  void end();

  // Any thread. Outside of begin() and end(): zeros, and no link.
  [[nodiscard]] PortCounters counters() const;
  [[nodiscard]] bool link_up() const;
  /// See Port. Stays true after end().
  [[nodiscard]] bool is_wanted_back() const { return wanted_back_.load(std::memory_order_relaxed); }

 private:
  std::vector<PortUnit> units_;  // empty: not watching
  Pools rx_pools_;
  Pools tx_pools_;
  std::atomic<bool> wanted_back_ = false;  // set by DPDK's interrupt thread
  mutable std::mutex asking_;              // guards units_ and pools
};

}  // namespace sluice::nic
