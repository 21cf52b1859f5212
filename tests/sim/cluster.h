// Cluster: the whole of a server but for its NIC and its threads, in virtual time. Several workers'
// engines on one address, the one Store that they share, a disk, and reference clients on paths of
// their own. One virtual clock, one seed: a run is a function of its options and calls.
//
//   client <-> Link <-> steering by flow (wire/flow_key.h) -> Engine 0 .. n-1
//                                      Engine <-> mailboxes <-> Store <-> SimulatedDisk
//
// What an engine sends lies in a NIC ring for a while: its extents are pinned and its bytes read
// only when the ring gets to it. Everything is checked at every step; see check().
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "link.h"
#include "reference_client.h"
#include "simulated_disk.h"
#include "store/store.h"

namespace sluice::sim {

/// The links between one or more clients and the server.
struct PathOptions {
  LinkOptions down;  // to the client
  LinkOptions up;
};

struct ClusterOptions {
  uint64_t seed = 1;
  uint32_t workers = 1;
  bool ipv6 = false;
  uint16_t mtu = 1500;
  uint32_t chunk_count = 16;
  uint32_t chunk_bytes = 64 * 1024;
  uint32_t head_slots = 64;
  uint32_t connections_max = 64;
  uint32_t send_queues = 64;
  uint32_t sent_runs = 4096;  // shared by the connections of a worker
  uint32_t recoveries = 64;   // likewise
  uint32_t open_files_max = 16;
  tcp::CongestionAlgorithm congestion = tcp::CongestionAlgorithm::cubic;
  int64_t mailbox_ns = 2'000;  // a message between a worker and the Store takes at most this
  int64_t ring_ns = 5'000;     // a frame lies in the NIC's ring at most this
  uint32_t ring_trains = 32;   // room in it
  DiskOptions disk;
  std::vector<PathOptions> paths{{}};

  [[nodiscard]] std::string describe() const;
};

class Cluster {
 public:
  explicit Cluster(const ClusterOptions& options);

  [[nodiscard]] SimulatedDisk& disk() { return disk_; }
  /// A file as it is from now on. Tells the Store, as a watch would.
  void put_file(const std::string& path, uint64_t size, uint64_t seed);
  /// A client on path `path` that has sent its SYN.
  ReferenceClient& connect(size_t path, const ClientOptions& options = {});

  /// Runs until `done()`, or for `limit_ns` of virtual time, or until a check fails. Returns
  /// whether done.
  template <typename Done>
  [[nodiscard]] bool run_until(Done done, int64_t limit_ns) {
    const int64_t end = now_ns_ + limit_ns;
    while (!done()) {
      if (now_ns_ >= end || !failure_.empty()) return false;
      step(end);
    }
    return failure_.empty();
  }
  void begin_drain();

  [[nodiscard]] int64_t now_ns() const { return now_ns_; }
  [[nodiscard]] uint32_t workers() const { return static_cast<uint32_t>(workers_.size()); }
  [[nodiscard]] engine::Engine& engine(uint32_t worker) { return *workers_[worker].engine; }
  [[nodiscard]] const stats::Counters& counters(uint32_t worker) const {
    return *workers_[worker].counters;
  }
  [[nodiscard]] const Link& down(size_t path) const { return paths_[path]->down; }
  [[nodiscard]] const Link& up(size_t path) const { return paths_[path]->up; }
  [[nodiscard]] bool is_drained() const;
  /// Some worker has an open connection with this client port.
  [[nodiscard]] bool knows(uint16_t client_port) const;
  /// What no check allows; empty when all is well.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// What is held though nobody needs it; empty when nothing is. Requires: is_drained().
  [[nodiscard]] std::string leaks() const;
  /// The clients' judgement of what the engines sent, joined.
  [[nodiscard]] std::string violations() const;
  /// A digest of every frame, message and time so far: equal for equal runs.
  [[nodiscard]] uint64_t trace() const { return trace_; }
  /// Each event of the run, one line each; for replays.
  void set_log(std::function<void(const std::string&)> log) { log_ = std::move(log); }

 private:
  struct Train {
    int64_t due_ns = 0;
    wire::TxFrame frame;
  };
  template <typename Message>
  struct Mail {
    int64_t due_ns = 0;
    Message message;
  };
  struct Worker {
    std::unique_ptr<stats::Counters> counters;
    std::vector<std::byte> head_slots;
    content::ArenaView arena;
    std::unique_ptr<content::ChunkPins> pins;
    std::unique_ptr<engine::Engine> engine;
    uint64_t pins_for_good = 0;  // of head slots set aside at start
    std::deque<Train> ring;
    std::deque<Mail<content::ToStore>> to_store;
    std::deque<Mail<content::ToWorker>> to_worker;
    uint64_t frames_in = 0;
    uint64_t neighbor_frames_in = 0;
    Instant timeout_seen = Instant::never();
    uint32_t timeout_repeats = 0;
  };
  struct Path {
    Path(const PathOptions& options, uint64_t seed, HostAddress address)
        : down(options.down, seed), up(options.up, seed + 1), host(address) {}
    Link down, up;
    HostAddress host;
    std::vector<ReferenceClient*> clients;
  };

  void step(int64_t end_ns);
  [[nodiscard]] int64_t next_event_ns() const;
  void arrive_at_server(const Frame& frame);
  void arrive_at_client(Path& path, const Frame& frame);
  void give(Worker& worker, const Frame& frame, bool neighbor);
  void turn(Worker& worker);
  void turn_store();
  void transmit(Worker& worker);
  void put_on_wire(const Worker& worker, const wire::TxFrame& frame);
  void pump(Path& path);

  void check();
  void check_pins(const Worker& worker);
  void check_timers(Worker& worker);
  void check_frames(const Worker& worker);
  void check_budget(const Worker& worker);
  void fail(const std::string& why);

  void note(const char* what, uint64_t where, const uint8_t* data, size_t size);
  [[nodiscard]] Instant instant() const { return Instant::from_ns(now_ns_); }

  ClusterOptions options_;
  Prng prng_;
  int64_t now_ns_ = 1'000'000'000;
  HostAddress server_;
  std::vector<std::byte> memory_;
  http::MediaTypes media_types_{"text/html html\n"};
  std::vector<Worker> workers_;
  std::unique_ptr<stats::Counters> store_counters_;
  std::unique_ptr<store::Store> store_;
  SimulatedDisk disk_;
  std::vector<std::unique_ptr<Path>> paths_;
  std::vector<std::unique_ptr<ReferenceClient>> clients_;
  uint64_t trace_ = 0xcbf29ce484222325;
  std::function<void(const std::string&)> log_;
  std::string failure_;
};

}  // namespace sluice::sim
