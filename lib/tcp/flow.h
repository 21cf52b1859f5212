// Flow: what names a connection, and its keyed hash.
#pragma once

#include <cstdint>

#include "base/siphash.h"
#include "inet/address.h"

namespace sluice::tcp {

struct Flow {
  inet::Address remote;
  uint16_t remote_port = 0;
  uint16_t local_port = 0;
  uint8_t local = 0;  // index of our address, as inet::Inet numbers them

  constexpr bool operator==(const Flow&) const = default;
};
static_assert(sizeof(Flow) == 24);

/// The hash of every table that is indexed by a flow: a peer that does not know the key cannot make
/// flows collide. Tables go by its low half; what else is derived of a flow is made of the whole
/// (tcp/isn.h, tcp/syn_cookie.h), so that a SYN costs one hash of its flow.
[[nodiscard]] uint64_t flow_hash(const SipKey& key, const Flow& flow);

}  // namespace sluice::tcp
