// What the tests of the edge share: one EAL for the process (DPDK allows no second), an arena,
// trains and what they must look like on the wire, computed without lib/wire.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "content/arena_view.h"
#include "content/chunk_pins.h"
#include "nic/port.h"
#include "stats/counters.h"
#include "wire/frame.h"

struct rte_mbuf;

namespace sluice::nic::test {

using Frame = std::vector<std::byte>;

/// Starts DPDK on first use: plain memory, no PCI, two workers on one or two cores. As root, in a
/// network namespace of its own.
[[nodiscard]] Eal& eal();
[[nodiscard]] bool has_own_namespace();

constexpr uint32_t chunk_bytes = 256 * 1024;
constexpr uint32_t chunk_count = 4;
constexpr uint32_t head_slots = 8;

/// Content of one worker: every byte differs from its neighbours.
class Worker {
 public:
  explicit Worker(uint32_t lcore);
  [[nodiscard]] WorkerEnd end() { return {view(), &pins, &counters, lcore_}; }
  [[nodiscard]] content::ArenaView view();
  [[nodiscard]] uint64_t count(stats::Counter counter) const { return counters.get(counter); }

  content::ChunkPins pins{chunk_count, head_slots};
  stats::Counters counters;

 private:
  uint32_t lcore_;
  std::vector<std::byte> memory_;
};

struct TrainShape {
  bool ipv6 = false;
  bool vlan = false;
  uint16_t segment_size = 1400;
  std::vector<content::Extent> payload;
  uint32_t sequence = 0xffff'fc00;  // wraps within the train
  uint8_t flags = 0x19;             // FIN, PSH, ACK
  uint16_t source_port = 80;
};
[[nodiscard]] wire::TxFrame make_train(const TrainShape& shape);
[[nodiscard]] content::Extent extent(uint32_t chunk, uint32_t offset, uint32_t length);

/// Each frame of the train, whole, with checksums.
[[nodiscard]] std::vector<Frame> frames_of(const wire::TxFrame& train, Worker& worker);

/// The IPv4 frame with this identification, checksums made new. Returns an empty frame when they
/// were wrong before.
[[nodiscard]] Frame with_identification(Frame frame, uint16_t identification);

/// Bytes of an mbuf chain.
[[nodiscard]] Frame bytes_of(const rte_mbuf& mbuf);
/// Receives from a port behind the Queue's back, as it came. The caller frees.
[[nodiscard]] std::vector<rte_mbuf*> take_raw(const std::string& device, uint16_t queue = 0);
/// As take_raw, bytes only, mbufs freed.
[[nodiscard]] std::vector<Frame> take_frames(const std::string& device, uint16_t queue = 0);
/// Puts a frame on a loopback port, to be received.
void put_frame(const std::string& device, const Frame& frame);

/// Frames that others send us.
[[nodiscard]] Frame tcp_segment(uint16_t source_port);
[[nodiscard]] Frame arp_request();
[[nodiscard]] Frame icmp_echo();

/// A directory with a copy of `profile`.toml in which `from` is replaced by `to`.
class ChangedProfiles {
 public:
  ChangedProfiles(const std::string& profile,
                  const std::vector<std::pair<std::string, std::string>>& changes);
  ~ChangedProfiles();
  ChangedProfiles(const ChangedProfiles&) = delete;
  ChangedProfiles& operator=(const ChangedProfiles&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Opens and starts; fails the test when it cannot.
[[nodiscard]] std::unique_ptr<Port> start_port(const std::string& spec, const PortOptions& options,
                                               std::vector<std::unique_ptr<Worker>>& workers);

}  // namespace sluice::nic::test
