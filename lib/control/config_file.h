// The config file of sluiced: TOML with the names of the command line. See docs/operations.md.
//
//   root = "/srv/www"
//   cache = "64G"
//   workers = 8
//
//   [[port]]
//   spec = "0000:01:00.0"
//   ip = ["192.0.2.1/24", "2001:db8::1/64"]
//   gateway = "192.0.2.254"
//
//   eal = ["--log-level=lib.eal:debug"]     # what stands behind -- on the command line
//
// With one port, `port = "tap"` and `ip = ...` may stand at the top level instead.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/serve_options.h"

namespace sluice::control {

struct ConfigFile {
  std::vector<Setting> settings;  // in an order that understand() takes
  std::vector<std::string> eal_arguments;
};

/// Errors: not TOML (with the line), an unknown key, a value of the wrong type.
[[nodiscard]] Result<ConfigFile> parse_config(std::string_view text);

/// Reads and parses; errors name the file.
[[nodiscard]] Result<ConfigFile> read_config(const std::string& path);

}  // namespace sluice::control
