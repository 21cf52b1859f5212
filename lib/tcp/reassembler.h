// Reassembler: which bytes have arrived behind a gap, and where they wait.
//
// Read first: RFC 9293 section 3.10.7.4 (seventh step), RFC 2018, RFC 2883. The bytes lie in the
// receive buffer that the connection has while it needs one, at the place they will be read from:
//
//   buffer   | unread, in order | gap | waiting | gap | waiting |  free  |
//                               ^next()                                  ^
//                               |--------------- window -----------------|
//
// Invariants: ranges are sorted, do not touch, are not empty, and lie behind next(). A bounded
// number of them: a segment that would make one more is not kept (the peer sends it again), so a
// peer that sends every other byte costs us nothing.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/fixed_vector.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// [begin, end) of the stream.
struct StreamRange {
  StreamOffset begin;
  StreamOffset end;

  bool operator==(const StreamRange&) const = default;
  [[nodiscard]] bool empty() const { return begin == end; }
};

class Reassembler {
 public:
  static constexpr size_t ranges_max = 8;
  // RFC 2018 section 3: with the timestamp option at most 3 blocks fit the header, without it 4.
  static constexpr size_t sack_blocks_max = 4;
  using SackBlocks = FixedVector<StreamRange, sack_blocks_max>;

  enum class Outcome : uint8_t {
    in_order,        // next() moved
    stored,          // waits behind a gap; some of it was new
    duplicate,       // nothing new
    outside_window,  // nothing of it inside the window
    too_many_gaps,   // not kept: it would have made one range too many
  };
  struct Inserted {
    Outcome outcome = Outcome::duplicate;
    // Bytes by which next() moved: they are readable now.
    uint32_t newly_contiguous = 0;
    // What had arrived before, for RFC 2883; empty when everything was new.
    StreamRange duplicate;
  };

  /// Starts over: nothing waits, and `next` is the first byte not yet received.
  void reset(StreamOffset next);

  /// Puts `data`, which begins at `offset` of the stream, into the window and says what became
  /// readable. Parts before next() or behind the window are cut off.
  ///
  /// `window` is the buffer from the place of byte next() on; data that is in order already may be
  /// its very self (then nothing is copied).
  [[nodiscard]] Inserted insert(StreamOffset offset, Bytes data, MutableBytes window);

  /// Moves next() over bytes that were taken straight from a segment, or over a SYN or FIN.
  /// Requires: nothing waits.
  void skip(uint64_t count);

  /// The first byte not yet received: RCV.NXT.
  [[nodiscard]] StreamOffset next() const { return next_; }
  /// True when there is no gap. Then no buffer is needed for what has been read.
  [[nodiscard]] bool is_empty() const { return ranges_.empty(); }
  /// Bytes from next() to the end of what waits: as much of the window is in use.
  [[nodiscard]] uint32_t span_bytes() const;
  [[nodiscard]] size_t range_count() const { return ranges_.size(); }

  /// The blocks to report, the one that the latest segment fell into first (RFC 2018 section 4).
  /// A `duplicate` that is not empty comes before all (RFC 2883 section 4).
  /// Returns: at most `limit`, which is at most sack_blocks_max.
  [[nodiscard]] SackBlocks sack_blocks(size_t limit, const StreamRange& duplicate = {}) const;

 private:
  struct Waiting {
    StreamRange range;
    uint32_t touched = 0;  // the higher, the more recent
  };
  [[nodiscard]] StreamRange known_part(const StreamRange& arrived) const;
  [[nodiscard]] bool merge(StreamRange added);
  [[nodiscard]] uint32_t advance_to(StreamOffset end);

  StreamOffset next_;
  uint32_t touches_ = 0;
  FixedVector<Waiting, ranges_max> ranges_;
};

}  // namespace sluice::tcp
