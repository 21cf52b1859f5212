#include "nic/port_plan.h"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>

#include "base/siphash.h"
#include "nic/dpdk_log.h"
#include "nic/limits.h"

namespace sluice::nic {
namespace {

constexpr uint64_t rss_tcp_bits =
    RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
// Header, and a piece of each extent (wire::TxFrame::extents_max).
constexpr uint16_t mbufs_of_one_frame = 1 + wire::TxFrame::extents_max;
// Larger frames than jumbo frames are not seen on Ethernet.
constexpr uint16_t mtu_most = 9600;
// Ethernet and one 802.1Q tag; the FCS is the device's.
constexpr uint32_t frame_header_bytes = 14 + 4;

Error dpdk_error(const std::string& what, int code) {
  return Error{what + ": " + rte_strerror(code < 0 ? -code : code)};
}

void replace_all(std::string& text, std::string_view place, const std::string& value) {
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at)) {
    text.replace(at, place.size(), value);
    at += value.size();
  }
}

std::string_view key_of(std::string_view item) {
  return item.substr(0, item.find('='));
}

/// A ring slot of a packet socket: frame, and the header in front of it, in a power of two.
uint32_t slot_bytes(uint16_t mtu) {
  return std::bit_ceil(mtu + frame_header_bytes + 128u);
}

std::vector<std::string> split_arguments(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (comma != 0) items.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return items;
}

struct ProbeRequest {
  std::string device;
  std::string arguments;
};

Result<PortUnit> probe(const ProbeRequest& request) {
  const std::string& device = request.device;
  const std::string devargs = device + (request.arguments.empty() ? "" : "," + request.arguments);
  if (const int code = rte_dev_probe(devargs.c_str()); code != 0) {
    return fail(dpdk_error("DPDK cannot open " + devargs, code));
  }
  PortUnit unit;
  rte_eth_dev_info info{};
  if (rte_eth_dev_get_port_by_name(device.c_str(), &unit.id) != 0 ||
      rte_eth_dev_info_get(unit.id, &info) != 0) {
    return fail("DPDK has no network driver for " + device +
                " (a PCI device must be bound to vfio-pci: dpdk-devbind.py -s)");
  }
  unit.device = info.device;
  return unit;
}

/// PCI devices tell their driver only once they are probed; if its profile has arguments, they are
/// probed once more.
Result<void> probe_pci(const PortSpec& spec, const std::string& directory, PortPlan& plan) {
  PortUnit unit;
  rte_eth_dev_info info{};
  if (rte_eth_dev_get_port_by_name(spec.device.c_str(), &unit.id) != 0) {
    auto probed = probe({spec.device, spec.arguments});
    if (!probed) return fail(probed.error());
    unit = *probed;
    plan.probed_here = true;
  }
  if (const int code = rte_eth_dev_info_get(unit.id, &info); code != 0) {
    return fail(dpdk_error("the device does not describe itself", code));
  }
  unit.device = info.device;
  plan.units.push_back(unit);
  auto profile = find_profile(directory, info.driver_name);
  if (!profile) return fail(profile.error());
  plan.profile = std::move(*profile);
  const std::string arguments = join_devargs(plan.profile, spec.arguments, {});
  if (arguments == spec.arguments) return {};
  rte_eth_dev_close(unit.id);
  rte_dev_remove(unit.device);
  plan.units.clear();
  plan.probed_here = true;
  auto again = probe({spec.device, arguments});
  if (!again) return fail(again.error());
  plan.units.push_back(*again);
  return {};
}

/// One device for each queue of the interface.
Result<void> probe_each_queue(const PortSpec& spec, uint16_t queues, PortPlan& plan) {
  for (uint16_t i = 0; i < queues; ++i) {
    const std::string own = spec.arguments + ",start_queue=" + std::to_string(i);
    auto unit = probe(
        {spec.device + "_" + std::to_string(i), join_devargs(plan.profile, own, {.queues = 1})});
    if (!unit) return fail(unit.error());
    plan.units.push_back(*unit);
  }
  return {};
}

