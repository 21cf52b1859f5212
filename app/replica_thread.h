// ReplicaThread: the thread that owns the Node and what carries its posts and requests out: the
// movers and the registry.
//
//   rings of the store (as its last worker), rings of the overlay -+
//   movers, registry, load of the engines                         -+- Node
//   commands and reports of telemetry threads                     -+
//
// It sleeps in poll(2) when there is nothing to do; after work it goes on looking for a short
// while. It never waits for another thread: telemetry threads ask, and wait with patience; a helper
// thread writes the log and looks for files to publish (root_scan.h).
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cluster/etcd_registry.h"
#include "content/arena_view.h"
#include "content/chunk_pins.h"
#include "disk/store_thread.h"
#include "disk/waker.h"
#include "mover/mover.h"
#include "replica/node.h"
#include "root_scan.h"
#include "stats/counters.h"

namespace sluice::app {

struct ReplicaThreadOptions {
  replica::NodeConfig node;
  content::ArenaView arena;  // of the chunks alone
  content::ChunkPins* pins = nullptr;
  disk::Mailbox* mailbox = nullptr;  // of the store's last worker
  disk::OverlayMailbox* overlay = nullptr;
  disk::Waker* waker = nullptr;
  stats::Counters* counters = nullptr;
  /// By transport; a transport without one is not dialled.
  std::array<std::unique_ptr<mover::Mover>, replica::transport_count> movers;
  std::unique_ptr<cluster::EtcdRegistry> registry;  // nullptr: the static list
  /// Bytes sent to clients so far. Called on the replica's thread: reads counters alone.
  std::function<uint64_t()> client_tx_bytes;
  /// --copies: every file below `root`; 0: none.
  uint8_t copies = 0;
  std::string root;
  uint32_t files_max = 0;
};

/// What a telemetry thread may ask.
struct ReplicaAsk {
  enum class What : uint8_t { publish, unpublish, status, replicas, peers, transfers };
  What what = What::peers;
  std::string path;
  uint8_t copies = 0;
  uint32_t ticket = 0;
};
struct ReplicaAnswer {
  replica::PublishStatus status;  // publish, unpublish: with the ticket to ask for
  std::vector<replica::ReplicaRow> replicas;
  std::vector<replica::PeerRow> peers;
  std::vector<replica::TransferRow> transfers;
};

class ReplicaThread {
 public:
  explicit ReplicaThread(ReplicaThreadOptions&& options);
  ~ReplicaThread();
  ReplicaThread(const ReplicaThread&) = delete;
  ReplicaThread& operator=(const ReplicaThread&) = delete;

  void start();
  /// Ends the threads; afterwards no peer writes into the arena.
  void stop();

  // Any thread.
  /// Returns false when the thread did not answer in time, or still has to answer an earlier caller
  /// that gave up.
  [[nodiscard]] bool ask(const ReplicaAsk& question, Duration patience, ReplicaAnswer& out);
  [[nodiscard]] const stats::Counters& counters() const { return *options_.counters; }
  /// nullptr: the static list.
  [[nodiscard]] const stats::Counters* registry_counters() const {
    return options_.registry ? &options_.registry->counters() : nullptr;
  }
  [[nodiscard]] const replica::NodeConfig& config() const { return options_.node; }
  [[nodiscard]] const std::string& description() const { return description_; }

 private:
  // Of the publication of the root.
  struct Publishing {
    uint32_t ticket = 0;
    std::string path;
  };
  struct Retry {
    Instant at;
    std::string path;
  };

  void run();
  [[nodiscard]] bool turn(Instant now);
  [[nodiscard]] bool take_input(Instant now);
  [[nodiscard]] bool give_output(Instant now);
  void submit(Instant now, const replica::Post& post);
  void sleep(Instant now);
  [[nodiscard]] bool is_ready_to_sleep();
  void tick(Instant now);
  void answer(Instant now);
  void publish_root(Instant now);
  void note(std::string&& line);
  void drain_notes();
  void help();

  ReplicaThreadOptions options_;
  std::unique_ptr<replica::Node> node_;
  std::string description_;
  std::optional<content::ToStore> held_message_;  // a ring was full
  std::optional<replica::ToOverlay> held_overlay_;
  std::vector<replica::LinkEvent> made_up_;  // answers in the place of a mover that is not there
  std::vector<pollfd> files_;
  Instant last_work_;
  Instant load_due_;
  Instant tick_due_;
  mover::Counts seen_;  // the sums that were counted

  // Questions: the slot belongs to the replica's thread while it is `asked`, else to the asker.
  enum class Slot : uint8_t { idle, asked, ready };
  std::atomic<Slot> slot_{Slot::idle};
  std::mutex askers_;
  ReplicaAsk question_;
  ReplicaAnswer answer_;

  // The helper's.
  std::optional<RootScan> scan_;
  std::mutex helper_mutex_;  // held for a moment; the replica's thread only tries it
  std::deque<RootScan::Change> found_;
  std::deque<std::string> notes_;
  std::deque<std::string> notes_waiting_;  // the replica's thread's own
  std::atomic<bool> has_found_{false};
  // Files to be published, and being published; the replica's thread's own.
  std::deque<RootScan::Change> to_publish_;
  std::vector<Publishing> publishing_;
  std::vector<Retry> retries_;

  alignas(64) std::atomic<bool> stopping_{false};
  std::thread thread_;
  std::thread helper_;
};

}  // namespace sluice::app
