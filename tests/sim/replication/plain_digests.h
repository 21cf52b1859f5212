// Digests without a library, for simulations. Checked against published vectors
// (plain_digests_test.cc).
#pragma once

#include "replica/digests.h"

namespace sluice::sim {

[[nodiscard]] replica::Digests plain_digests();

}  // namespace sluice::sim
