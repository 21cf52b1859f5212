#include "nic/port_spec.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <fstream>

namespace sluice::nic {
namespace {

// IFNAMSIZ of linux/if.h, less the final NUL.
constexpr size_t interface_name_max = 15;
// sun_path of sockaddr_un is 108 bytes.
constexpr size_t socket_path_max = 107;

constexpr std::string_view forms =
    "a port is a PCI address (0000:01:00.0), tap[:NAME], af_xdp:IFACE, af_packet:IFACE, "
    "memif:SOCKET, or a DPDK vdev (net_...)";

bool is_hex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isxdigit(c) != 0; });
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
}

/// A PCI address, with or without the domain; canonical with it.
bool parse_pci(std::string_view text, std::string& out) {
  std::string_view domain = "0000";
  if (std::count(text.begin(), text.end(), ':') == 2) {
    domain = text.substr(0, text.find(':'));
    text.remove_prefix(domain.size() + 1);
  }
  const size_t colon = text.find(':');
  const size_t dot = text.find('.');
  if (colon == std::string_view::npos || dot == std::string_view::npos || dot < colon) return false;
  const std::string_view bus = text.substr(0, colon);
  const std::string_view slot = text.substr(colon + 1, dot - colon - 1);
  const std::string_view function = text.substr(dot + 1);
  if (!is_hex(domain) || domain.size() > 8 || !is_hex(bus) || bus.size() > 2) return false;
  if (!is_hex(slot) || slot.size() > 2 || function.size() != 1) return false;
  if (function[0] < '0' || function[0] > '7') return false;
  const auto padded = [](std::string_view digits, size_t width) {
    const size_t zeros = width > digits.size() ? width - digits.size() : 0;
    return std::string(zeros, '0').append(digits);
  };
  out = padded(domain, 4) + ":" + padded(bus, 2) + ":" + padded(slot, 2) + "." +
        std::string(function);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return true;
}

Result<std::string> checked_interface(std::string_view text, std::string_view name) {
  if (name.empty()) return fail("port " + std::string(text) + ": an interface name is missing");
  if (name.size() > interface_name_max) {
    return fail("port " + std::string(text) + ": interface name is longer than 15 characters");
  }
  const bool clean = std::none_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isspace(c) != 0 || c == '/' || c == ',' || c == '=' || c == ':' || c < ' ';
  });
  if (!clean || name == "." || name == "..") {
    return fail("port " + std::string(text) + ": not an interface name: " + std::string(name));
  }
  return std::string(name);
}

/// The value of `key` in "a=1,b=2"; empty when it is not there.
std::string argument_value(std::string_view arguments, std::string_view key) {
  while (!arguments.empty()) {
    const size_t comma = arguments.find(',');
    const std::string_view item = arguments.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals != std::string_view::npos && item.substr(0, equals) == key) {
      return std::string(item.substr(equals + 1));
    }
    if (comma == std::string_view::npos) break;
    arguments.remove_prefix(comma + 1);
  }
  return {};
}

Result<PortSpec> parse_vdev(PortSpec spec, std::string_view device, uint32_t index) {
  if (!is_word(device)) {
    return fail("port " + spec.text + ": not a vdev name: " + std::string(device));
  }
  std::string_view driver = device;
  while (!driver.empty() && std::isdigit(static_cast<unsigned char>(driver.back())) != 0) {
    driver.remove_suffix(1);
  }
  const bool numbered = driver.size() != device.size();
  spec.device = std::string(device) + (numbered ? "" : std::to_string(index));
  // net_virtio_user0 -> virtio_user; eth_pcap0 (an old alias) -> pcap.
  spec.profile = std::string(driver.substr(4));
  spec.interface = argument_value(spec.arguments, "iface");
  return spec;
}

Result<PortSpec> parse_tap(PortSpec spec, std::string_view name, uint32_t index) {
  const std::string fallback = "sluice" + std::to_string(index);
  auto interface = checked_interface(spec.text, name.empty() ? fallback : name);
  if (!interface) return fail(interface.error());
  spec.profile = "tap";
  spec.device = "net_tap" + std::to_string(index);
  spec.interface = *interface;
  spec.arguments = "iface=" + spec.interface;
  return spec;
}

Result<PortSpec> parse_on_interface(PortSpec spec, std::string_view kind, std::string_view name) {
  auto interface = checked_interface(spec.text, name);
  if (!interface) return fail(interface.error());
  spec.profile = std::string(kind);
  spec.interface = *interface;
  spec.arguments = "iface=" + spec.interface;
  return spec;
}

Result<PortSpec> parse_memif(PortSpec spec, std::string_view socket) {
  if (socket.empty()) return fail("port " + spec.text + ": a socket path is missing");
  if (socket.size() > socket_path_max || socket.find(',') != std::string_view::npos) {
    return fail("port " + spec.text + ": a socket path has at most 107 bytes and no comma");
  }
  spec.profile = "memif";
  spec.arguments = "role=client,socket=" + std::string(socket) + ",socket-abstract=no";
  return spec;
}

int read_numa_node(const std::string& path) {
  std::ifstream file(path);
  int node = -1;
  return file >> node ? node : -1;
}

}  // namespace

Result<PortSpec> parse_port_spec(std::string_view text, uint32_t index) {
  PortSpec spec;
  spec.text = std::string(text);
  const bool clean =
      std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 127; });
  if (text.empty() || !clean) return fail("port '" + spec.text + "': " + std::string(forms));

  const size_t comma = text.find(',');
  const std::string_view head = text.substr(0, comma);
  std::string pci;
  if (parse_pci(head, pci)) {
    spec.is_pci = true;
    spec.device = pci;
    if (comma != std::string_view::npos) spec.arguments = text.substr(comma + 1);
    return spec;
  }
  if (head.substr(0, 4) == "net_" && head.size() > 4) {
    if (comma != std::string_view::npos) spec.arguments = text.substr(comma + 1);
    return parse_vdev(std::move(spec), head, index);
  }

  const size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const std::string_view rest =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (kind == "tap") return parse_tap(std::move(spec), rest, index);
  if (kind == "af_xdp" || kind == "af_packet") {
    spec.device = "net_" + std::string(kind) + std::to_string(index);
    return parse_on_interface(std::move(spec), kind, rest);
  }
  if (kind == "memif") {
    spec.device = "net_memif" + std::to_string(index);
    return parse_memif(std::move(spec), rest);
  }
  return fail("port '" + spec.text + "': " + std::string(forms));
}

int numa_node(const PortSpec& spec) {
  if (spec.is_pci) return read_numa_node("/sys/bus/pci/devices/" + spec.device + "/numa_node");
  if (spec.interface.empty()) return -1;
  return read_numa_node("/sys/class/net/" + spec.interface + "/device/numa_node");
}

}  // namespace sluice::nic
