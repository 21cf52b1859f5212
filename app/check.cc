#include "check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "control/quantity.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;

// PCI's class code of network controllers is 02 (PCI Code and ID Assignment, section 1.3).
constexpr std::string_view network_class = "0x02";

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string name_behind(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? std::string() : target.filename().string();
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A virtio NIC's interfaces are below virtioN, not below the PCI device.
std::vector<std::string> interfaces_of(const fs::path& device) {
  std::vector<std::string> names = names_in(device / "net");
  for (const std::string& child : names_in(device)) {
    if (!child.starts_with("virtio")) continue;
    for (std::string& name : names_in(device / child / "net")) names.push_back(std::move(name));
  }
  return names;
}

// Intel VT-d specification, Capability Register: MGAW is bits 21 to 16, one less than the width.
uint32_t address_bits_of(const fs::path& device) {
  const std::string text = read_line(device / "iommu/intel-iommu/cap");
  if (text.empty()) return 0;
  const uint64_t capabilities = std::strtoull(text.c_str(), nullptr, 16);
  return static_cast<uint32_t>(capabilities >> 16 & 0x3f) + 1;
}

DeviceFacts::Group try_group(const fs::path& node) {
  const int descriptor = open(node.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor >= 0) {
    close(descriptor);
    return DeviceFacts::Group::free;
  }
  if (errno == EBUSY) return DeviceFacts::Group::busy;
  return errno == ENOENT ? DeviceFacts::Group::absent : DeviceFacts::Group::denied;
}

std::string slower_link_of(const fs::path& device) {
  const std::string speed = read_line(device / "current_link_speed");
  const std::string width = read_line(device / "current_link_width");
  const std::string speed_max = read_line(device / "max_link_speed");
  const std::string width_max = read_line(device / "max_link_width");
  const bool unknown = speed.empty() || speed.starts_with("Unknown") || width == "0";
  if (unknown || (speed == speed_max && width == width_max)) return {};
  return fmt::format("{} x{} of {} x{}", speed, width, speed_max, width_max);
}

std::string_view group_cure(DeviceFacts::Group group) {
  switch (group) {
    case DeviceFacts::Group::busy:
      return "another process uses it: end that one first (it may be another sluiced)";
    case DeviceFacts::Group::denied:
      return "run as root, or give this user the group's file in /dev/vfio";
    case DeviceFacts::Group::absent:
      return "load the module: modprobe vfio-pci";
    case DeviceFacts::Group::none:
    case DeviceFacts::Group::free:
      return "";
  }
  return "";
}

void judge_vfio(const nic::PortSpec& spec, const DeviceFacts& device, std::vector<Finding>& out) {
  if (device.iommu_group.empty()) {
    out.push_back(
        {device.unsafe_allowed ? Level::warning : Level::blocker,
         fmt::format("port {}: is behind no IOMMU", spec.text),
         "boot with intel_iommu=on (or amd_iommu=on) iommu=pt, and turn VT-d or AMD-Vi on in the "
         "firmware; without one its DMA reaches all memory"});
    return;
  }
  const std::string width =
      device.address_bits == 0 ? "" : fmt::format(", {}-bit addresses", device.address_bits);
  if (!device.neighbors.empty()) {
    out.push_back({Level::blocker,
                   fmt::format("port {}: shares IOMMU group {} with {}", spec.text,
                               device.iommu_group, fmt::join(device.neighbors, ", ")),
                   "bind those to vfio-pci too (scripts/host-setup --bind), or use another slot"});
  } else if (device.group == DeviceFacts::Group::free) {
    out.push_back({Level::ok,
                   fmt::format("port {}: at vfio-pci, IOMMU group {}{}", spec.text,
                               device.iommu_group, width),
                   ""});
  } else {
    out.push_back(
        {Level::blocker,
         fmt::format("port {}: /dev/vfio/{} cannot be opened", spec.text, device.iommu_group),
         std::string(group_cure(device.group))});
  }
}

void judge_cores(const Machine& machine, const Plan& plan, const PortGuess& port,
                 std::vector<Finding>& out) {
  if (port.numa_node < 0) return;
  std::vector<uint32_t> far;
  std::vector<uint32_t> near;
  for (const Core& core : machine.cores) {
    if (core.node == port.numa_node) {
      near.push_back(core.number);
    } else if (std::find(plan.cores.begin(), plan.cores.end(), core.number) != plan.cores.end()) {
      far.push_back(core.number);
    }
  }
  if (far.empty()) {
    out.push_back({Level::ok,
                   fmt::format("port {}: on NUMA node {}, as are the workers' cores {}", port.spec,
                               port.numa_node, control::format_core_list(plan.cores)),
                   ""});
    return;
  }
  out.push_back({Level::warning,
                 fmt::format("port {}: on NUMA node {}, but cores {} of the workers are not",
                             port.spec, port.numa_node, control::format_core_list(far)),
                 near.empty() ? "use a NIC on the node of the cores that this process may use"
                              : fmt::format("--cores, from {}; a sluiced for each node where there "
                                            "are NICs on several",
                                            control::format_core_list(near))});
}

void judge_hugepages(const Machine& machine, const Plan& plan, std::vector<Finding>& out) {
  const uint64_t needed = (plan.packet_bytes + hugepage_bytes - 1) / hugepage_bytes +
                          (plan.arena_bytes + hugepage_bytes - 1) / hugepage_bytes;
  for (const Node& node : machine.nodes) {
    const bool used = plan.numa_node < 0 || node.number == plan.numa_node;
    if (!used) continue;
    const std::string what = fmt::format("node {}: {} hugepages of 2 MiB are free, {} are wanted",
                                         node.number, node.hugepages_free, needed);
    if (node.hugepages_free >= needed) {
      out.push_back({Level::ok, what, ""});
    } else {
      out.push_back({Level::warning, what + ": plain memory instead, slower",
                     fmt::format("scripts/host-setup --hugepages {}={}", node.number, needed)});
    }
  }
}

}  // namespace

