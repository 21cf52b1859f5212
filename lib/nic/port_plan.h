// PortPlan: what a port will be: the profile's wishes against the device's capabilities.
//
// plan_offloads and the other judgements are pure, so that tests can put any device before them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "nic/driver_profile.h"
#include "nic/kernel_interface.h"
#include "nic/pools.h"
#include "nic/port.h"

struct rte_device;
struct rte_eth_dev_info;

namespace sluice::nic {

/// One ethdev of DPDK. A port is one of them, but for AF_XDP on an interface whose queues the
/// driver does not count (veth: they are not "combined"): there each queue is an ethdev of its own.
struct PortUnit {
  uint16_t id = 0;
  rte_device* device = nullptr;
};

struct PortPlan {
  PortFacts facts;
  DriverProfile profile;
  PoolPlan pools;
  std::vector<PortUnit> units;
  bool probed_here = false;  // else it was there before: leave it there
  bool closed = false;       // already, by a stop
  uint16_t mbufs_per_frame_max = 0;
  uint32_t frame_max_bytes = 0;
  bool sums_ip = false;  // the device fills in IPv4 header checksums
  bool set_mtu = false;
  bool set_mac = false;
  uint16_t vlan_filter = 0;  // the VLAN that the device is told to let in; 0: it needs no word

  [[nodiscard]] uint16_t first_id() const { return units.front().id; }
  /// Queue pair `queue` of the port, as DPDK names it.
  struct Place {
    uint16_t id = 0;
    uint16_t queue = 0;
  };
  [[nodiscard]] Place place(uint16_t queue) const {
    if (units.size() == 1) return {units.front().id, queue};
    return {units[queue].id, 0};
  }
  /// Queues of each unit.
  [[nodiscard]] uint16_t rx_queues_each() const {
    return units.size() == 1 ? facts.rx_queues : uint16_t{1};
  }
  [[nodiscard]] uint16_t tx_queues_each() const {
    return units.size() == 1 ? facts.tx_queues : uint16_t{1};
  }
};

/// What both the profile and the device have; notes say what the device refused.
[[nodiscard]] Offloads plan_offloads(const DriverProfile& profile, const rte_eth_dev_info& info,
                                     std::vector<std::string>& notes);

/// How many queue pairs to ask for, before the device is probed.
struct PairsWanted {
  uint32_t workers = 1;
  uint16_t interface_queues = 1;
  uint16_t limit = UINT16_MAX;  // the operator's
};
[[nodiscard]] uint16_t plan_pairs(const DriverProfile& profile, const PairsWanted& wanted);

/// Locally administered, the same at every start on this machine, another for every name.
[[nodiscard]] MacAddress derive_mac(const std::string& name);

/// The device arguments: the profile's (places filled in), then those of the spec, which win.
struct DevargsPlaces {
  uint16_t queues = 1;
  uint16_t mtu = 1500;
};
[[nodiscard]] std::string join_devargs(const DriverProfile& profile, const std::string& own,
                                       const DevargsPlaces& places);

/// Probes the device if need be, and decides everything. On failure the device is gone again.
[[nodiscard]] Result<PortPlan> plan_port(const PortSpec& spec, const PortOptions& options);

/// Undoes plan_port's probe. The port is closed first.
void remove_port(const PortPlan& plan);

}  // namespace sluice::nic