Result<void> probe_vdev(const PortSpec& spec, const std::string& directory, uint16_t pairs_limit,
                        const PortOptions& options, PortPlan& plan) {
  auto profile = find_profile(directory, spec.profile);
  if (!profile) return fail(profile.error());
  plan.profile = std::move(*profile);
  plan.probed_here = true;
  DevargsPlaces places{.mtu = options.mtu.value_or(1500)};
  KernelInterface interface;
  // A tap is made by its driver; the others stand on an interface that must be there.
  const bool stands_on = plan.profile.pairs_of_interface || plan.profile.mtu_of_interface;
  if (stands_on && !spec.interface.empty()) {
    auto found = read_interface(spec.interface);
    if (!found) return fail(found.error());
    interface = *found;
    if (!interface.is_up) {
      plan.facts.notes.push_back("interface " + spec.interface + " is down: ip link set " +
                                 spec.interface + " up");
    }
    if (!options.mtu) places.mtu = interface.mtu;
  }
  places.queues = plan_pairs(
      plan.profile,
      {.workers = options.workers, .interface_queues = interface.rx_queues, .limit = pairs_limit});
  if (plan.profile.pairs_of_interface) {
    if (places.queues < interface.rx_queues) {
      plan.facts.notes.push_back("only " + std::to_string(places.queues) + " of " +
                                 std::to_string(interface.rx_queues) + " queues of " +
                                 spec.interface +
                                 " are used; what arrives on the others goes to the kernel");
    }
    if (places.queues > 1 && !interface.has_combined_queues) {
      return probe_each_queue(spec, places.queues, plan);
    }
  }
  const RealtimeSignalsIgnored quiet(plan.profile.ignore_signals);
  auto unit = probe({spec.device, join_devargs(plan.profile, spec.arguments, places)});
  if (!unit) return fail(unit.error());
  plan.units.push_back(*unit);
  return {};
}

/// As eth_dev_validate_mtu() of rte_ethdev.c will judge it.
uint16_t most_mtu(const rte_eth_dev_info& info) {
  const bool both = info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu;
  const uint32_t overhead =
      both ? info.max_rx_pktlen - info.max_mtu : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  const uint32_t most = info.max_rx_pktlen > overhead ? info.max_rx_pktlen - overhead : 0;
  return static_cast<uint16_t>(std::min({most, uint32_t{info.max_mtu}, uint32_t{mtu_most}}));
}

Result<void> plan_mtu(const PortSpec& spec, const PortOptions& options,
                      const rte_eth_dev_info& info, PortPlan& plan) {
  uint16_t now = 1500;
  if (plan.profile.pairs_of_interface || plan.profile.mtu_of_interface) {
    if (auto interface = read_interface(spec.interface)) now = interface->mtu;
  } else {
    rte_eth_dev_get_mtu(plan.first_id(), &now);
  }
  const uint16_t most = plan.profile.mtu_of_interface ? mtu_most : most_mtu(info);
  if (options.mtu) {
    // RFC 8200 section 5: every link of IPv6 carries 1280 bytes.
    if (*options.mtu < 1280 || *options.mtu > most) {
      return fail("an MTU of " + std::to_string(*options.mtu) + " is not in 1280 to " +
                  std::to_string(most));
    }
    plan.set_mtu = *options.mtu != now;
    plan.facts.mtu = *options.mtu;
  } else {
    plan.facts.mtu = std::min(now, most);
    if (now > most) {
      plan.facts.notes.push_back("the interface's MTU of " + std::to_string(now) +
                                 " is more than the driver takes: " + std::to_string(most));
    }
  }
  plan.frame_max_bytes = plan.facts.mtu + frame_header_bytes;
  return {};
}

