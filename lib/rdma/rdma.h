// The mover over verbs: see rdma/rdma_mover.h. libibverbs and librdmacm are opened when this is
// called: a machine without them, or without a device, gets an Error that says so and nothing else.
#pragma once

#include <memory>

#include "base/result.h"
#include "mover/mover.h"

namespace sluice::rdma {

/// Errors: no library; no device, or not the one asked for; memory that cannot be registered; an
/// address that cannot be listened on. Each says what to do.
[[nodiscard]] Result<std::unique_ptr<mover::Mover>> open(const mover::Options& options);

}  // namespace sluice::rdma
