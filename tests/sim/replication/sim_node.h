// SimNode: one process of a simulated cluster: Node, Store, Overlay, a disk and one Reader, joined
// as the application joins them, with mailboxes that take their time between its three threads.
//
//   Reader (worker 0) <-> Store (+ Overlay) <-> Node (worker 1, holds) <-> FakeMover, registry
//                             |
//                       SimulatedDisk (outlives the process)
//
// Watches what goes by: which fetches are open, which pieces the Node holds and where they lie.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "fake_mover.h"
#include "plain_digests.h"
#include "reader.h"
#include "replica/node.h"
#include "replica/overlay.h"
#include "simulated_disk.h"
#include "simulated_etcd.h"
#include "store/store.h"

namespace sluice::sim {

struct SimNodeOptions {
  uint64_t seed = 1;
  uint32_t index = 0;
  uint32_t chunk_count = 64;
  uint32_t chunk_bytes = 4096;
  uint64_t hold_bytes_max = 0;
  uint32_t fetches_max = 16;
  uint32_t fetch_window = 8;
  uint64_t rate_bytes_per_s = 0;
  int64_t mailbox_ns_max = 3'000;
  std::vector<std::string> paths;  // that the reader asks for
  std::vector<std::string> peers;
  std::string key = "the cluster's key";
  bool prefer_rdma = true;
  bool has_registry = false;
  bool has_reader = true;
  Duration ping_every = 1_s;
  Duration peer_patience = 5_s;
  Duration fetch_patience = 4_s;
  DiskOptions disk;
  replica::Digests digests = plain_digests();
};

[[nodiscard]] inline std::string host_name(uint32_t index) {
  return "node" + std::to_string(index);
}
[[nodiscard]] inline std::string host_address(uint32_t index) {
  return "10.0.0." + std::to_string(index + 1) + ":7000";
}

class SimNode {
 public:
  SimNode(const SimNodeOptions& options, FakeMover& mover, SimulatedEtcd& etcd);

  // Its life
  void start(int64_t now_ns);
  void kill(int64_t now_ns, bool silently);
  void set_stopped(int64_t now_ns, bool stopped);
  [[nodiscard]] bool is_alive() const { return process_ != nullptr; }
  [[nodiscard]] bool is_stopped() const { return stopped_; }
  [[nodiscard]] int64_t started_ns() const { return started_ns_; }

  // What tests do. Requires: is_alive().
  void put_file(int64_t now_ns, const std::string& path, uint64_t size, uint64_t seed);
  [[nodiscard]] uint32_t publish(int64_t now_ns, const std::string& path, uint8_t copies);
  [[nodiscard]] uint32_t unpublish(int64_t now_ns, const std::string& path);
  void jump_wall_clock(int64_t by_ns) { wall_offset_ns_ += by_ns; }
  /// Changes a byte of a chunk that the Node holds. Returns false when it holds none.
  [[nodiscard]] bool rot(Prng& prng);
  [[nodiscard]] bool is_rotten(uint32_t chunk, uint32_t offset) const;
  /// Its disk has this content there now.
  [[nodiscard]] bool has_file(const std::string& path, uint64_t seed) const {
    const auto at = files_.find(path);
    return at != files_.end() && at->second == seed;
  }

  void turn(int64_t now_ns);
  /// When there is something to do by itself; what its movers have for it is asked for each time.
  [[nodiscard]] int64_t next_ns() const {
    if (mover_.has_events(host_) && process_ && !stopped_) return 0;
    if (!next_known_) {
      next_ns_ = own_next_ns();
      next_known_ = true;
    }
    return next_ns_;
  }

  // State
  [[nodiscard]] const SimNodeOptions& options() const { return options_; }
  [[nodiscard]] replica::NodeId id() const { return id_; }
  [[nodiscard]] replica::NodeEpoch epoch() const { return epoch_; }
  [[nodiscard]] replica::Node& node() {
    next_known_ = false;
    return *process_->node;
  }
  [[nodiscard]] Reader& reader() {
    next_known_ = false;
    return *process_->reader;
  }
  [[nodiscard]] store::Store& store() {
    next_known_ = false;
    return *process_->store;
  }
  [[nodiscard]] const stats::Counters& counters() const { return *process_->counters; }
  [[nodiscard]] const content::ChunkPins& pins() const { return *process_->pins; }
  [[nodiscard]] SimulatedDisk& disk() {
    next_known_ = false;
    return *disk_;
  }
  [[nodiscard]] const content::ArenaView& arena() const { return arena_; }