Result<void> plan_queues(const PortOptions& options, const rte_eth_dev_info& info, PortPlan& plan) {
  PortFacts& facts = plan.facts;
  const DriverProfile& profile = plan.profile;
  const uint16_t limit = options.queue_pairs_max.value_or(UINT16_MAX);
  // A driver that stands on an interface was probed with as many as that has.
  const uint16_t wanted = profile.pairs_of_interface
                              ? UINT16_MAX
                              : plan_pairs(profile, {.workers = options.workers, .limit = limit});
  if (plan.units.size() > 1) {
    facts.rx_queues = facts.tx_queues = static_cast<uint16_t>(plan.units.size());
  } else {
    facts.rx_queues = std::min(wanted, info.max_rx_queues);
    facts.tx_queues = std::min(wanted, info.max_tx_queues);
  }
  if (profile.equal_pairs)
    facts.rx_queues = facts.tx_queues = std::min(facts.rx_queues, facts.tx_queues);
  if (facts.rx_queues == 0 || facts.tx_queues == 0) return fail("the device has no queues");
  if (facts.rx_queues > options.workers * rx_queues_per_worker_max) {
    return fail(std::to_string(facts.rx_queues) + " rx queues are too many for " +
                std::to_string(options.workers) + " workers: ethtool -L IFACE combined N");
  }
  facts.rx_descriptors = profile.rx_descriptors;
  facts.tx_descriptors = profile.tx_descriptors;
  if (const int code = rte_eth_dev_adjust_nb_rx_tx_desc(plan.first_id(), &facts.rx_descriptors,
                                                        &facts.tx_descriptors);
      code != 0) {
    return fail(dpdk_error("the device takes no descriptor count", code));
  }
  facts.burst = profile.burst;
  return {};
}

void plan_steering(const PortOptions& options, const rte_eth_dev_info& info, PortPlan& plan) {
  PortFacts& facts = plan.facts;
  facts.steering = options.steering.value_or(plan.profile.steering);
  if (options.workers == 1 || facts.steering == Steering::software) return;
  std::string reason;
  if (facts.rx_queues < options.workers) {
    reason = "fewer rx queues than workers";
  } else if (facts.steering == Steering::rss && (info.flow_type_rss_offloads & rss_tcp_bits) == 0) {
    reason = "the device has no RSS over TCP";
  } else {
    return;
  }
  facts.steering = Steering::software;
  facts.notes.push_back(reason + ": workers hand flows to each other");
}

Result<void> plan_mac(const PortSpec& spec, const PortOptions& options, PortPlan& plan) {
  if (options.mac) {
    plan.facts.mac = *options.mac;
    // Where the device's end has a MAC of its own (tap), ours is only in the frames.
    plan.set_mac = !plan.profile.derive_mac;
    return {};
  }
  if (plan.profile.derive_mac) {
    plan.facts.mac = derive_mac(spec.interface.empty() ? spec.device : spec.interface);
    return {};
  }
  rte_ether_addr address{};
  if (const int code = rte_eth_macaddr_get(plan.first_id(), &address); code != 0) {
    return fail(dpdk_error("the device has no MAC address", code));
  }
  std::copy(std::begin(address.addr_bytes), std::end(address.addr_bytes), plan.facts.mac.begin());
  if (plan.facts.mac == MacAddress{}) plan.facts.mac = derive_mac(spec.device);
  return {};
}

void plan_pools_of(const PortOptions& options, PortPlan& plan) {
  PortFacts& facts = plan.facts;
  const PoolNeeds needs{
      .workers = options.workers,
      .queue_pairs = std::max(facts.rx_queues, facts.tx_queues),
      .mtu = facts.mtu,
      .frame_bytes_min = plan.profile.mtu_of_interface ? slot_bytes(facts.mtu) : 0,
      .rx_descriptors = facts.rx_descriptors,
      .rx_rings = plan.profile.rx_rings,
      .tx_descriptors = facts.tx_descriptors,
      .chained_mbufs = facts.offloads.chained_mbufs,
      .sends_from_rx_pool = plan.profile.sends_from_rx_pool};
  plan.pools = plan_pools(needs);
  facts.packet_memory_bytes = plan.pools.total_bytes;
}

