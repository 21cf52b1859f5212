// What both who dials and who accepts tells rdma_cm of a connection.
#pragma once

#include <array>
#include <cstdint>

#include "rdma/introduction.h"
#include "rdma/verbs.h"

namespace sluice::rdma {

// 4.096 us * 2^17 is 0.5 s; seven tries: 4 s until a peer that is gone is given up. (The default of
// rdma_cm is several times that; less is too little for a software device on a busy core.)
inline constexpr uint8_t ack_timeout = 17;
inline constexpr uint8_t retries = 6;  // rxe takes 7 for "without end" (rxe_comp.c)

/// Of a connect or an accept. Points to `introduction`.
[[nodiscard]] inline rdma_conn_param parameters_of(
    const std::array<std::byte, introduction_bytes>& introduction) {
  rdma_conn_param out{};
  out.private_data = introduction.data();
  out.private_data_len = introduction_bytes;
  // Neither side reads, or does atomics.
  out.responder_resources = 0;
  out.initiator_depth = 0;
  out.retry_count = retries;
  // Receives are the credits: one that is missing is an error, not a thing to wait for.
  out.rnr_retry_count = 0;
  return out;
}

inline void set_ack_timeout(const Verbs& verbs, rdma_cm_id* id) {
  uint8_t timeout = ack_timeout;
  verbs.set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout, sizeof timeout);
}

}  // namespace sluice::rdma
