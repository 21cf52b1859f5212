// ReplicaOptions: what the operator asked of replication. Part of ServeOptions; replication is on
// where the node has a name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::control {

enum class Rdma : uint8_t { automatic, off, required };

struct ReplicaOptions {
  std::string node_name;           // empty: no replication
  std::string listen;              // IP:PORT, where peers find us
  std::vector<std::string> peers;  // HOST:PORT; the static list
  std::vector<std::string> etcd;   // http://HOST:PORT
  std::string cluster_key_file;
  uint8_t copies = 0;                  // of every file of the root; 0: what is published by hand
  std::optional<uint64_t> hold_bytes;  // instead of the percentage
  uint8_t hold_percent = 50;           // of the cache
  uint64_t rate_bytes_per_s = 0;       // written to peers; 0: no limit
  uint8_t share_percent = 50;          // of all that leaves, while clients are served
  uint64_t scrub_bytes_per_s = 64u << 20;
  Rdma rdma = Rdma::automatic;
  std::string rdma_device;

  [[nodiscard]] bool enabled() const { return !node_name.empty(); }
};

/// A name that belongs here.
[[nodiscard]] bool is_replica_option(std::string_view name);
/// Errors: what a value should look like, without the option's name.
[[nodiscard]] Result<void> apply_replica_option(std::string_view name, const std::string& value,
                                                ReplicaOptions& options);
/// What only all of them together tell. Errors: one line that says what to change.
[[nodiscard]] Result<void> check_replica_options(const ReplicaOptions& options);

/// HOST:PORT, [IPV6]:PORT. The host is not looked up.
struct HostPort {
  std::string host;
  uint16_t port = 0;
};
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);

}  // namespace sluice::control
