// Load: many short connections, or few long ones, as fast as the server answers; each outcome
// counted.
//
// One thread, epoll. A connection is opened when another ends, so that `concurrent` of them are
// always under way. Time of a request: of a connection's first, from before connect() to the last
// byte of its response; of others, from sending it.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace sluice::perf {

struct LoadOptions {
  sockaddr_in server{};
  std::vector<in_addr> sources;  // used in turn; none: the kernel's choice
  std::string path;
  uint32_t connections = 1;
  uint32_t concurrent = 1;
  uint32_t requests = 1;      // on each connection
  bool ask_to_close = false;  // Connection: close on the last request
  uint64_t abort_after = 0;   // body bytes after which the connection is reset; 0: never
  Duration patience;          // for one request
  Duration time_max;          // for everything
};

struct LoadResult {
  uint64_t connections = 0;                  // opened
  uint64_t answered = 0;                     // requests with a whole 200, or aborted as told
  std::map<std::string, uint64_t> failures;  // by cause
  std::vector<Duration> times;               // of the answered requests, sorted
  Duration taken;
};

/// Errors: are in failures; what was not finished within time_max too.
[[nodiscard]] LoadResult run_load(const LoadOptions& options);

}  // namespace sluice::perf
