#include "control/replica_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "control/quantity.h"
#include "inet/address.h"

namespace sluice::control {
namespace {

constexpr uint32_t copies_max = 16;  // replica::holders_max
constexpr size_t peers_max = 63;     // replica::nodes_max, less this one

constexpr std::array<std::string_view, 12> names{
    "node-name", "replica-listen", "peer",          "etcd",       "cluster-key", "copies",
    "hold",      "replica-rate",   "replica-share", "scrub-rate", "rdma",        "rdma-device"};

Result<void> parse_name(std::string_view text, std::string& out) {
  const bool fits = !text.empty() && text.size() <= 48 &&
                    std::all_of(text.begin(), text.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                    });
  if (!fits) {
    return fail(fmt::format("'{}': up to 48 letters, digits, '-', '_' and '.', please", text));
  }
  out = text;
  return {};
}

Result<void> parse_listen(std::string_view text, std::string& out) {
  const Result<HostPort> parsed = parse_host_port(text);
  if (!parsed) return fail(parsed.error());
  inet::Address address;
  if (!inet::parse_address(parsed->host, address)) {
    return fail(
        fmt::format("'{}' is not an address: peers dial it, so write one of this machine, "
                    "as in 192.0.2.1:7010",
                    parsed->host));
  }
  if (address.is_unspecified() || address.is_multicast()) {
    return fail(fmt::format("{} is no address that peers could dial: write one of this machine",
                            parsed->host));
  }
  out = text;
  return {};
}

Result<void> parse_etcd(std::string_view text, std::vector<std::string>& out) {
  constexpr std::string_view plain = "http://";
  constexpr std::string_view tls = "https://";
  const std::string_view rest = text.starts_with(plain) ? text.substr(plain.size())
                                : text.starts_with(tls) ? text.substr(tls.size())
                                                        : std::string_view();
  const Result<HostPort> parsed = parse_host_port(rest.substr(0, rest.find('/')));
  if (!parsed) return fail(fmt::format("'{}': write one as in http://192.0.2.9:2379", text));
  out.emplace_back(text);
  return {};
}

Result<void> parse_hold(std::string_view text, ReplicaOptions& options) {
  if (text.ends_with('%')) {
    const Result<uint64_t> percent =
        parse_number(text.substr(0, text.size() - 1), {.least = 1, .most = 90});
    if (!percent)
      return fail(fmt::format("'{}': write a size, or a percentage from 1% to 90%", text));
    options.hold_percent = static_cast<uint8_t>(*percent);
    options.hold_bytes.reset();
    return {};
  }
  const Result<uint64_t> bytes = parse_size(text);
  if (!bytes) return fail(bytes.error());
  options.hold_bytes = *bytes;
  return {};
}

Result<void> parse_share(std::string_view text, uint8_t& out) {
  if (text.ends_with('%')) text.remove_suffix(1);
  const Result<uint64_t> percent = parse_number(text, {.least = 1, .most = 100});
  if (!percent) return fail(percent.error());
  out = static_cast<uint8_t>(*percent);
  return {};
}

// "0" is no limit, or never.
Result<void> parse_rate(std::string_view text, uint64_t& out) {
  if (text.ends_with("/s")) text.remove_suffix(2);
  const Result<uint64_t> bytes = parse_size(text);
  if (!bytes) return fail(fmt::format("{} (a second)", bytes.error().message));
  out = *bytes;
  return {};
}

Result<void> parse_rdma(std::string_view text, Rdma& out) {
  if (text == "auto") {
    out = Rdma::automatic;
  } else if (text == "off") {
    out = Rdma::off;
  } else if (text == "required") {
    out = Rdma::required;
  } else {
    return fail(fmt::format("'{}' is not auto or off or required", text));
  }
  return {};
}

Result<void> parse_file(const std::string& text, std::string& out) {
  if (text.empty()) return fail("is empty");
  out = text;
  return {};
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const auto wrong = [&] {
    return fail(
        fmt::format("'{}' is not HOST:PORT, as in 192.0.2.1:7010 or [2001:db8::1]:7010", text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return wrong();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong();
  }
  const Result<uint64_t> port = parse_number(text.substr(colon + 1), {.least = 1, .most = 65535});
  const bool sound = !host.empty() && std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '_' || c == '%';
  });
  if (!port || !sound) return wrong();
  return HostPort{std::string(host), static_cast<uint16_t>(*port)};
}

bool is_replica_option(std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<void> apply_replica_option(std::string_view name, const std::string& value,
                                  ReplicaOptions& options) {
  if (name == "node-name") return parse_name(value, options.node_name);
  if (name == "replica-listen") return parse_listen(value, options.listen);
  if (name == "peer") {
    if (const Result<HostPort> parsed = parse_host_port(value); !parsed) {
      return fail(parsed.error());
    }
    options.peers.push_back(value);
    return {};
  }
  if (name == "etcd") return parse_etcd(value, options.etcd);
  if (name == "cluster-key") return parse_file(value, options.cluster_key_file);
  if (name == "hold") return parse_hold(value, options);
  if (name == "replica-rate") return parse_rate(value, options.rate_bytes_per_s);
  if (name == "replica-share") return parse_share(value, options.share_percent);
  if (name == "scrub-rate") return parse_rate(value, options.scrub_bytes_per_s);
  if (name == "rdma") return parse_rdma(value, options.rdma);
  if (name == "rdma-device") return parse_file(value, options.rdma_device);
  const Result<uint64_t> copies = parse_number(value, {.least = 1, .most = copies_max});
  if (!copies) return fail(copies.error());
  options.copies = static_cast<uint8_t>(*copies);
  return {};
}

Result<void> check_replica_options(const ReplicaOptions& options) {
  if (!options.enabled()) {
    const bool asked = !options.listen.empty() || !options.peers.empty() || !options.etcd.empty() ||
                       !options.cluster_key_file.empty() || options.copies > 0;
    if (!asked) return {};
    return fail(
        "--node-name NAME is missing: replication is on where the node has a name, another "
        "one on each");
  }
  if (options.listen.empty()) {
    return fail("--replica-listen IP:PORT is missing: where are the peers to find this node?");
  }
  if (options.cluster_key_file.empty()) {
    return fail(
        "--cluster-key FILE is missing: the same secret on every node; make one with "
        "openssl rand -hex 32");
  }
  if (options.peers.empty() == options.etcd.empty()) {
    return fail(options.peers.empty()
                    ? "--peer HOST:PORT or --etcd URL is missing: who are the other nodes?"
                    : "--peer and --etcd exclude each other: with etcd the nodes find each other");
  }
  if (options.peers.size() > peers_max) {
    return fail(fmt::format("--peer: at most {} of them", peers_max));
  }
  const size_t nodes = options.peers.size() + 1;
  if (!options.peers.empty() && options.copies > nodes) {
    return fail(fmt::format("--copies {}: there are {} nodes, this one and its --peer list",
                            options.copies, nodes));
  }
  for (const std::string& peer : options.peers) {
    if (peer == options.listen) {
      return fail(fmt::format("--peer {}: that is this node itself (--replica-listen)", peer));
    }
  }
  if (options.rdma == Rdma::off && !options.rdma_device.empty()) {
    return fail("--rdma-device and --rdma off exclude each other");
  }
  return {};
}

}  // namespace sluice::control
