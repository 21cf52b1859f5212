// Daemon: sluiced itself, wired together. What is made here, in this order, and taken apart in the
// reverse one:
//
//   Eal -> Ports (probed) -> Arena -> per worker and port: ChunkPins, Counters, Engine -> Ports
//   started -> StoreThread -> Workers launched -> ReplicaThread (where it is on) -> Telemetry
//
// Threads: the one that calls run() is the control thread (signals); the store's; one for each
// worker, pinned; the replica's and its helper; DPDK's own (telemetry, interrupts).
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "answers.h"
#include "arena/arena.h"
#include "base/result.h"
#include "budget.h"
#include "check.h"
#include "control/serve_options.h"
#include "disk/store_thread.h"
#include "engine/engine.h"
#include "http/media_types.h"
#include "nic/eal.h"
#include "nic/port.h"
#include "nic/port_spec.h"
#include "replica_thread.h"
#include "telemetry.h"
#include "worker_loop.h"

namespace sluice::app {

/// The ports as they can be known before DPDK runs.
struct PortList {
  std::vector<nic::PortSpec> specs;
  std::vector<PortGuess> guesses;
};
/// Errors: a spec that is none; no driver profiles to be found.
[[nodiscard]] Result<PortList> examine_ports(const control::ServeOptions& options);

class Daemon {
 public:
  Daemon(const control::ServeOptions& options, Budget budget);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  /// Starts everything. Requires: the budget refused nothing; signals are blocked.
  /// Errors: one line that says what to change.
  [[nodiscard]] Result<void> start(const std::vector<nic::PortSpec>& specs);
  /// Instead of start(): ports and memory alone, as start() would make them, and nothing is sent.
  /// Waits a few seconds for the links. Requires and errors: as start().
  [[nodiscard]] Result<std::vector<PortTrial>> try_ports(const std::vector<nic::PortSpec>& specs);
  /// Serves until a signal, or /sluice/drain, has ended it. Returns the exit status.
  [[nodiscard]] int run();

 private:
  // One worker's end of one port, and what its engine needs.
  struct Cell {
    std::unique_ptr<content::ChunkPins> pins;
    std::unique_ptr<stats::Counters> counters;
    std::unique_ptr<engine::Engine> engine;
  };

  [[nodiscard]] Result<void> start_eal(const std::vector<nic::PortSpec>& specs);
  [[nodiscard]] Result<void> open_ports(const std::vector<nic::PortSpec>& specs);
  [[nodiscard]] Result<void> make_arena();
  void make_engines();
  [[nodiscard]] engine::Config engine_config(size_t port, uint32_t worker) const;
  [[nodiscard]] Result<void> start_ports();
  [[nodiscard]] Result<void> start_store();
  [[nodiscard]] Result<void> start_workers();
  [[nodiscard]] Result<void> start_telemetry();
  // daemon_replica.cc
  [[nodiscard]] Result<void> identify_node();
  [[nodiscard]] Result<void> prepare_replica();
  [[nodiscard]] Result<void> start_replica();
  void log_ready() const;
  void stop();

  [[nodiscard]] Cell& cell(size_t port, uint32_t worker) {
    return cells_[port * budget_.plan.workers + worker];
  }
  // Waits for a signal or an order to drain. Returns false when `patience` is over first.
  [[nodiscard]] bool wait(Duration patience);
  [[nodiscard]] int drain();
  [[nodiscard]] bool all_drained() const;

  control::ServeOptions options_;
  Budget budget_;
  std::unique_ptr<http::MediaTypes> media_types_;
  SipKey fast_open_key_;    // of all engines: a client's next connection may come to another
  int signals_ = -1;        // signalfd
  int drain_ordered_ = -1;  // eventfd: written by /sluice/drain
  std::atomic<bool> draining_{false};

  std::optional<nic::Eal> eal_;
  std::optional<arena::Arena> arena_;
  std::vector<Cell> cells_;  // by port, then worker: the store's numbering too
  std::vector<std::unique_ptr<nic::Doorbell>> bells_;  // by worker
  std::vector<std::unique_ptr<nic::Port>> ports_;
  bool ports_started_ = false;
  // Of the Node, where replication is on.
  std::optional<replica::NodeConfig> node_config_;
  std::unique_ptr<content::ChunkPins> node_pins_;
  std::unique_ptr<stats::Counters> node_counters_;
  std::unique_ptr<disk::Waker> node_waker_;
  std::unique_ptr<disk::StoreThread> store_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<uint32_t> launched_;
  std::unique_ptr<ReplicaThread> replica_;
  std::optional<Telemetry> telemetry_;
};

/// Blocks the signals that Daemon::run() waits for. Before any thread is started.
void block_signals();

}  // namespace sluice::app
