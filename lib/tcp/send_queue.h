// SendQueue: what is to be sent and what may have to be sent again, described, never copied: a
// bounded list of spans addressed by stream offset.
//
// Read first: docs/decisions/0002-leases.md. A head slot's span holds the pin that came with it; an
// object's span holds one reference to the object and no pin: its bytes are found in the arena when
// they are sent, and found again when they are sent again. One lease follows the bytes sent first.
//
//   spans    | head slot | object .............. | head slot | object ...... |
//            ^ begin()        ^ SND.UNA   ^ SND.NXT                          ^ end()
#pragma once

#include <array>
#include <cstdint>

#include "base/fixed_vector.h"
#include "base/time.h"
#include "content/catalog.h"
#include "content/ids.h"
#include "tcp/seq_number.h"
#include "wire/frame.h"

namespace sluice::tcp {

/// A run of bytes of one source.
struct Span {
  uint64_t offset_bytes = 0;  // of the first byte within the slot or the object
  uint64_t length_bytes = 0;
  uint32_t source = 0;  // content::ChunkIndex of a head slot, or content::ObjectHandle
  bool is_object = false;
};

class SendQueue {
 public:
  // A response is two spans: pipelining goes eight responses deep before it waits for an ACK.
  static constexpr size_t spans_max = 16;
  using Extents = FixedVector<content::Extent, wire::TxFrame::extents_max>;

  void reset(StreamOffset begin);

  /// Returns false, and changes nothing, when full. Requires: length_bytes > 0.
  [[nodiscard]] bool push(const Span& span);
  /// Takes out the first span if all of it is before `snd_una`. The caller lets go of its source.
  [[nodiscard]] bool pop_acknowledged(StreamOffset snd_una, Span& out);
  /// Takes out the first span, whatever was acknowledged. Returns false when there is none.
  [[nodiscard]] bool pop(Span& out);

  [[nodiscard]] StreamOffset begin() const { return begin_; }
  [[nodiscard]] StreamOffset end() const { return end_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] size_t spans_free() const { return spans_max - count_; }

  enum class Stop : uint8_t {
    done,     // all of it, or as much as a frame has extents for
    missing,  // up to content that is not in the arena
    gone,     // up to content that can be read no more
  };
  struct Described {
    uint32_t bytes = 0;
    Stop stop = Stop::done;
    content::ObjectHandle object;  // with `missing`
    uint64_t offset_bytes = 0;     // with `missing`
  };
  struct Range {
    StreamOffset from;
    uint32_t max_bytes = 0;
    bool again = false;  // a retransmission: the lease stays where it is, nothing is read ahead
  };
  /// Appends the extents of a range, as far as they can be had.
  /// Requires: begin() <= from, from + max_bytes <= end().
  [[nodiscard]] Described describe(Instant now, content::Catalog& catalog, const Range& range,
                                   Extents& out);
  void drop_lease(content::Catalog& catalog) { catalog.drop(lease_); }

 private:
  [[nodiscard]] Span& at(size_t i) { return spans_[(first_ + i) % spans_max]; }
  void seek(StreamOffset from);

  std::array<Span, spans_max> spans_;
  StreamOffset begin_;
  StreamOffset end_;
  // The span that was described last, counted from first_, and where it begins.
  StreamOffset cursor_begin_;
  uint8_t cursor_ = 0;
  uint8_t first_ = 0;
  uint8_t count_ = 0;
  content::Lease lease_;
};

}  // namespace sluice::tcp
