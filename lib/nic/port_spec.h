// PortSpec: what the operator wrote behind --port, understood.
//
//   0000:01:00.0[,DEVARGS]      a PCI device (bound to vfio-pci, or mlx5 bifurcated)
//   tap[:NAME]                  a tap made by us; the kernel's side is NAME (default sluiceN)
//   af_xdp:IFACE                an AF_XDP socket on an existing interface
//   af_packet:IFACE             a packet socket on an existing interface
//   memif:SOCKET                shared memory with another process, we are the client
//   net_xxx[N][,DEVARGS]        any vdev of DPDK, as it would be written behind --vdev
//
// Control thread only. No DPDK in it: may be used before the EAL runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::nic {

struct PortSpec {
  std::string text;  // as written
  bool is_pci = false;
  std::string device;     // the bus's name of it: "0000:01:00.0", "net_tap0", "net_pcap1"
  std::string profile;    // name of the profile to look up: "tap"; empty for PCI until probed
  std::string interface;  // the kernel's interface, where there is one (tap, af_xdp, af_packet)
  std::string arguments;  // device arguments the spec implies or spells out, without a leading
                          // comma; profile arguments are added by Port
};

/// `index` numbers the ports of this process: it makes device and default tap names unique.
/// Errors: one sentence that says which forms there are.
[[nodiscard]] Result<PortSpec> parse_port_spec(std::string_view text, uint32_t index);

/// The NUMA node of the device or of the kernel interface, from sysfs; -1: unknown or any.
[[nodiscard]] int numa_node(const PortSpec& spec);

}  // namespace sluice::nic
