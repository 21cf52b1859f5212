// The congestion controls that simulations go over. A new one is added here, and its snapshots are
// taken with `scripts/dev snapshots`.
#pragma once

#include <array>

#include "tcp/congestion_control.h"

namespace sluice::sim {

struct NamedAlgorithm {
  const char* name;
  tcp::CongestionAlgorithm algorithm;
  bool wants_marks;  // the path marks early, and the client echoes every mark (RFC 8257)
};

inline constexpr std::array algorithms = {
    NamedAlgorithm{"cubic", tcp::CongestionAlgorithm::cubic, false},
    NamedAlgorithm{"new_reno", tcp::CongestionAlgorithm::new_reno, false},
    NamedAlgorithm{"bbr", tcp::CongestionAlgorithm::bbr, false},
    NamedAlgorithm{"dctcp", tcp::CongestionAlgorithm::dctcp, true},
};

}  // namespace sluice::sim
