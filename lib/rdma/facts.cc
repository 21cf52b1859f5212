#include "rdma/facts.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

#include "rdma/device.h"
#include "rdma/verbs.h"

namespace sluice::rdma {
namespace {

namespace fs = std::filesystem;

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
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

// sysfs writes all 16 bytes; an IPv4 address is a mapped one.
std::string address_of(const std::string& gid) {
  in6_addr address{};
  if (inet_pton(AF_INET6, gid.c_str(), &address) != 1) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    inet_ntop(AF_INET, &address.s6_addr[12], text.data(), text.size());
  } else if (!IN6_IS_ADDR_UNSPECIFIED(&address)) {
    inet_ntop(AF_INET6, &address, text.data(), text.size());
  }
  return text.data();
}

std::vector<GidFacts> read_gids(const fs::path& port) {
  std::vector<GidFacts> out;
  for (const std::string& index : names_in(port / "gids")) {
    const std::string address = address_of(read_line(port / "gids" / index));
    if (address.empty()) continue;
    out.push_back({.index = static_cast<uint32_t>(std::strtoul(index.c_str(), nullptr, 10)),
                   .address = address,
                   .type = read_line(port / "gid_attrs/types" / index),
                   .interface = read_line(port / "gid_attrs/ndevs" / index)});
  }
  std::sort(out.begin(), out.end(),
            [](const GidFacts& a, const GidFacts& b) { return a.index < b.index; });
  return out;
}

// Drivers keep them below the port, or below the device (rdma-core, rdma-statistic(8)).
std::map<std::string, uint64_t> read_counters(const fs::path& device) {
  std::map<std::string, uint64_t> out;
  for (const fs::path& folder : {device / "ports/1/hw_counters", device / "hw_counters"}) {
    for (const std::string& name : names_in(folder)) {
      if (name == "lifespan") continue;
      out[name] = std::strtoull(read_line(folder / name).c_str(), nullptr, 10);
    }
  }
  return out;
}

DeviceFacts read_device(const std::string& name, const fs::path& sys) {
  DeviceFacts out;
  const fs::path device = sys / "class/infiniband" / name;
  const fs::path port = device / "ports/1";
  out.name = name;
  out.driver = driver_of(name, sys);
  out.is_software = out.driver == "rdma_rxe" || out.driver == "siw";
  const std::string node = read_line(device / "device/numa_node");
  out.numa_node = node.empty() ? -1 : static_cast<int>(std::strtol(node.c_str(), nullptr, 10));
  const std::string state = read_line(port / "state");  // "4: ACTIVE"
  out.state = state.substr(std::min(state.size(), state.find(' ') + 1));
  out.link_layer = read_line(port / "link_layer");
  out.rate = read_line(port / "rate");
  out.gids = read_gids(port);
  out.counters = read_counters(device);
  out.interface = out.gids.empty() ? read_line(device / "parent") : out.gids.front().interface;
  const fs::path mtu = sys / "class/net" / out.interface / "mtu";
  if (!out.interface.empty()) {
    out.interface_mtu = static_cast<uint32_t>(std::strtoul(read_line(mtu).c_str(), nullptr, 10));
  }
  return out;
}

// InfiniBand specification, table 224 (PortInfo): 1 is 256 bytes, each further one doubles it.
uint32_t bytes_of(ibv_mtu mtu) {
  return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128u << static_cast<uint32_t>(mtu) : 0;
}

void ask(const Verbs& verbs, ibv_context* context, std::vector<DeviceFacts>& devices) {
  const std::string name = context->device->name;
  for (DeviceFacts& each : devices) {
    ibv_device_attr device{};
    ibv_port_attr port{};
    if (each.name != name || verbs.query_device(context, &device) != 0) continue;
    each.was_asked = true;
    each.mr_bytes_max = device.max_mr_size;
    each.has_windows = (device.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B) != 0;
    each.windows_are_unbounded = windows_are_unbounded(name, each.driver);
    if (verbs.query_port(context, 1, reinterpret_cast<_compat_ibv_port_attr*>(&port)) == 0) {
      each.active_mtu = bytes_of(port.active_mtu);
    }
  }
}

}  // namespace

std::vector<DeviceFacts> read_devices(const fs::path& sys) {
  std::vector<DeviceFacts> out;
  for (const std::string& name : names_in(sys / "class/infiniband")) {
    out.push_back(read_device(name, sys));
  }
  return out;
}

Facts read_facts() {
  Facts out;
  out.devices = read_devices();
  const Result<const Verbs*> verbs = Verbs::load();
  if (!verbs) {
    out.why_not = verbs.error().message;
    return out;
  }
  int count = 0;
  ibv_context** const list = (*verbs)->get_devices(&count);
  for (int i = 0; list != nullptr && i < count; ++i) ask(**verbs, list[i], out.devices);
  if (list != nullptr) (*verbs)->free_devices(list);
  return out;
}

}  // namespace sluice::rdma
