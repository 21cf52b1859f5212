// DpdkLog: what DPDK logs while something is opened or started, kept for the one line that matters.
//
// Drivers complain of much that is well (a tap without the multiq queueing discipline), but when
// they fail their own words say more than the error code. libbpf and libxdp, which the AF_XDP
// driver loads, print by themselves; they are listened to as well. Control thread only; one at a
// time.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace sluice::nic {

class DpdkLog {
 public:
  DpdkLog();
  ~DpdkLog();
  DpdkLog(const DpdkLog&) = delete;
  DpdkLog& operator=(const DpdkLog&) = delete;

  /// What was logged so far, in one line, as " (...)"; empty if nothing was.
  [[nodiscard]] std::string said();

  /// Prints captured text to standard error too, from now on. For --verbose.
  static void set_verbose(bool verbose);

 private:
  char* text_ = nullptr;
  size_t length_ = 0;
  FILE* stream_ = nullptr;
};

}  // namespace sluice::nic
