// Port: one DPDK port, configured by its driver's profile and checked against what the device says
// it can do.
//
// Life: open() (probe, profile, plan: nothing moves yet) -> start() (queues, pools, registration of
// the arena) -> workers use queue(i) -> workers stop -> stop() (bounded wait for completions, then
// every pin is given back) -> destructor. Control thread, but for queue(). A device that the kernel
// wants back in the middle of it (is_wanted_back) is given back by give_back() instead of stop().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "content/arena_view.h"
#include "content/chunk_pins.h"
#include "nic/doorbell.h"
#include "nic/driver_profile.h"
#include "nic/eal.h"
#include "nic/pools.h"
#include "nic/port_spec.h"
#include "nic/queue.h"
#include "stats/counters.h"

namespace sluice::nic {

using MacAddress = std::array<uint8_t, 6>;

struct PortOptions {
  uint32_t workers = 1;
  std::optional<uint16_t> mtu;    // default: what the device or interface has (1500 if unknown)
  std::optional<MacAddress> mac;  // default: the device's, or derived (profile)
  std::optional<uint16_t> vlan;   // that its frames are tagged with: a device may have to be told
  std::string drivers_directory;  // overrides the search for profiles
  std::optional<Steering> steering;  // overrides the profile
  std::optional<uint16_t> queue_pairs_max;
};

/// Memory that frames are sent from: a region of the arena. Each is registered with DPDK (and with
/// the device where it needs DMA mappings) by start().
struct SendRegion {
  std::byte* base = nullptr;
  uint64_t length_bytes = 0;
  uint64_t page_bytes = 4096;  // size of the pages that back it
  int numa_node = -1;          // that all of it is on; -1: not known
};

/// What start() needs of each worker.
struct WorkerEnd {
  content::ArenaView view;
  content::ChunkPins* pins = nullptr;
  stats::Counters* counters = nullptr;
  uint32_t lcore = 0;        // Eal::lcore(worker)
  Doorbell* bell = nullptr;  // for a worker that sleeps when it is idle
};

/// Counters that the device keeps itself, and how many mbufs are out.
struct PortCounters {
  uint64_t missed = 0;     // rx frames lost for want of descriptors (imissed)
  uint64_t rx_errors = 0;  // ierrors
  uint64_t tx_errors = 0;  // oerrors
  uint64_t no_mbuf = 0;    // rx_nombuf
  // Of the port's own pools: what is out, in the device's rings and on its way through sluice.
  uint64_t rx_mbufs = 0;
  uint64_t tx_mbufs = 0;
};

struct PortFacts {
  std::string spec;
  std::string device;     // "net_tap0"
  std::string driver;     // "net_tap"
  std::string interface;  // kernel's name, may be empty
  std::string profile_path;
  bool default_profile = false;
  int numa_node = -1;
  MacAddress mac{};
  uint16_t mtu = 1500;
  uint32_t workers = 1;
  uint16_t rx_queues = 1;
  uint16_t tx_queues = 1;
  uint16_t rx_descriptors = 0;
  uint16_t tx_descriptors = 0;
  uint16_t burst = 32;
  Offloads offloads;  // what is turned on
  Offloads wanted;    // what the profile asks for
  Steering steering = Steering::software;
  Polling polling = Polling::busy;
  uint32_t sleep_us_max = 0;
  uint32_t train_max_bytes = 0;      // longest payload of one TxFrame worth describing
  uint64_t packet_memory_bytes = 0;  // pools of this port
  std::vector<std::string> notes;    // profile's notes and what had to be turned down, and why
};

/// What the pools of a port will need, as far as can be known before the EAL runs: for the budget.
/// `queue_pairs` is the least the port will have; more, if there are more workers.
[[nodiscard]] PoolNeeds expected_pools(const PortSpec& spec, const DriverProfile& profile,
                                       std::optional<uint16_t> mtu);

class Port {
 public:
  /// Probes the device and plans its configuration. The Eal must outlive the Port.
  /// Errors: no such device or interface, a driver's refusal, more than the device can do.
  [[nodiscard]] static Result<std::unique_ptr<Port>> open(const PortSpec& spec,
                                                          const PortOptions& options);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  [[nodiscard]] const PortFacts& facts() const;

  /// Makes pools and queues, registers the regions, starts the device. `workers` has
  /// facts().workers entries.
  [[nodiscard]] Result<void> start(std::span<const WorkerEnd> workers,
                                   std::span<const SendRegion> regions);
  /// Requires: started. Worker i's thread uses queue(i) only.
  [[nodiscard]] Queue queue(uint32_t worker);
  /// Waits at most `patience` for frames to leave, then stops the device. Afterwards no pin taken
  /// by this port is left. Requires: no worker uses its queue any more. Returns the frames that did
  /// not leave in time.
  uint64_t stop(Duration patience);

  /// True once the kernel wants the device back: it is being unplugged, or taken from its driver.
  /// The kernel waits until give_back(). Any thread.
  [[nodiscard]] bool is_wanted_back() const;
  /// As stop(), then closes the device, so that the kernel may have it. The port cannot be started
  /// again. Returns the frames that did not leave.
  uint64_t give_back(Duration patience);

  /// A moment's value; any thread. Of a port that is not started: zeros, and no link.
  [[nodiscard]] PortCounters counters() const;
  [[nodiscard]] bool link_up() const;

 private:
  class Impl;
  explicit Port(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::nic
