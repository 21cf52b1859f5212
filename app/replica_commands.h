// ReplicaCommands: the subcommands of sluicectl about replication. No DPDK.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "control/telemetry_client.h"

namespace sluice::app {

/// Exit status of `sluicectl publish`, besides 0 (published) and those of every command.
inline constexpr int exit_degraded = 4;  // it is served, but of fewer nodes than asked for
inline constexpr int exit_publish_failed = 5;
inline constexpr int exit_under_way = 6;  // --wait is over

class ReplicaCommands {
 public:
  /// Adds the subcommands. Requires: `app` outlives this.
  explicit ReplicaCommands(CLI::App& app);
  /// One of them was given.
  [[nodiscard]] bool parsed() const;
  /// Returns the exit status.
  [[nodiscard]] int run(control::TelemetryClient& client) const;

 private:
  [[nodiscard]] int publish(control::TelemetryClient& client) const;
  [[nodiscard]] int unpublish(control::TelemetryClient& client) const;
  [[nodiscard]] int follow(control::TelemetryClient& client, uint64_t ticket) const;
  [[nodiscard]] int list(control::TelemetryClient& client, const char* what) const;
  [[nodiscard]] int peers(control::TelemetryClient& client) const;
  [[nodiscard]] std::string relative_path() const;

  CLI::App* publish_ = nullptr;
  CLI::App* unpublish_ = nullptr;
  CLI::App* replicas_ = nullptr;
  CLI::App* peers_ = nullptr;
  CLI::App* transfers_ = nullptr;
  std::string path_;
  unsigned copies_ = 2;
  double wait_s_ = 60;
  bool json_ = false;
};

}  // namespace sluice::app
