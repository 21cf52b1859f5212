// Transfers: what moved between this node and its peers lately, for `sluicectl transfers`. For
// people: bounded, and the row that was idle longest makes way.
#pragma once

#include <array>
#include <vector>

#include "base/time.h"
#include "replica/node_config.h"

namespace sluice::replica {

class Transfers {
 public:
  static constexpr uint32_t rows_max = 64;
  static constexpr Duration rate_every = 500_ms;
  static constexpr Duration shown_for = 30_s;  // after the last piece

  struct Move {
    GenerationId generation;
    NodeId peer;
    Transport transport = Transport::tcp;
    bool incoming = false;
    uint32_t bytes = 0;
    Duration lag;
  };
  void note(Instant now, const Move& move);
  /// The rows but for path and total.
  [[nodiscard]] std::vector<TransferRow> rows(Instant now) const;

 private:
  struct Row {
    TransferRow shown;
    Instant last_at;
    Instant window_at;
    uint64_t window_bytes = 0;
  };
  std::array<Row, rows_max> rows_;
};

}  // namespace sluice::replica
