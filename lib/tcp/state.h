// The states of a connection, and its name inside one Stack.
#pragma once

#include <cstdint>

#include "base/strong_index.h"

namespace sluice::tcp {

/// A connection of one Stack, below Config::max_connections.
using ConnectionIndex = StrongIndex<struct ConnectionTag>;

/// RFC 9293 section 3.3.2, without LISTEN (the ports of the Config), SYN-SENT (passive opens only)
/// and TIME-WAIT (TimeWaitTable). The order is used: from `established` to `close_wait` ... see
/// the predicates.
enum class State : uint8_t {
  closed,
  syn_received,
  established,
  close_wait,  // the peer's FIN came
  fin_wait_1,  // close() was called: our FIN follows what is queued, or is on its way
  closing,     // as fin_wait_1, and the peer's FIN came
  last_ack,    // the peer's FIN came first, then close()
  fin_wait_2,  // our FIN is acknowledged
};

/// May the session still queue bytes?
[[nodiscard]] constexpr bool may_send(State state) {
  return state == State::established || state == State::close_wait;
}
/// May the peer still send?
[[nodiscard]] constexpr bool may_receive(State state) {
  return state == State::established || state == State::fin_wait_1 || state == State::fin_wait_2;
}
/// Did the session call close()?
[[nodiscard]] constexpr bool fin_queued(State state) {
  return state == State::fin_wait_1 || state == State::closing || state == State::last_ack ||
         state == State::fin_wait_2;
}

/// How losses are being repaired.
enum class RecoveryMode : uint8_t {
  open,  // nothing is known to be lost
  fast,  // after duplicate ACKs or SACK: RFC 6675, RFC 9937
  rto,   // after the retransmission timer: slow start from one segment
};

}  // namespace sluice::tcp
