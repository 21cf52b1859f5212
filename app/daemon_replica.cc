// Daemon: what it makes for replication, where that is on.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include "daemon.h"
#include "replica_setup.h"

namespace sluice::app {

// First of all: what is wrong with the options is said before a port is touched.
Result<void> Daemon::identify_node() {
  if (!budget_.plan.replica.enabled) return {};
  Result<replica::NodeConfig> config = node_config(options_.replica, budget_.plan);
  if (!config) return fail(config.error());
  node_config_ = *std::move(config);
  return {};
}

// What the store has to know of the Node.
Result<void> Daemon::prepare_replica() {
  node_pins_ = std::make_unique<content::ChunkPins>(budget_.plan.chunk_count, 0);
  node_counters_ = std::make_unique<stats::Counters>();
  node_waker_ = std::make_unique<disk::Waker>();
  if (!node_waker_->is_open()) return fail("replica: " + std::string(strerror(errno)));
  return {};
}

Result<void> Daemon::start_replica() {
  if (!node_config_) return {};
  std::vector<std::string> notes;
  Result<Movers> movers =
      open_movers(options_.replica, *arena_, budget_.plan.replica.links_max, notes);
  if (!movers) return fail(movers.error());
  ReplicaThreadOptions options;
  options.node = *node_config_;
  options.node.prefer_rdma = (*movers)[static_cast<size_t>(replica::Transport::rdma)] != nullptr;
  options.arena = chunks_of(*arena_);
  options.pins = node_pins_.get();
  options.mailbox = &store_->mailbox(budget_.plan.engines);
  options.overlay = &store_->overlay();
  options.waker = node_waker_.get();
  options.counters = node_counters_.get();
  options.movers = *std::move(movers);
  if (!options_.replica.etcd.empty()) {
    Result<std::unique_ptr<cluster::EtcdRegistry>> registry =
        open_registry(options_.replica, *node_config_);
    if (!registry) return fail(registry.error());
    options.registry = *std::move(registry);
  }
  options.client_tx_bytes = [this] {
    uint64_t sum = 0;
    for (const Cell& each : cells_) sum += each.counters->get(stats::Counter::tx_bytes);
    return sum;
  };
  options.copies = options_.replica.copies;
  options.root = options_.root;
  options.files_max = budget_.plan.replica.overlay.generations_max;
  replica_ = std::make_unique<ReplicaThread>(std::move(options));
  for (const std::string& note : notes) spdlog::info("replica: {}", note);
  spdlog::info("replica: node {}, {}", options_.replica.node_name, replica_->description());
  replica_->start();
  return {};
}

}  // namespace sluice::app
