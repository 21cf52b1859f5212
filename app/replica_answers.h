// ReplicaAnswers: the telemetry commands of replication. See docs/operations.md.
//
//   /sluice/publish,COPIES,PATH     begins; {"ticket": N}, or {"error": why}
//   /sluice/unpublish,PATH          likewise
//   /sluice/publication,TICKET      how it stands
//   /sluice/replicas[,FROM]         a page of generations, and where to go on
//   /sluice/peers                   each node known, and its links
//   /sluice/transfers[,FROM]        a page of what is on its way
#pragma once

#include <vector>

#include "replica_thread.h"
#include "telemetry.h"

namespace sluice::app {

/// `thread` outlives the Telemetry; nullptr: replication is off, and the commands say so.
[[nodiscard]] std::vector<Command> make_replica_commands(ReplicaThread* thread);

}  // namespace sluice::app
