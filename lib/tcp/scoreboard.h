// Scoreboard: which bytes above SND.UNA the peer says it has.
//
// Read first: RFC 2018, RFC 6675 sections 2 to 4. Taken from a pool when the first SACK block comes
// and given back when the gaps are closed.
//
// Invariants: ranges are sorted, do not touch or overlap, are not empty, and lie above SND.UNA. A
// bounded number of them: when it is full the highest range is forgotten, which costs at worst that
// its bytes are sent again.
#pragma once

#include <cstdint>

#include "base/fixed_vector.h"
#include "tcp/reassembler.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

// RFC 6675 section 2, RFC 5681 section 2: DupThresh.
inline constexpr uint32_t dup_thresh = 3;

class Scoreboard {
 public:
  static constexpr size_t ranges_max = 64;

  void clear() {
    ranges_.clear();
    sacked_bytes_ = 0;
  }

  /// Notes that the peer has `range`. Requires: not empty, above SND.UNA, not beyond SND.NXT.
  /// Returns: bytes that were not known before.
  uint32_t add(StreamRange range);
  /// SND.UNA has moved.
  void advance(StreamOffset snd_una);

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] uint32_t sacked_bytes() const { return sacked_bytes_; }
  [[nodiscard]] const FixedVector<StreamRange, ranges_max>& ranges() const { return ranges_; }
  /// The end of the highest range. Requires: !empty().
  [[nodiscard]] StreamOffset highest() const { return ranges_.back().end; }
  /// The beginning of the lowest range. Requires: !empty().
  [[nodiscard]] StreamOffset lowest() const { return ranges_[0].begin; }

  /// Every byte below the returned offset that was not SACKed is lost: DupThresh discontiguous
  /// ranges, or more than (DupThresh - 1) * mss bytes, have been SACKed above it. Returns
  /// StreamOffset() when nothing is.
  /// Source: RFC 6675 section 4, IsLost ().
  [[nodiscard]] StreamOffset lost_edge(uint32_t mss) const;

  /// The first run of bytes in [from, to) that was not SACKed; empty when there is none.
  [[nodiscard]] StreamRange next_hole(StreamOffset from, StreamOffset to) const;
  /// Bytes in [from, to) that were not SACKed.
  [[nodiscard]] uint32_t unsacked_bytes(StreamOffset from, StreamOffset to) const;

 private:
  FixedVector<StreamRange, ranges_max> ranges_;
  uint32_t sacked_bytes_ = 0;
};

}  // namespace sluice::tcp
