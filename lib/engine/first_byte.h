// FirstByteClock: how long requests wait for the first byte of their response.
//
// From the arrival of a request's last head byte to the description of the first frame with bytes
// of the response. Only requests that begin on a connection with nothing unacknowledged are
// measured: behind an earlier response the wait is the client's own. A bounded number at a time,
// one per place; a connection whose place is taken is not measured, whatever it asks for, so that
// slow answers are counted as often as fast ones. Runs on its worker; the histogram may be read by
// any thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/index_pool.h"
#include "base/time.h"
#include "stats/histogram.h"

namespace sluice::engine {

class FirstByteClock {
 public:
  /// A request is whole. Called again for the same request (it had to wait), the first call counts.
  void begin(Instant now, uint32_t connection) {
    Place& place = places_[connection % places_.size()];
    if (place.connection == IndexPool::none) place = {now, connection};
  }
  /// A frame with bytes of a response leaves.
  void sent(Instant now, uint32_t connection) {
    Place& place = places_[connection % places_.size()];
    if (place.connection != connection) return;
    waited_ns_.record(static_cast<uint64_t>((now - place.begun).ns()));
    place.connection = IndexPool::none;
  }
  /// The connection is over, answered or not.
  void forget(uint32_t connection) {
    Place& place = places_[connection % places_.size()];
    if (place.connection == connection) place.connection = IndexPool::none;
  }

  /// Units: nanoseconds.
  [[nodiscard]] const stats::Histogram& waited_ns() const { return waited_ns_; }

 private:
  struct Place {
    Instant begun;
    uint32_t connection = IndexPool::none;
  };
  std::array<Place, 64> places_;
  stats::Histogram waited_ns_;
};

}  // namespace sluice::engine
