// What the kernel knows of a network interface that a port stands on. Control thread only.
#pragma once

#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace sluice::nic {

struct KernelInterface {
  uint16_t mtu = 1500;
  uint16_t rx_queues = 1;
  bool has_combined_queues = false;  // ethtool -l: combined, not rx and tx apart (veth)
  bool is_up = false;
};

/// Errors: there is no such interface in this network namespace.
[[nodiscard]] Result<KernelInterface> read_interface(const std::string& name);

[[nodiscard]] Result<void> set_interface_mtu(const std::string& name, uint16_t mtu);

/// While it lives, every real-time signal that nobody handles is ignored. net_tap takes the first
/// unhandled one and has the kernel send it for each frame that arrives (F_SETSIG): a signal costs
/// more than the read it saves once there is traffic, and it interrupts system calls of threads
/// that have nothing to do with it. Finding none free, the driver simply reads.
/// Source: tun_alloc() in drivers/net/tap/rte_eth_tap.c.
class RealtimeSignalsIgnored {
 public:
  explicit RealtimeSignalsIgnored(bool wanted);
  ~RealtimeSignalsIgnored();
  RealtimeSignalsIgnored(const RealtimeSignalsIgnored&) = delete;
  RealtimeSignalsIgnored& operator=(const RealtimeSignalsIgnored&) = delete;

 private:
  std::vector<int> changed_;
};

}  // namespace sluice::nic
