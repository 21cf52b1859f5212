// DriverProfile: what drivers_config/<driver>.toml says of one poll-mode driver. See
// docs/drivers.md.
//
// A profile proposes; the device's own capabilities decide: an offload is turned on only if both
// have it. Control thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::nic {

/// How received flows find their worker.
enum class Steering : uint8_t {
  rss,       // the device hashes a flow to one queue: that queue's worker owns it
  kernel,    // the same without being asked: the kernel behind the port does it
  software,  // owner = hash(flow) % workers; frames that arrive elsewhere are handed over
};

/// "rss", "kernel", "software".
[[nodiscard]] const char* steering_name(Steering steering);

/// What a worker does when there is nothing to do.
enum class Polling : uint8_t {
  busy,      // polls on
  adaptive,  // backs off: pause, then short bounded sleeps
};

/// How an idle worker gets completions out of the device.
enum class IdleReap : uint8_t {
  none,          // the driver copies, or frees within tx_burst
  done_cleanup,  // rte_eth_tx_done_cleanup
  empty_burst,   // a tx_burst of nothing
  status,        // rte_eth_tx_descriptor_status (mlx5 handles completions in it)
};

struct Offloads {
  bool rx_checksum = false;       // the device verifies TCP checksums (IPv4's too if it can)
  bool tx_checksum = false;       // the device fills in TCP checksums (IPv4's too if it can)
  bool tcp_segmentation = false;  // the device cuts trains
  bool chained_mbufs = false;     // a frame may lie in several mbufs
  bool operator==(const Offloads&) const = default;
};

struct DriverProfile {
  std::string driver;  // name of the file without .toml, and of the family
  std::string title;
  std::string verified;                // what was run, and what was taken from guides
  std::string source_path;             // the file it came from
  bool is_default = false;             // no file of its own: default.toml
  std::vector<std::string> pmd_names;  // values of rte_eth_dev_info.driver_name it stands for
  std::vector<std::string> notes;      // to be printed at start

  // [queues]
  uint16_t rx_descriptors = 0;
  uint16_t rx_rings =
      1;  // rings of rx_descriptors that the driver fills, each with buffers of its own
  uint16_t tx_descriptors = 0;
  uint16_t burst = 0;
  uint16_t pairs_max = 0;           // rx/tx queue pairs to use at most
  bool equal_pairs = false;         // the driver wants as many rx as tx queues
  bool pairs_of_interface = false;  // one pair for each queue of the kernel's interface
  // [offloads]
  Offloads use;                    // wanted where the device has them
  Offloads avoid;                  // never turned on, even if the device claims them
  uint32_t train_max_bytes = 0;    // payload of one frame handed over for segmentation (TSO)
  uint32_t segment_max_bytes = 0;  // bytes of one mbuf the driver takes; longer ones are split
  uint16_t mbufs_per_frame_max = 0;
  // [steering]
  Steering steering = Steering::software;
  // [devargs]
  std::string devargs;  // {queues} and {frame_bytes} are filled in
  // [polling]
  Polling polling = Polling::busy;
  uint32_t sleep_us_max = 0;  // adaptive: longest sleep of an idle worker
  IdleReap idle_reap = IdleReap::none;
  // [quirks]
  bool derive_mac = false;          // our MAC is not the device's, but derived from the name
  bool sends_from_rx_pool = false;  // copied frames go into mbufs of the rx pool
  bool ignore_signals = false;      // keep the driver from using real-time signals
  bool mtu_of_interface = false;    // the driver does not know the MTU: the interface does
};

/// Where profiles are looked for, first match wins: `override_directory` (option) if not empty,
/// else $SLUICE_DRIVERS_CONFIG if set, else the installed directory, else the source directory.
[[nodiscard]] Result<std::string> drivers_config_directory(const std::string& override_directory);

/// Reads one file. Errors: not there, not TOML, an unknown key, a missing key, a value out of
/// range; the sentence names file, key and what is allowed.
[[nodiscard]] Result<DriverProfile> read_profile(const std::string& path);

/// Looks up by profile name ("tap") or by DPDK's driver name ("net_tap"). When no file fits, the
/// result is default.toml with is_default set.
[[nodiscard]] Result<DriverProfile> find_profile(const std::string& directory,
                                                 std::string_view driver);

}  // namespace sluice::nic
