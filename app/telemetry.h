// Our commands in DPDK's own telemetry: what dpdk-telemetry.py and sluicectl ask.
//
// Answers run on DPDK's telemetry threads, several at a time perhaps, and never on a worker: the
// socket answers while the workers are saturated.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::app {

using Json = nlohmann::ordered_json;

struct Command {
  std::string name;  // "/sluice/stats"
  std::string help;  // at most 63 bytes
  /// Gets what stands behind the comma. Returns nothing when that makes no sense.
  std::function<std::optional<Json>(std::string_view parameters)> answer;
};

/// Registers the commands with DPDK while it lives. One at a time.
class Telemetry {
 public:
  /// Errors: DPDK has no room for them.
  [[nodiscard]] static Result<Telemetry> start(std::vector<Command> commands);
  Telemetry(Telemetry&& other) noexcept;
  Telemetry& operator=(Telemetry&&) = delete;
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;
  /// Waits for answers that are being made; refuses from then on.
  ~Telemetry();

 private:
  Telemetry() = default;
  bool owner_ = false;
};

}  // namespace sluice::app
