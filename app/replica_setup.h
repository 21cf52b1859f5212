// ReplicaSetup: from the operator's options to what the replica's thread needs: identity, secret,
// movers, addresses. Before any thread is started; errors are one line that says what to change.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arena/arena.h"
#include "base/result.h"
#include "budget.h"
#include "cluster/etcd_registry.h"
#include "control/serve_options.h"
#include "mover/mover.h"
#include "replica/node.h"

namespace sluice::app {

/// The same for the same name, on every node and after every start; never none.
[[nodiscard]] replica::NodeId node_id_of(std::string_view name);

/// Errors: cannot be read, may be read by everybody, too short or too long.
[[nodiscard]] Result<std::vector<std::byte>> read_cluster_key(const std::string& path);

/// HOST:PORT with the host's address in its place.
/// Errors: the host is not known.
[[nodiscard]] Result<std::string> resolve(std::string_view host_port);

/// Errors: as the above.
[[nodiscard]] Result<replica::NodeConfig> node_config(const control::ReplicaOptions& options,
                                                      const Plan& plan);

using Movers = std::array<std::unique_ptr<mover::Mover>, replica::transport_count>;
/// Errors: an address that cannot be listened on; RDMA is required and cannot be had.
/// `notes`: lines for the log.
[[nodiscard]] Result<Movers> open_movers(const control::ReplicaOptions& options,
                                         const arena::Arena& arena, uint32_t links_max,
                                         std::vector<std::string>& notes);

/// Errors: as EtcdRegistry::create.
[[nodiscard]] Result<std::unique_ptr<cluster::EtcdRegistry>> open_registry(
    const control::ReplicaOptions& options, const replica::NodeConfig& node);

/// The arena's chunks, without head slots.
[[nodiscard]] content::ArenaView chunks_of(const arena::Arena& arena);

}  // namespace sluice::app