Result<void> plan_device(const PortSpec& spec, const PortOptions& options, PortPlan& plan) {
  rte_eth_dev_info info{};
  if (const int code = rte_eth_dev_info_get(plan.first_id(), &info); code != 0) {
    return fail(dpdk_error("the device does not describe itself", code));
  }
  PortFacts& facts = plan.facts;
  facts.spec = spec.text;
  facts.device = spec.device;
  facts.driver = info.driver_name;
  facts.interface = spec.interface;
  facts.profile_path = plan.profile.source_path;
  facts.default_profile = plan.profile.is_default;
  facts.numa_node = rte_eth_dev_socket_id(plan.first_id());
  facts.workers = options.workers;
  facts.polling = plan.profile.polling;
  facts.sleep_us_max = plan.profile.sleep_us_max;
  facts.notes.insert(facts.notes.end(), plan.profile.notes.begin(), plan.profile.notes.end());
  if (plan.profile.is_default) {
    facts.notes.push_back("no profile for driver " + facts.driver + ": using " +
                          facts.profile_path);
  }

  if (auto done = plan_queues(options, info, plan); !done) return done;
  if (auto done = plan_mtu(spec, options, info, plan); !done) return done;
  if (auto done = plan_mac(spec, options, plan); !done) return done;
  facts.offloads = plan_offloads(plan.profile, info, facts.notes);
  facts.wanted = plan.profile.use;
  // virtio lets no tagged frame in that it was not told of (VIRTIO_NET_F_CTRL_VLAN, virtio 1.1
  // section 5.1.6.5.3); where a device can be told, it is.
  if ((info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_FILTER) != 0) {
    plan.vlan_filter = options.vlan.value_or(0);
  }
  plan.sums_ip =
      facts.offloads.tx_checksum && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  plan.mbufs_per_frame_max = plan.profile.mbufs_per_frame_max;
  if (info.tx_desc_lim.nb_seg_max != 0) {
    plan.mbufs_per_frame_max = std::min(plan.mbufs_per_frame_max, info.tx_desc_lim.nb_seg_max);
  }
  facts.train_max_bytes = plan.profile.train_max_bytes;
  plan_steering(options, info, plan);
  plan_pools_of(options, plan);
  return {};
}

}  // namespace

