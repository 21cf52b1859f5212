// Waiting: an event that a mover has to tell and that was not taken yet. Small, because many may
// wait: a frame stays where it arrived until then.
#pragma once

#include <cstdint>

#include "replica/mover.h"

namespace sluice::mover {

struct Waiting {
  enum class Kind : uint8_t { up, dial_failed, frame, granted, revoked, done, landed, down };
  Kind kind = Kind::up;
  replica::LinkEnd end = replica::LinkEnd::closed_here;  // down
  uint32_t slot = 0;                                     // of the link
  uint32_t serial = 0;                                   // of the link
  uint32_t number = 0;   // dial, grant, write, or the immediate; where a frame lies
  uint32_t length = 0;   // landed
  const char* why = "";  // dial_failed
  replica::Window window;
};

/// Room for all that may wait for so many links: each grant may have its answer and its revocation
/// to be told, each write its end. `others`: what the mover itself bounds, over all links.
[[nodiscard]] inline uint32_t waiting_max(uint32_t links, uint32_t others) {
  return links * (2 * replica::grants_max + replica::writes_in_flight_max + 3) +
         2 * replica::links_max + others;
}

}  // namespace sluice::mover
