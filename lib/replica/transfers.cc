#include "replica/transfers.h"

#include <algorithm>

namespace sluice::replica {

void Transfers::note(Instant now, const Move& move) {
  Row* row = &rows_[0];
  for (Row& each : rows_) {
    const TransferRow& shown = each.shown;
    if (shown.generation == move.generation && shown.peer == move.peer &&
        shown.incoming == move.incoming && shown.transport == move.transport) {
      row = &each;
      break;
    }
    if (each.last_at < row->last_at) row = &each;
  }
  const bool is_same = row->shown.generation == move.generation && row->shown.peer == move.peer &&
                       row->shown.incoming == move.incoming &&
                       row->shown.transport == move.transport;
  if (!is_same) {
    *row = Row{};
    row->shown.generation = move.generation;
    row->shown.peer = move.peer;
    row->shown.incoming = move.incoming;
    row->shown.transport = move.transport;
    row->window_at = now;
  }
  row->last_at = now;
  row->shown.bytes_done += move.bytes;
  row->shown.lag_ms = static_cast<uint32_t>(move.lag.ms());
  row->window_bytes += move.bytes;
  const Duration window = now - row->window_at;
  if (window < rate_every) return;
  row->shown.bytes_per_s = static_cast<uint64_t>(static_cast<double>(row->window_bytes) * 1e9 /
                                                 static_cast<double>(window.ns()));
  row->window_at = now;
  row->window_bytes = 0;
}

std::vector<TransferRow> Transfers::rows(Instant now) const {
  std::vector<TransferRow> out;
  for (const Row& row : rows_) {
    if (row.shown.generation.is_none() || now - row.last_at > shown_for) continue;
    TransferRow& shown = out.emplace_back(row.shown);
    if (now - row.last_at > 2 * rate_every) shown.bytes_per_s = 0;  // nothing moves now
  }
  return out;
}

}  // namespace sluice::replica
