// The preflight of `sluiced check`: is this machine ready for what `serve` with the same options
// would do? Each finding says what was found and, where it is not as it should be, the cure.
//
//   read_device, read_interface   what sysfs says of a port, before DPDK runs
//   judge_*                       pure: facts in, findings out
//                                 judge_trial: of what a port was when it ran for a moment
//
// Control thread only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "budget.h"
#include "control/serve_options.h"
#include "machine.h"
#include "nic/driver_profile.h"
#include "nic/port.h"
#include "nic/port_spec.h"

namespace sluice::app {

struct Finding {
  enum class Level : uint8_t { ok, warning, blocker };
  Level level = Level::ok;
  std::string what;
  std::string cure;  // empty where there is nothing to cure
  bool operator==(const Finding&) const = default;
};

/// A PCI device as sysfs and /dev/vfio know it.
struct DeviceFacts {
  enum class Group : uint8_t { none, free, busy, denied, absent };
  bool exists = false;
  bool is_network = false;
  std::string driver;                   // of the kernel; empty: none
  std::vector<std::string> interfaces;  // the kernel's names
  std::string iommu_group;              // its number; empty: behind no IOMMU
  std::vector<std::string> neighbors;   // others of the group, with drivers that keep it from us
  uint32_t address_bits = 0;            // that the IOMMU reaches; 0: not known
  Group group = Group::none;            // whether vfio would hand it out
  bool unsafe_allowed = false;          // vfio without an IOMMU has been allowed
  std::string slower_link;  // "2.5 GT/s x1 of 8.0 GT/s x8", where it is not what it could be
};

/// `sys` is /sys and `dev` is /dev, but for tests.
[[nodiscard]] DeviceFacts read_device(const std::string& address,
                                      const std::filesystem::path& sys = "/sys",
                                      const std::filesystem::path& dev = "/dev");

/// An interface of the kernel that a port stands on.
struct InterfaceFacts {
  bool exists = false;
  bool is_up = false;
  bool has_carrier = false;
  uint32_t mtu = 0;
};
[[nodiscard]] InterfaceFacts read_interface_facts(const std::string& name,
                                                  const std::filesystem::path& sys = "/sys");

/// Memory, hugepages of each node, cores against the ports' nodes, limits.
[[nodiscard]] std::vector<Finding> judge_machine(const control::ServeOptions& options,
                                                 const Machine& machine, const Budget& budget,
                                                 const std::vector<PortGuess>& ports);
/// Driver, binding, IOMMU of a NIC.
[[nodiscard]] std::vector<Finding> judge_device(const nic::PortSpec& spec,
                                                const DeviceFacts& device);
[[nodiscard]] std::vector<Finding> judge_interface(const nic::PortSpec& spec,
                                                   const InterfaceFacts& interface);

/// What a port was when it ran for a moment.
struct PortTrial {
  nic::PortFacts facts;
  bool link_up = false;
};
/// Queues, offloads, MTU, link.
[[nodiscard]] std::vector<Finding> judge_trial(const PortTrial& trial);

[[nodiscard]] bool is_ready(const std::vector<Finding>& findings);
/// A line for each finding, a second one for its cure; the last line says ready or not.
[[nodiscard]] std::string format_findings(const std::vector<Finding>& findings);

}  // namespace sluice::app
