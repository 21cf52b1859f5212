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
  rss,       // the device (or the kernel) keeps a flow on one queue: its worker owns it
  software,  // owner = hash(flow) % workers; frames that arrive elsewhere are handed over
};

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
};

struct Offloads {
  bool rx_checksum = false;       // the device verifies IPv4 and TCP checksums
  bool tx_checksum = false;       // the device fills in IPv4 and TCP checksums
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
  uint16_t tx_descriptors = 0;
  uint16_t burst = 0;
  uint16_t pairs_max = 0;  // rx/tx queue pairs to use at most
  // [offloads]
  Offloads use;                    // wanted where the device has them
  Offloads avoid;                  // never turned on, even if the device claims them
  uint32_t train_max_bytes = 0;    // payload of one TSO descriptor chain
  uint32_t segment_max_bytes = 0;  // bytes of one mbuf the driver takes; longer ones are split
  uint16_t mbufs_per_frame_max = 0;
  // [steering]
  Steering steering = Steering::software;
  uint16_t rss_key_bytes = 0;  // 0: what the device says, or none
  // [devargs]
  std::string devargs;  // {interface}, {queues} are filled in
  // [polling]
  Polling polling = Polling::busy;
  uint32_t sleep_us_max = 0;  // adaptive: longest sleep of an idle worker
  // [quirks]
  bool derive_mac = false;             // our MAC is not the device's, but derived from the name
  bool receives_from_tx_pool = false;  // send from the rx pool, else the driver copies again
  bool equal_queue_pairs = false;      // as many rx as tx queues
  bool ignore_signals = false;         // keep the driver from using real-time signals
  IdleReap idle_reap = IdleReap::none;
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