Offloads plan_offloads(const DriverProfile& profile, const rte_eth_dev_info& info,
                       std::vector<std::string>& notes) {
  const uint16_t frame_mbufs = info.tx_desc_lim.nb_mtu_seg_max;
  const auto has = [](uint64_t all, uint64_t bits) { return (all & bits) == bits; };
  Offloads device;
  device.rx_checksum = has(info.rx_offload_capa, RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
  device.tx_checksum = has(info.tx_offload_capa, RTE_ETH_TX_OFFLOAD_TCP_CKSUM);
  device.tcp_segmentation = has(info.tx_offload_capa, RTE_ETH_TX_OFFLOAD_TCP_TSO);
  device.chained_mbufs = has(info.tx_offload_capa, RTE_ETH_TX_OFFLOAD_MULTI_SEGS) &&
                         (frame_mbufs == 0 || frame_mbufs >= mbufs_of_one_frame);

  Offloads on;
  const auto decide = [&](bool Offloads::*which, const char* name) {
    if (!(profile.use.*which) || profile.avoid.*which) return;
    on.*which = device.*which;
    if (!(device.*which)) notes.push_back(std::string("the device has no ") + name);
  };
  decide(&Offloads::rx_checksum, "rx checksum offload");
  decide(&Offloads::tx_checksum, "tx checksum offload");
  decide(&Offloads::tcp_segmentation, "TCP segmentation offload");
  decide(&Offloads::chained_mbufs, "chained mbufs: payload is copied");
  // A train is a chain whose frames the device must sum.
  if (!on.chained_mbufs || !on.tx_checksum) on.tcp_segmentation = false;
  return on;
}

uint16_t plan_pairs(const DriverProfile& profile, const PairsWanted& wanted) {
  const uint32_t useful =
      profile.pairs_of_interface ? uint32_t{wanted.interface_queues} : wanted.workers;
  const uint32_t limit = std::min<uint32_t>(wanted.limit, profile.pairs_max);
  return static_cast<uint16_t>(std::max(1u, std::min(useful, limit)));
}

MacAddress derive_mac(const std::string& name) {
  std::string machine;
  std::ifstream("/etc/machine-id") >> machine;
  const uint64_t digest = siphash24({}, as_byte_span(machine + "/" + name));
  MacAddress mac;
  std::memcpy(mac.data(), &digest, mac.size());
  // Bit 1 of the first octet: locally administered. Bit 0: a group. Source: IEEE 802, 8.2.
  mac[0] = static_cast<uint8_t>((mac[0] & 0xfc) | 0x02);
  return mac;
}

PoolNeeds expected_pools(const PortSpec& spec, const DriverProfile& profile,
                         std::optional<uint16_t> mtu) {
  PoolNeeds needs{.mtu = mtu.value_or(1500),
                  .rx_descriptors = profile.rx_descriptors,
                  .rx_rings = profile.rx_rings,
                  .tx_descriptors = profile.tx_descriptors,
                  .chained_mbufs = profile.use.chained_mbufs,
                  .sends_from_rx_pool = profile.sends_from_rx_pool};
  if (!profile.pairs_of_interface && !profile.mtu_of_interface) return needs;
  if (const auto interface = read_interface(spec.interface)) {
    if (!mtu) needs.mtu = interface->mtu;
    if (profile.pairs_of_interface)
      needs.queue_pairs = std::min(interface->rx_queues, profile.pairs_max);
  }
  if (profile.mtu_of_interface) needs.frame_bytes_min = slot_bytes(needs.mtu);
  return needs;
}

std::string join_devargs(const DriverProfile& profile, const std::string& own,
                         const DevargsPlaces& places) {
  std::string wanted = profile.devargs;
  replace_all(wanted, "{queues}", std::to_string(places.queues));
  replace_all(wanted, "{frame_bytes}", std::to_string(slot_bytes(places.mtu)));
  const std::vector<std::string> mine = split_arguments(own);
  std::string all;
  for (const std::string& item : split_arguments(wanted)) {
    const bool overridden = std::any_of(mine.begin(), mine.end(), [&](const std::string& other) {
      return key_of(other) == key_of(item);
    });
    if (!overridden) all += (all.empty() ? "" : ",") + item;
  }
  for (const std::string& item : mine) all += (all.empty() ? "" : ",") + item;
  return all;
}

Result<PortPlan> plan_port(const PortSpec& spec, const PortOptions& options) {
  const std::string context = "port " + spec.text;
  if (options.workers == 0 || options.workers > workers_max) {
    return fail(context + ": 1 to " + std::to_string(workers_max) + " workers, not " +
                std::to_string(options.workers));
  }
  const auto directory = drivers_config_directory(options.drivers_directory);
  if (!directory) return fail(directory.error());

  PortPlan plan;
  const uint16_t limit = options.queue_pairs_max.value_or(UINT16_MAX);
  DpdkLog log;
  auto probed = spec.is_pci ? probe_pci(spec, *directory, plan)
                            : probe_vdev(spec, *directory, limit, options, plan);
  if (!probed) {
    remove_port(plan);
    return fail(probed.error().in(context).message + log.said());
  }
  if (auto planned = plan_device(spec, options, plan); !planned) {
    remove_port(plan);
    return fail(planned.error().in(context));
  }
  return plan;
}

void remove_port(const PortPlan& plan) {
  for (const PortUnit& unit : plan.units) {
    if (!plan.closed) rte_eth_dev_close(unit.id);
    if (plan.probed_here && unit.device != nullptr) rte_dev_remove(unit.device);
  }
}

}  // namespace sluice::nic
