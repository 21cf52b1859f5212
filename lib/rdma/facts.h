// Facts: what this machine's RDMA devices are, for `sluiced check` (app/check_rdma.h judges them).
// From sysfs, and from the devices themselves where the libraries are there. Start-up and control
// only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sluice::rdma {

/// One row of a port's GID table.
struct GidFacts {
  uint32_t index = 0;
  std::string address;    // "10.0.0.1", "fe80::1"
  std::string type;       // "RoCE v2", "IB/RoCE v1"
  std::string interface;  // the kernel's name
};

/// A device, by its first port.
struct DeviceFacts {
  std::string name;
  std::string driver;  // "mlx5_core", "rdma_rxe"; empty: not known
  bool is_software = false;
  int numa_node = -1;
  std::string state;       // "ACTIVE"
  std::string link_layer;  // "Ethernet", "InfiniBand"
  std::string rate;        // "100 Gb/sec (4X EDR)"
  std::string interface;   // of its first GID
  uint32_t interface_mtu = 0;
  std::vector<GidFacts> gids;
  std::map<std::string, uint64_t> counters;  // hw_counters, since the driver was loaded

  bool was_asked = false;  // the rest is known
  uint64_t mr_bytes_max = 0;
  bool has_windows = false;  // of type 2B
  bool windows_are_unbounded = false;
  uint32_t active_mtu = 0;  // bytes
};

struct Facts {
  std::string why_not;  // the libraries, or the kernel's side, are missing; empty: all there
  std::vector<DeviceFacts> devices;
};

/// What sysfs says. `sys` is /sys, but for tests.
[[nodiscard]] std::vector<DeviceFacts> read_devices(const std::filesystem::path& sys = "/sys");
/// That, and what the devices say.
[[nodiscard]] Facts read_facts();

}  // namespace sluice::rdma
