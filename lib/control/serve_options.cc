#include "control/serve_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <utility>

#include "control/quantity.h"

namespace sluice::control {
namespace {

using Kind = OptionRow::Kind;

constexpr std::array<OptionRow, 42> rows{{
    {"root", "DIR", "Directory to serve", Kind::single, false},
    {"port", "SPEC",
     "Port to serve on: a PCI address, tap[:NAME], af_xdp:IFACE, af_packet:IFACE, memif:SOCKET or "
     "any DPDK vdev; may be repeated",
     Kind::many, false},
    {"ip", "CIDR", "Address of the port before it, with its prefix length; may be repeated",
     Kind::many, true},
    {"gateway", "IP", "Next hop of the port before it, one for IPv4 and one for IPv6", Kind::many,
     true},
    {"vlan", "ID", "802.1Q tag of the port before it", Kind::many, true},
    {"mtu", "N", "MTU of the port before it (default: the device's own)", Kind::many, true},
    {"mac", "MAC", "MAC address of the port before it (default: the device's own)", Kind::many,
     true},
    {"http-port", "N", "TCP port to listen on (default 80)", Kind::single, false},
    {"workers", "N",
     "Worker threads (default: 1 on software ports; on a NIC the cores of its NUMA node, but one)",
     Kind::single, false},
    {"cores", "LIST", "Cores of the workers, one each, as in 1,3-5 (instead of --workers)",
     Kind::single, false},
    {"cache", "SIZE", "Memory for content (default: a quarter of what is free, at most 1G)",
     Kind::single, false},
    {"chunk", "SIZE", "Size of a chunk of the cache, a power of two (default 2M)", Kind::single,
     false},
    {"max-connections", "N", "Connections at a time, over all workers (default 10000)",
     Kind::single, false},
    {"max-connections-per-source", "N",
     "Connections of one source at a time, at each worker (default: no limit)", Kind::single,
     false},
    {"max-half-open-per-source", "N",
     "Half-open connections of one source, at each worker; what is above costs no memory (default: "
     "no limit)",
     Kind::single, false},
    {"source-prefix-v4", "N", "Bits of an IPv4 address that make a source (default 32)",
     Kind::single, false},
    {"source-prefix-v6", "N", "Bits of an IPv6 address that make a source (default 64)",
     Kind::single, false},
    {"stall-timeout", "TIME",
     "How long a client may refuse to read a response, though it is there (default 1h)",
     Kind::single, false},
    {"fast-open", "", "TCP Fast Open: answer data that comes with a SYN (default: off)", Kind::flag,
     false},
    {"max-mss", "N", "Largest TCP segment announced and sent, for tunnels (default: by the MTU)",
     Kind::single, false},
    {"max-objects", "N", "Files known at a time (default 65536)", Kind::single, false},
    {"polling", "busy|adaptive",
     "What an idle worker does: spin, or sleep for a fraction of a millisecond (default: by the "
     "driver)",
     Kind::single, false},
    {"congestion", "cubic|bbr|new_reno|dctcp",
     "Congestion control of every connection (default cubic); dctcp inside a data centre only",
     Kind::single, false},
    {"ecn", "on|off", "Agree on ECN with clients that offer it (default on)", Kind::single, false},
    {"pacing", "on|off",
     "Spread what cubic, new_reno and dctcp send over the round trip (default on)", Kind::single,
     false},
    {"no-huge", "", "Use no hugepages (default: use them where there are enough)", Kind::flag,
     false},
    {"instance", "NAME", "Name for sluicectl and dpdk-telemetry.py -f (default: sluice-PID)",
     Kind::single, false},
    {"drivers-config", "DIR", "Directory of the driver profiles", Kind::single, false},
    {"drain-timeout", "TIME", "How long running responses may take to end (default 30s)",
     Kind::single, false},
    {"log-level", "debug|info|warning|error", "What is logged to stderr (default info)",
     Kind::single, false},
    {"node-name", "NAME", "Replication: this node's name in its cluster, another one on each",
     Kind::single, false},
    {"replica-listen", "IP:PORT",
     "Where peers find this node: an address of the kernel's, or of "
     "the RDMA device",
     Kind::single, false},
    {"peer", "HOST:PORT", "Another node of a cluster without etcd; may be repeated", Kind::many,
     false},
    {"etcd", "URL", "An etcd server of the cluster; may be repeated", Kind::many, false},
    {"cluster-key", "FILE", "The secret that the nodes of the cluster share", Kind::single, false},
    {"copies", "N", "Keep every file of the root on N nodes (default: what sluicectl publishes)",
     Kind::single, false},
    {"hold", "SIZE|PERCENT", "How much of the cache may hold published files (default 50%)",
     Kind::single, false},
    {"replica-rate", "SIZE", "Written to peers in a second, at most (default: no limit)",
     Kind::single, false},
    {"replica-share", "PERCENT",
     "Share of all that leaves that may go to peers while clients are served (default 50%)",
     Kind::single, false},
    {"scrub-rate", "SIZE", "Held content summed again in a second; 0: never (default 64M)",
     Kind::single, false},
    {"rdma", "auto|off|required", "Whether content moves over RDMA (default auto: TCP where not)",
     Kind::single, false},
    {"rdma-device", "NAME", "RDMA device, as `rdma link` names it (default: as the route says)",
     Kind::single, false},
}};

const OptionRow* find_row(std::string_view name) {
  const auto at = std::find_if(rows.begin(), rows.end(),
                               [&](const OptionRow& row) { return row.name == name; });
  return at == rows.end() ? nullptr : &*at;
}

bool stands_in(const std::vector<Setting>& settings, std::string_view name) {
  return std::any_of(settings.begin(), settings.end(),
                     [&](const Setting& setting) { return setting.name == name; });
}

// Assigns what was parsed, or passes the error on.
template <typename From, typename To>
Result<void> assign(Result<From> parsed, To& to) {
  if (!parsed) return fail(parsed.error());
  to = static_cast<To>(*std::move(parsed));
  return {};
}

Result<void> parse_mac(std::string_view text, std::optional<std::array<uint8_t, 6>>& out) {
  const auto wrong = [&] {
    return fail(
        fmt::format("'{}' is not a unicast MAC address: write one as in "
                    "02:00:00:00:00:01",
                    text));
  };
  std::array<uint8_t, 6> mac{};
  if (text.size() != 17) return wrong();
  for (size_t i = 0; i < mac.size(); ++i) {
    const char* from = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(from, from + 2, mac[i], 16);
    if (error != std::errc() || end != from + 2) return wrong();
    if (i + 1 < mac.size() && from[2] != ':') return wrong();
  }
  if ((mac[0] & 1) != 0 || mac == std::array<uint8_t, 6>{}) return wrong();
  out = mac;
  return {};
}

Result<void> add_address(std::string_view text, PortOptions& port) {
  inet::Prefix prefix;
  if (!inet::parse_prefix(text, prefix)) {
    return fail(
        fmt::format("'{}' is not an address with a prefix length: write one as in "
                    "192.0.2.1/24 or 2001:db8::1/64",
                    text));
  }
  if (text.find('/') == std::string_view::npos) {
    return fail(fmt::format("{} needs its prefix length, as in {}/{}", text, text,
                            prefix.address.is_v4() ? 24 : 64));
  }
  const inet::Address& address = prefix.address;
  if (address.is_multicast() || address.is_unspecified() || address.is_loopback()) {
    return fail(fmt::format("{} cannot be the address of a port", text));
  }
  if (prefix.is_broadcast(address)) {
    return fail(fmt::format("{} is the broadcast address of its network", text));
  }
  port.addresses.push_back(prefix);
  return {};
}

Result<void> add_gateway(std::string_view text, PortOptions& port) {
  inet::Address address;
  if (!inet::parse_address(text, address)) {
    return fail(fmt::format("'{}' is not an address: write one as in 192.0.2.254", text));
  }
  std::optional<inet::Address>& gateway = address.is_v4() ? port.gateway4 : port.gateway6;
  if (gateway) {
    return fail(fmt::format("{}: this port has an {} gateway already", text,
                            address.is_v4() ? "IPv4" : "IPv6"));
  }
  gateway = address;
  return {};
}

Result<void> apply_to_port(const Setting& setting, PortOptions& port) {
  const std::string& value = setting.value;
  if (setting.name == "ip") return add_address(value, port);
  if (setting.name == "gateway") return add_gateway(value, port);
  if (setting.name == "mac") return parse_mac(value, port.mac);
  if (setting.name == "vlan") {
    uint16_t vlan = 0;
    Result<void> done = assign(parse_number(value, {.least = 1, .most = 4094}), vlan);
    port.vlan = vlan;
    return done;
  }
  // RFC 791 section 3.1: hosts accept 576 bytes. The upper end is what DPDK's ports take.
  uint16_t mtu = 0;
  Result<void> done = assign(parse_number(value, {.least = 576, .most = 9702}), mtu);
  port.mtu = mtu;
  return done;
}

Result<void> parse_chunk(std::string_view text, uint32_t& out) {
  const Result<uint64_t> bytes = parse_size(text);
  if (!bytes) return fail(bytes.error());
  if (*bytes < (64u << 10) || *bytes > (64u << 20) || !std::has_single_bit(*bytes)) {
    return fail(fmt::format("{}: a chunk is a power of two from 64K to 64M", text));
  }
  out = static_cast<uint32_t>(*bytes);
  return {};
}

Result<void> parse_instance(std::string_view text, std::string& out) {
  const bool fits = !text.empty() && text.size() <= 48 &&
                    std::all_of(text.begin(), text.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_';
                    });
  if (!fits) {
    return fail(fmt::format("'{}': up to 48 letters, digits, '-' and '_', please", text));
  }
  out = text;
  return {};
}

template <typename Enum, size_t n>
Result<void> parse_word(std::string_view text,
                        const std::array<std::pair<std::string_view, Enum>, n>& words, Enum& out) {
  std::string choice;
  for (const auto& [word, value] : words) {
    if (word == text) {
      out = value;
      return {};
    }
    choice += choice.empty() ? "" : " or ";
    choice += word;
  }
  return fail(fmt::format("'{}' is not {}", text, choice));
}

Result<void> parse_text(std::string_view text, std::string& out) {
  if (text.empty()) return fail("is empty");
  out = text;
  return {};
}

Result<void> apply_number(const Setting& setting, ServeOptions& options) {
  const std::string& value = setting.value;
  if (setting.name == "http-port") {
    return assign(parse_number(value, {.least = 1, .most = 65535}), options.http_port);
  }
  if (setting.name == "max-connections") {
    return assign(parse_number(value, {.least = 1, .most = 16'000'000}), options.connections_max);
  }
  if (setting.name == "max-objects") {
    return assign(parse_number(value, {.least = 16, .most = 16'000'000}), options.objects_max);
  }
  uint32_t workers = 0;
  Result<void> done = assign(parse_number(value, {.least = 1, .most = 127}), workers);
  options.workers = workers;
  return done;
}

// What concerns one source, or one slow client, and not all of them.
Result<void> apply_limit(const Setting& setting, ServeOptions& options) {
  const std::string& value = setting.value;
  if (setting.name == "max-connections-per-source") {
    return assign(parse_number(value, {.least = 1, .most = 16'000'000}),
                  options.source_connections_max);
  }
  if (setting.name == "max-half-open-per-source") {
    return assign(parse_number(value, {.least = 1, .most = 16'000'000}),
                  options.source_half_open_max);
  }
  if (setting.name == "source-prefix-v4") {
    return assign(parse_number(value, {.least = 8, .most = 32}), options.source_prefix_v4);
  }
  if (setting.name == "source-prefix-v6") {
    return assign(parse_number(value, {.least = 16, .most = 128}), options.source_prefix_v6);
  }
  // RFC 1122 section 3.3.2, RFC 9293 section 3.7.1: 536 bytes come through everywhere.
  return assign(parse_number(value, {.least = 536, .most = 9642}), options.mss_max);
}

bool is_limit(std::string_view name) {
  return name == "max-connections-per-source" || name == "max-half-open-per-source" ||
         name == "source-prefix-v4" || name == "source-prefix-v6" || name == "max-mss";
}

Result<void> apply(const Setting& setting, ServeOptions& options) {
  static constexpr std::array<std::pair<std::string_view, Polling>, 2> polling{
      {{"busy", Polling::busy}, {"adaptive", Polling::adaptive}}};
  static constexpr std::array<std::pair<std::string_view, LogLevel>, 4> levels{
      {{"debug", LogLevel::debug},
       {"info", LogLevel::info},
       {"warning", LogLevel::warning},
       {"error", LogLevel::error}}};
  static constexpr std::array<std::pair<std::string_view, Congestion>, 4> congestion{
      {{"cubic", Congestion::cubic},
       {"bbr", Congestion::bbr},
       {"new_reno", Congestion::new_reno},
       {"dctcp", Congestion::dctcp}}};
  static constexpr std::array<std::pair<std::string_view, bool>, 4> on_off{
      {{"on", true}, {"off", false}, {"true", true}, {"false", false}}};
  const std::string& name = setting.name;
  const std::string& value = setting.value;
  if (name == "root") return parse_text(value, options.root);
  if (name == "cores") return assign(parse_core_list(value), options.cores);
  if (name == "chunk") return parse_chunk(value, options.chunk_bytes);
  if (name == "polling") return parse_word(value, polling, options.polling);
  if (name == "congestion") return parse_word(value, congestion, options.congestion);
  if (name == "ecn") return parse_word(value, on_off, options.ecn);
  if (name == "pacing") return parse_word(value, on_off, options.pacing);
  if (name == "log-level") return parse_word(value, levels, options.log_level);
  if (name == "instance") return parse_instance(value, options.instance);
  if (name == "drivers-config") return parse_text(value, options.drivers_directory);
  if (name == "drain-timeout") return assign(parse_duration(value), options.drain_timeout);
  if (name == "stall-timeout") return assign(parse_duration(value), options.stall_timeout);
  if (name == "fast-open") {
    options.fast_open = value != "false";
    return {};
  }
  if (is_limit(name)) return apply_limit(setting, options);
  if (is_replica_option(name)) return apply_replica_option(name, value, options.replica);
  if (name == "no-huge") {
    options.no_huge = value != "false";
    return {};
  }
  if (name == "cache") {
    uint64_t bytes = 0;
    Result<void> done = assign(parse_size(value), bytes);
    options.cache_bytes = bytes;
    return done;
  }
  return apply_number(setting, options);
}

Result<void> check_gateway(const PortOptions& port, const std::optional<inet::Address>& gateway) {
  if (!gateway) return {};
  const bool on_link =
      gateway->is_link_local() ||
      std::any_of(port.addresses.begin(), port.addresses.end(),
                  [&](const inet::Prefix& prefix) { return prefix.contains(*gateway); });
  if (on_link) return {};
  return fail(fmt::format("--gateway {}: no --ip of port {} has it on its network",
                          inet::format(*gateway).view(), port.spec));
}

Result<void> check_port(const PortOptions& port, std::vector<inet::Address>& seen) {
  if (port.addresses.empty()) {
    return fail(
        fmt::format("port {} has no address: put --ip CIDR after --port {}", port.spec, port.spec));
  }
  for (const inet::Prefix& prefix : port.addresses) {
    if (std::find(seen.begin(), seen.end(), prefix.address) != seen.end()) {
      return fail(fmt::format("--ip {} stands twice", inet::format(prefix).view()));
    }
    seen.push_back(prefix.address);
    // RFC 8200 section 5.
    if (!prefix.address.is_v4() && port.mtu.value_or(1280) < 1280) {
      return fail(fmt::format("--mtu {}: IPv6 needs at least 1280", *port.mtu));
    }
  }
  if (Result<void> done = check_gateway(port, port.gateway4); !done) return done;
  return check_gateway(port, port.gateway6);
}

Result<void> check(const ServeOptions& options) {
  if (options.root.empty()) return fail("--root DIR is missing: which directory is to be served?");
  if (options.ports.empty()) {
    return fail("--port SPEC is missing: to try without a NIC, use --port tap");
  }
  if (options.workers && !options.cores.empty()) {
    return fail("--workers and --cores exclude each other: --cores says how many there are");
  }
  if (options.cores.size() > 127) return fail("--cores: at most 127 workers");
  std::vector<inet::Address> seen;
  for (const PortOptions& port : options.ports) {
    if (Result<void> done = check_port(port, seen); !done) return done;
  }
  return check_replica_options(options.replica);
}

}  // namespace

