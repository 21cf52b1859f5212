// RouterList: IPv6 default routers learned from advertisements. Read first: RFC 4861 section 6.3.
//
// Bounded; a full list ignores further routers. Runs on its worker.
#pragma once

#include <cstdint>

#include "base/fixed_vector.h"
#include "base/time.h"
#include "inet/address.h"

namespace sluice::inet {

class RouterList {
 public:
  static constexpr size_t routers_max = 4;

  struct Heard {
    Address router;
    Duration lifetime;      // zero: it is no default router (any more)
    int8_t preference = 0;  // RFC 4191
  };
  /// Returns false when the list is full.
  [[nodiscard]] bool handle_advertisement(Instant now, const Heard& heard);
  /// It turned out not to be a router, or not to answer.
  void remove(const Address& router);
  void handle_timeout(Instant now);
  [[nodiscard]] Instant next_timeout() const;

  /// Routers, most preferred first.
  [[nodiscard]] size_t size() const { return routers_.size(); }
  [[nodiscard]] const Address& router(size_t index) const { return routers_[index].address; }

 private:
  struct Router {
    Address address;
    Instant expires_at;
    int8_t preference = 0;
  };
  FixedVector<Router, routers_max> routers_;
};

}  // namespace sluice::inet
