#include "nic/device_watch.h"

// rte_dev_event_callback_register().
#define ALLOW_EXPERIMENTAL_API 1

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace sluice::nic {
namespace {

// vfio-pci tells whoever holds a device that it wants it back, and waits (VFIO_PCI_REQ_IRQ_INDEX,
// linux/vfio.h); DPDK passes that on as this event (pci_vfio_req_handler()).
void note_removal(const char* /*device*/, rte_dev_event_type event, void* flag) {
  if (event == RTE_DEV_EVENT_REMOVE) static_cast<std::atomic<bool>*>(flag)->store(true);
}

uint64_t count_out(const DeviceWatch::Pools& pools) {
  uint64_t out = 0;
  for (const rte_mempool* pool : pools) out += rte_mempool_in_use_count(pool);
  return out;
}

}  // namespace

void DeviceWatch::begin(const std::vector<PortUnit>& units, Pools rx_pools, Pools tx_pools) {
  for (const PortUnit& unit : units) {
    if (unit.device == nullptr) continue;
    rte_dev_event_callback_register(rte_dev_name(unit.device), note_removal, &wanted_back_);
  }
  const std::lock_guard lock(asking_);
  units_ = units;
  rx_pools_ = std::move(rx_pools);
  tx_pools_ = std::move(tx_pools);
}

void DeviceWatch::end() {
  std::vector<PortUnit> units;
  {
    const std::lock_guard lock(asking_);
    units.swap(units_);
    rx_pools_.clear();
    tx_pools_.clear();
  }
  for (const PortUnit& unit : units) {
    if (unit.device == nullptr) continue;
    // -EAGAIN: it is being called just now, and that is short.
    while (rte_dev_event_callback_unregister(rte_dev_name(unit.device), note_removal,
                                             &wanted_back_) == -EAGAIN) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
}

PortCounters DeviceWatch::counters() const {
  const std::lock_guard lock(asking_);
  PortCounters sum;
  for (const PortUnit& unit : units_) {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(unit.id, &stats) != 0) continue;
    sum.missed += stats.imissed;
    sum.rx_errors += stats.ierrors;
    sum.tx_errors += stats.oerrors;
    sum.no_mbuf += stats.rx_nombuf;
  }
  sum.rx_mbufs = count_out(rx_pools_);
  sum.tx_mbufs = count_out(tx_pools_);
  return sum;
}

bool DeviceWatch::link_up() const {
  const std::lock_guard lock(asking_);
  rte_eth_link link{};
  return !units_.empty() && rte_eth_link_get_nowait(units_.front().id, &link) == 0 &&
         link.link_status == RTE_ETH_LINK_UP;
}

}  // namespace sluice::nic