std::span<const OptionRow> option_rows() {
  return rows;
}

std::vector<Setting> merge_settings(const std::vector<Setting>& file,
                                    const std::vector<Setting>& command_line) {
  std::vector<Setting> merged;
  const bool new_ports = stands_in(command_line, "port");
  for (const Setting& setting : file) {
    const OptionRow* row = find_row(setting.name);
    if (new_ports && row != nullptr && row->of_port) continue;
    if (!stands_in(command_line, setting.name)) merged.push_back(setting);
  }
  merged.insert(merged.end(), command_line.begin(), command_line.end());
  return merged;
}

Result<ServeOptions> understand(const std::vector<Setting>& settings) {
  ServeOptions options;
  const auto ports = std::count_if(settings.begin(), settings.end(),
                                   [](const Setting& setting) { return setting.name == "port"; });
  PortOptions only;  // with one port, its settings may stand before it
  PortOptions* port = ports <= 1 ? &only : nullptr;
  for (const Setting& setting : settings) {
    const OptionRow* row = find_row(setting.name);
    if (row == nullptr) return fail(fmt::format("there is no option --{}", setting.name));
    Result<void> done;
    if (setting.name == "port") {
      if (setting.value.empty()) return fail("--port: is empty");
      if (ports > 1) port = &options.ports.emplace_back();
      port->spec = setting.value;
    } else if (!row->of_port) {
      done = apply(setting, options);
    } else if (port == nullptr) {
      done = fail("put it after the --port it belongs to (there are several)");
    } else {
      done = apply_to_port(setting, *port);
    }
    if (!done) return fail(done.error().in("--" + setting.name));
  }
  if (ports == 1) options.ports.push_back(only);
  if (Result<void> done = check(options); !done) return fail(done.error());
  return options;
}

}  // namespace sluice::control