DeviceFacts read_device(const std::string& address, const fs::path& sys, const fs::path& dev) {
  DeviceFacts facts;
  const fs::path device = sys / "bus/pci/devices" / address;
  std::error_code error;
  facts.exists = fs::exists(device, error);
  if (!facts.exists) return facts;
  facts.is_network = read_line(device / "class").starts_with(network_class);
  facts.driver = name_behind(device / "driver");
  facts.interfaces = interfaces_of(device);
  facts.iommu_group = name_behind(device / "iommu_group");
  facts.address_bits = address_bits_of(device);
  facts.slower_link = slower_link_of(device);
  facts.unsafe_allowed =
      read_line(sys / "module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y";
  if (facts.iommu_group.empty()) return facts;
  for (const std::string& other : names_in(device / "iommu_group/devices")) {
    const std::string driver = name_behind(sys / "bus/pci/devices" / other / "driver");
    const bool harmless = driver.empty() || driver == "vfio-pci" || driver == "pcieport";
    if (other != address && !harmless)
      facts.neighbors.push_back(fmt::format("{} ({})", other, driver));
  }
  facts.group = try_group(dev / "vfio" / facts.iommu_group);
  return facts;
}

InterfaceFacts read_interface_facts(const std::string& name, const fs::path& sys) {
  InterfaceFacts facts;
  const fs::path folder = sys / "class/net" / name;
  std::error_code error;
  facts.exists = fs::exists(folder, error);
  if (!facts.exists) return facts;
  // IFF_UP is bit 0 of the flags (linux/if.h).
  facts.is_up = (std::strtoul(read_line(folder / "flags").c_str(), nullptr, 16) & 1u) != 0;
  facts.has_carrier = read_line(folder / "carrier") == "1";
  facts.mtu = static_cast<uint32_t>(std::strtoul(read_line(folder / "mtu").c_str(), nullptr, 10));
  return facts;
}

std::vector<Finding> judge_machine(const control::ServeOptions& options, const Machine& machine,
                                   const Budget& budget, const std::vector<PortGuess>& ports) {
  std::vector<Finding> out;
  for (const std::string& refusal : budget.refusals) {
    const size_t cure = refusal.rfind("; ");
    if (cure == std::string::npos) {
      out.push_back({Level::blocker, refusal, ""});
    } else {
      out.push_back({Level::blocker, refusal.substr(0, cure), refusal.substr(cure + 2)});
    }
  }
  if (!options.no_huge) judge_hugepages(machine, budget.plan, out);
  for (const PortGuess& port : ports) judge_cores(machine, budget.plan, port, out);
  const bool on_nic =
      std::any_of(ports.begin(), ports.end(), [](const PortGuess& port) { return port.is_pci; });
  const uint64_t pinned = budget.plan.arena_bytes + budget.plan.packet_bytes;
  if (on_nic && machine.locked_memory_max_bytes < pinned) {
    out.push_back({Level::blocker,
                   fmt::format("locked memory: a NIC's DMA needs {}, the limit is {}",
                               control::format_size(pinned),
                               control::format_size(machine.locked_memory_max_bytes)),
                   "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit"});
  }
  return out;
}

std::vector<Finding> judge_device(const nic::PortSpec& spec, const DeviceFacts& device) {
  std::vector<Finding> out;
  const auto blocker = [&](std::string what, std::string cure) {
    out.push_back({Level::blocker, fmt::format("port {}: {}", spec.text, what), std::move(cure)});
  };
  if (!device.exists) {
    blocker("there is no such PCI device", "scripts/host-setup --show lists the NICs");
    return out;
  }
  if (!device.is_network) {
    blocker("is not a network device", "scripts/host-setup --show lists the NICs");
    return out;
  }
  if (device.driver.starts_with("mlx5")) {
    out.push_back(
        {Level::ok,
         fmt::format("port {}: at {}, where it belongs (bifurcated)", spec.text, device.driver),
         ""});
  } else if (device.driver == "vfio-pci") {
    judge_vfio(spec, device, out);
  } else if (device.driver == "igb_uio" || device.driver == "uio_pci_generic") {
    out.push_back(
        {Level::warning,
         fmt::format("port {}: at {}: its DMA reaches all memory", spec.text, device.driver),
         "scripts/host-setup --bind " + spec.device});
  } else {
    const std::string names =
        device.interfaces.empty() ? "" : fmt::format(" as {}", fmt::join(device.interfaces, ", "));
    blocker(device.driver.empty() ? "has no driver"
                                  : fmt::format("is at the kernel's {}{}", device.driver, names),
            "scripts/host-setup --bind " + spec.device);
  }
  if (!device.slower_link.empty()) {
    out.push_back({Level::warning,
                   fmt::format("port {}: its PCIe link runs at {}", spec.text, device.slower_link),
                   "use a slot with more lanes, and see the firmware's slot settings"});
  }
  return out;
}

std::vector<Finding> judge_interface(const nic::PortSpec& spec, const InterfaceFacts& interface) {
  if (!interface.exists) {
    return {{Level::blocker,
             fmt::format("port {}: there is no interface {}", spec.text, spec.interface),
             "ip link lists the interfaces"}};
  }
  if (!interface.is_up) {
    return {{Level::warning, fmt::format("port {}: {} is down", spec.text, spec.interface),
             fmt::format("ip link set {} up", spec.interface)}};
  }
  if (!interface.has_carrier) {
    return {{Level::warning, fmt::format("port {}: {} has no link", spec.text, spec.interface),
             "see the cable and the other end"}};
  }
  return {{Level::ok,
           fmt::format("port {}: {} is up, MTU {}", spec.text, spec.interface, interface.mtu), ""}};
}

std::vector<Finding> judge_trial(const PortTrial& trial) {
  const nic::PortFacts& facts = trial.facts;
  std::vector<Finding> out;
  const std::string port = "port " + facts.spec + ": ";
  if (facts.default_profile) {
    out.push_back({Level::warning, port + "no profile for driver " + facts.driver,
                   "write one: docs/drivers.md; until then default.toml is used"});
  } else {
    out.push_back(
        {Level::ok, fmt::format("{}started: {}, MTU {}", port, facts.driver, facts.mtu), ""});
  }
  const bool enough = facts.rx_queues >= facts.workers;
  out.push_back({Level::ok,
                 fmt::format("{}{} queue pairs for {} workers, {} steering{}", port,
                             facts.rx_queues, facts.workers, nic::steering_name(facts.steering),
                             enough ? "" : ": the others are handed their flows over rings"),
                 ""});
  std::vector<std::string> on;
  std::vector<std::string> off;
  const auto offload = [&](bool wanted, bool has, const char* name) {
    if (has) on.emplace_back(name);
    if (wanted && !has) off.emplace_back(name);
  };
  offload(facts.wanted.rx_checksum, facts.offloads.rx_checksum, "rx checksum");
  offload(facts.wanted.tx_checksum, facts.offloads.tx_checksum, "tx checksum");
  offload(facts.wanted.tcp_segmentation, facts.offloads.tcp_segmentation, "TCP segmentation");
  offload(facts.wanted.chained_mbufs, facts.offloads.chained_mbufs, "chained mbufs");
  if (off.empty()) {
    out.push_back({Level::ok,
                   fmt::format("{}offloads: {}", port,
                               on.empty() ? "none, as its profile says"
                                          : fmt::format("{}", fmt::join(on, ", "))),
                   ""});
  } else {
    out.push_back({Level::warning,
                   fmt::format("{}the device does not offer {}: sluice does it itself", port,
                               fmt::join(off, ", ")),
                   "see the NIC's firmware, or what the hypervisor lets through"});
  }
  if (trial.link_up) {
    out.push_back({Level::ok, port + "the link is up", ""});
  } else {
    out.push_back({Level::warning, port + "the link is down", "see the cable and the other end"});
  }
  return out;
}

bool is_ready(const std::vector<Finding>& findings) {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& each) { return each.level == Level::blocker; });
}

std::string format_findings(const std::vector<Finding>& findings) {
  static constexpr std::array<std::string_view, 3> words{"ok", "warning", "BLOCKER"};
  std::string out;
  size_t blockers = 0;
  for (const Finding& each : findings) {
    if (each.level == Level::blocker) ++blockers;
    out += fmt::format("  {:<8} {}\n", words[static_cast<size_t>(each.level)], each.what);
    if (!each.cure.empty()) out += fmt::format("           cure: {}\n", each.cure);
  }
  out += blockers == 0 ? "ready\n" : fmt::format("not ready: {} to be cured\n", blockers);
  return out;
}

}  // namespace sluice::app