  using Pieces = std::map<content::PieceNumber, content::Extent>;
  /// Pieces that the Node was told are ready, and was not told to let go, by generation.
  [[nodiscard]] const std::map<std::string, Pieces>& pieces() const { return process_->pieces; }
  struct OpenFetch {
    replica::Fetch fetch;
    int64_t since_ns = 0;
  };
  [[nodiscard]] const std::map<uint32_t, OpenFetch>& fetches() const { return process_->fetches; }
  /// The Store gave this memory to a fetch that has not ended.
  [[nodiscard]] bool is_being_fetched(const content::Extent& extent) const;
  [[nodiscard]] uint64_t fetches_failed() const { return process_->fetches_failed; }
  /// Where lookups of a path lead now, as this node's store thread was told.
  [[nodiscard]] const std::map<std::string, replica::GenerationId>& redirects() const {
    return process_->redirects;
  }
  [[nodiscard]] bool has_mail() const;
  /// A digest of what this node told its movers, and when: equal for equal runs.
  [[nodiscard]] uint64_t trace() const { return trace_; }

  std::function<void(const std::string&)> on_wrong;
  std::function<void(const replica::Describe&)> on_describe;
  std::function<void(const replica::Redirect&)> on_redirect;
  /// Before the overlay hears of it: the bytes are said to be there.
  std::function<void(const OpenFetch&)> on_fetched;
  std::function<void(const std::string&)> log;

 private:
  template <typename Message>
  struct Mailbox {
    std::deque<std::pair<int64_t, Message>> mail;
    void send(int64_t due_ns, const Message& message) {
      if (!mail.empty()) due_ns = std::max(due_ns, mail.back().first);
      mail.emplace_back(due_ns, message);
    }
    [[nodiscard]] bool receive(int64_t now_ns, Message& out) {
      if (mail.empty() || mail.front().first > now_ns) return false;
      out = mail.front().second;
      mail.pop_front();
      return true;
    }
    [[nodiscard]] int64_t next_ns() const { return mail.empty() ? INT64_MAX : mail.front().first; }
  };
  struct Process {
    std::vector<std::byte> memory;
    std::unique_ptr<stats::Counters> counters, store_counters;
    std::unique_ptr<content::ChunkPins> pins;
    std::unique_ptr<Reader> reader;
    std::unique_ptr<replica::Node> node;
    std::unique_ptr<replica::Overlay> overlay;
    std::unique_ptr<store::Store> store;
    std::array<Mailbox<content::ToStore>, 2> to_store;
    std::array<Mailbox<content::ToWorker>, 2> to_worker;
    Mailbox<replica::ToOverlay> to_overlay;
    Mailbox<replica::FromOverlay> from_overlay;
    int64_t load_due_ns = 0;
    // What was seen to go by.
    std::map<uint32_t, std::string> lookups;  // the Node's, by ticket
    std::map<content::ObjectId, std::string> objects;
    std::map<std::string, Pieces> pieces;
    std::map<uint32_t, OpenFetch> fetches;
    std::map<std::string, replica::GenerationId> redirects;
    std::vector<std::pair<uint32_t, uint32_t>> rotten;  // chunk, offset
    uint64_t fetches_failed = 0;
    Instant timeout_seen = Instant::never();
    uint32_t timeout_repeats = 0;
  };

  [[nodiscard]] int64_t own_next_ns() const;
  void turn_node(int64_t now_ns);
  void turn_reader(int64_t now_ns);
  void turn_store(int64_t now_ns);
  void do_io(int64_t now_ns);
  void note_link(int64_t now_ns, const replica::LinkEvent& event);
  void watch_to_store(const content::ToStore& message);
  void watch_to_node(const content::ToWorker& message);
  void watch_fetch(int64_t now_ns, const replica::FromOverlay& message);
  void watch_to_overlay(const replica::ToOverlay& message);
  void watch_timeout(int64_t now_ns);
  void forget_rot(const content::Extent& extent);
  [[nodiscard]] int64_t mail_due(int64_t now_ns) {
    return now_ns +
           static_cast<int64_t>(prng_.below(static_cast<uint64_t>(options_.mailbox_ns_max) + 1));
  }
  void wrong(const std::string& what) {
    if (on_wrong) on_wrong(host_name(options_.index) + ": " + what);
  }
  void note(int64_t now_ns, const std::string& what) {
    if (log) log(std::to_string(now_ns) + " " + host_name(options_.index) + " " + what);
  }

  SimNodeOptions options_;
  Prng prng_;
  FakeMover& mover_;
  SimulatedEtcd& etcd_;
  FakeMover::HostIndex host_;
  replica::NodeId id_;
  replica::NodeEpoch epoch_ = 0;
  int64_t wall_offset_ns_ = 0;
  int64_t started_ns_ = 0;
  bool stopped_ = false;
  // What next_ns() said, until anything is done with the node.
  mutable bool next_known_ = false;
  mutable int64_t next_ns_ = 0;
  uint64_t trace_ = 0xcbf29ce484222325;
  content::ArenaView arena_;
  std::unique_ptr<SimulatedDisk> disk_;
  std::map<std::string, uint64_t> files_;  // on it: seeds
  std::unique_ptr<Process> process_;
};

}  // namespace sluice::sim
