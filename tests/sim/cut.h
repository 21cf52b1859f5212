// From a described train to the frames that a NIC would put on the wire, checksums complete.
#pragma once

#include <vector>

#include "content/arena_view.h"
#include "raw_frames.h"
#include "wire/frame.h"

namespace sluice::sim {

/// Reads the train's extents out of the arena as they are now.
[[nodiscard]] std::vector<Frame> cut(const wire::TxFrame& frame, const content::ArenaView& arena);

}  // namespace sluice::sim
