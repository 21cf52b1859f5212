// Answers: what the telemetry commands tell of a running sluiced. See docs/operations.md.
//
//   /sluice/info                       what runs, where, since when
//   /sluice/stats[,total|store|replica|N]  the counter catalogue by layer: the sum, the store's,
//   the
//                                      replica's, worker N's; the layer `replica` only in its own
//   /sluice/workers                    each worker: core, load, gauges
//   /sluice/connections[,W,LANE,FROM]  a page of connections, like ss -ti, and where to go on
//   /sluice/ports                      each port: device, driver, offloads, device counters
//   /sluice/budget                     what was computed at start
//   /sluice/drain                      begins to drain
// and those of replica_answers.h
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "arena/arena.h"
#include "budget.h"
#include "control/serve_options.h"
#include "disk/store_thread.h"
#include "nic/eal.h"
#include "nic/port.h"
#include "replica_thread.h"
#include "telemetry.h"
#include "worker_loop.h"

namespace sluice::app {

/// What answers are made of. All of it outlives the Telemetry.
struct Running {
  const control::ServeOptions* options = nullptr;
  const Budget* budget = nullptr;
  const nic::Eal* eal = nullptr;
  const arena::Arena* arena = nullptr;
  const disk::StoreThread* store = nullptr;
  ReplicaThread* replica = nullptr;  // nullptr: off
  std::vector<const nic::Port*> ports;
  std::vector<Worker*> workers;
  Instant started;
  std::function<void()> begin_drain;  // may be called from any thread, any number of times
  std::function<bool()> is_draining;
};

/// The commands; `running` is copied.
[[nodiscard]] std::vector<Command> make_commands(const Running& running);

}  // namespace sluice::app
