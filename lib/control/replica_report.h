// ReplicaReport: what sluicectl makes of the answers about replication. Pure: JSON in, text out.
#pragma once

#include <string>

#include "control/telemetry_client.h"

namespace sluice::control {

/// A long path comes in parts: one string again, in every row, for people and for --json.
[[nodiscard]] Json join_paths(const Json& rows);

/// The tables of `sluicectl replicas`, `peers` and `transfers`.
[[nodiscard]] std::string format_replicas(const Json& rows);
[[nodiscard]] std::string format_peers(const Json& rows);
[[nodiscard]] std::string format_transfers(const Json& rows);

/// How a publication stands, in one line.
[[nodiscard]] std::string format_publication(const Json& publication);

}  // namespace sluice::control
