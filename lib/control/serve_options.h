// ServeOptions: what the operator asked for, from the command line and the config file.
//
// Both are lists of settings with the same names. A name given on the command line replaces what
// the file says of it; --port replaces every port of the file. The order of settings matters in
// one place: --ip, --gateway, --vlan, --mtu and --mac belong to the --port before them.
// Control thread only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/replica_options.h"
#include "inet/address.h"

namespace sluice::control {

enum class Polling : uint8_t { automatic, busy, adaptive };
enum class Congestion : uint8_t { cubic, bbr, new_reno, dctcp };
enum class LogLevel : uint8_t { debug, info, warning, error };

struct PortOptions {
  std::string spec;
  std::vector<inet::Prefix> addresses;
  std::optional<inet::Address> gateway4;
  std::optional<inet::Address> gateway6;
  std::optional<uint16_t> vlan;
  std::optional<uint16_t> mtu;
  std::optional<std::array<uint8_t, 6>> mac;
};

struct ServeOptions {
  std::string root;
  std::vector<PortOptions> ports;
  std::optional<uint32_t> workers;      // default: by the ports
  std::vector<uint32_t> cores;          // empty: chosen near the first port
  std::optional<uint64_t> cache_bytes;  // default: by the machine's memory
  uint32_t chunk_bytes = 2u << 20;
  uint16_t http_port = 80;
  uint32_t connections_max = 10'000;    // over all workers
  uint32_t source_connections_max = 0;  // of one source at each worker; 0: no limit
  uint32_t source_half_open_max = 0;    // likewise
  uint8_t source_prefix_v4 = 32;
  uint8_t source_prefix_v6 = 64;
  Duration stall_timeout = 3600_s;
  bool fast_open = false;
  uint16_t mss_max = 0;           // 0: by the MTU
  uint32_t objects_max = 65'536;  // files known at a time
  Polling polling = Polling::automatic;
  Congestion congestion = Congestion::cubic;
  bool ecn = true;
  bool pacing = true;
  bool no_huge = false;
  std::string instance;           // name of the telemetry directory; default: sluice-<pid>
  std::string drivers_directory;  // empty: where they were installed
  Duration drain_timeout = 30_s;
  LogLevel log_level = LogLevel::info;
  std::vector<std::string> eal_arguments;
  ReplicaOptions replica;
};

/// One option as it was given.
struct Setting {
  std::string name;  // "http-port"
  std::string value;
  bool operator==(const Setting&) const = default;
};

struct OptionRow {
  enum class Kind : uint8_t { flag, single, many };
  std::string_view name;
  std::string_view value;  // what stands for the value in the help; empty for a flag
  std::string_view help;
  Kind kind = Kind::single;
  bool of_port = false;  // belongs to the --port before it
};

/// Every option of `sluiced serve` that may also stand in the config file.
[[nodiscard]] std::span<const OptionRow> option_rows();

/// Lets the command line win over the file.
[[nodiscard]] std::vector<Setting> merge_settings(const std::vector<Setting>& file,
                                                  const std::vector<Setting>& command_line);

/// Understands a merged list.
/// Errors: one line that names the option and says what to change.
[[nodiscard]] Result<ServeOptions> understand(const std::vector<Setting>& settings);

}  // namespace sluice::control
