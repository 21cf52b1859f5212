// The TCP stand-in of RDMA: a mover over the kernel's sockets. It gives what RDMA gives, by other
// means: a write goes straight from the arena into a socket, and from a socket straight into the
// granted extent. The kernel copies; sluice does not.
//
// A link is one control connection for frames, so that these wait for no data, and `lanes` data
// connections. See stream/record.h for what travels on them.
#pragma once

#include <memory>

#include "base/result.h"
#include "mover/mover.h"

namespace sluice::stream {

/// Errors: an address that cannot be listened on, or bound to; no descriptors.
[[nodiscard]] Result<std::unique_ptr<mover::Mover>> open(const mover::Options& options);

}  // namespace sluice::stream
