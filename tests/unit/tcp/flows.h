// Flows for tests: documentation addresses.
#pragma once

#include "tcp/flow.h"

namespace sluice::tcp {

inline Flow flow_from(uint16_t remote_port) {
  return {.remote = inet::Address::v4(0xc000'0201), .remote_port = remote_port, .local_port = 80};
}

}  // namespace sluice::tcp
