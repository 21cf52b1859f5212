// Eal: DPDK's environment layer, started with arguments of our own making, ended with the object.
//
// One per process (DPDK keeps global state). The main thread, and what it starts later, floats over
// the process's CPUs that no worker has (over all, where none is left); worker i runs on a thread
// of its own, pinned to the i-th core asked for. Telemetry is on: its socket is
// <runtime_directory>/dpdk_telemetry.v2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace sluice::nic {

enum class PacketMemory : uint8_t {
  automatic,  // hugepages if enough are free, else plain memory
  hugepages,  // required
  plain,      // --no-huge: vdevs, and PCI behind an IOMMU
};

struct EalOptions {
  std::string program = "sluiced";
  /// Makes telemetry's directory unique: /var/run/dpdk/<instance>. Empty: "sluice-<pid>".
  std::string instance;
  std::vector<uint32_t> worker_cores;         // CPU of each worker, in order
  std::vector<std::string> pci_devices;       // addresses to allow; empty: no PCI bus at all
  uint64_t packet_memory_bytes = 256u << 20;  // what packet_memory_bytes() (nic/pools.h) computed
  PacketMemory memory = PacketMemory::automatic;
  std::vector<std::string> user_arguments;  // appended as they are; may override
  bool verbose = false;                     // DPDK's own notices; else warnings only
};

class Eal {
 public:
  /// Removes the runtime folders that killed instances left, too (nic/runtime_folders.h).
  /// Errors: what DPDK refused, with the hint of what to change.
  [[nodiscard]] static Result<Eal> start(const EalOptions& options);

  Eal(Eal&& other) noexcept;
  Eal& operator=(Eal&&) = delete;
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;
  /// Requires: every launched worker was joined and every Port is gone.
  ~Eal();

  [[nodiscard]] uint32_t workers() const { return static_cast<uint32_t>(cores_.size()); }
  /// DPDK's lcore id of a worker (worker + 1; the main lcore is 0).
  [[nodiscard]] uint32_t lcore(uint32_t worker) const { return worker + 1; }
  [[nodiscard]] uint32_t core(uint32_t worker) const { return cores_[worker]; }
  [[nodiscard]] bool uses_hugepages() const { return uses_hugepages_; }
  [[nodiscard]] const std::string& runtime_directory() const { return runtime_directory_; }
  [[nodiscard]] const std::string& instance() const { return instance_; }

  /// Runs `body(argument)` on the worker's pinned thread.
  /// Errors: the worker is running something already.
  [[nodiscard]] Result<void> launch(uint32_t worker, int (*body)(void*), void* argument);
  /// Waits until the body has returned; returns its value (0 if it was never launched).
  int join(uint32_t worker);

 private:
  Eal() = default;

  std::vector<uint32_t> cores_;
  std::string instance_;
  std::string runtime_directory_;
  bool uses_hugepages_ = false;
  bool owner_ = false;
};

/// The arguments start() gives to DPDK: for the log and for tests.
[[nodiscard]] std::vector<std::string> eal_arguments(const EalOptions& options,
                                                     bool with_hugepages);

}  // namespace sluice::nic
