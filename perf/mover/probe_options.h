// The command line of sluice-mover-probe.
#pragma once

#include <string>

#include "base/result.h"
#include "mover/mover.h"

namespace sluice::perf {

enum class Fault : uint8_t {
  none,
  wrong_key,  // the writer, at its tenth write: a key that was never given
  beyond,     // the writer, at its tenth write: an address outside the window
  revoked,    // the fetcher, at its tenth piece: the window is revoked before the peer hears of it
};

struct ProbeOptions {
  replica::Transport transport = replica::Transport::tcp;
  mover::Options mover;
  std::string dial;  // HOST:PORT; empty: only listens
  uint32_t mib = 64;
  uint32_t write_bytes = 1u << 20;
  uint32_t window = 16;  // pieces under way
  bool fetch = true;     // the dialler takes pieces from the listener
  bool give = false;     // the listener takes pieces from the dialler
  bool verify = true;
  Fault fault = Fault::none;
  uint32_t links = 1;    // one after another
  uint32_t watch_s = 1;  // after a link's end: does anything still write?
};

[[nodiscard]] Result<ProbeOptions> parse_options(int count, char** words);

}  // namespace sluice::perf
