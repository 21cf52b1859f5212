// StoreThread: the thread that owns the Store and the Disk, and each worker's two rings to it.
//
//   worker n:  mailbox(n).send(message) ... mailbox(n).ring_if_asleep()   once a turn, after sends
//              mailbox(n).receive(message)                                 once a turn, until false
//
// The thread sleeps in the kernel when there is nothing to do. A worker rings (one system call)
// only when the thread said that it sleeps.
//
// Where replication is on, an Overlay stands between Store and Disk, the last worker is the Node,
// whose lookups are not redirected, and overlay() carries the messages of those two. Whoever runs
// the Node sleeps on a Waker, which the thread rings.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/spsc_ring.h"
#include "content/chunk_pins.h"
#include "content/message.h"
#include "disk/disk.h"
#include "disk/waker.h"
#include "replica/overlay.h"
#include "stats/counters.h"
#include "store/store.h"

namespace sluice::disk {

class StoreThread;

/// One worker's end. For that worker's thread alone.
class Mailbox {
 public:
  Mailbox(size_t capacity, StoreThread& thread)
      : to_store_(capacity), to_worker_(capacity), thread_(thread) {}

  /// Returns false when the ring is full: keep the message and try again next turn.
  [[nodiscard]] bool send(const content::ToStore& message) {
    if (!to_store_.push(message)) return false;
    sent_ = true;
    return true;
  }
  /// Wakes the thread if it sleeps and something was sent since the last call.
  void ring_if_asleep();
  /// Returns false when nothing came.
  [[nodiscard]] bool receive(content::ToWorker& out) { return to_worker_.pop(out); }
  [[nodiscard]] bool has_mail() const { return !to_worker_.empty(); }

 private:
  friend class StoreThread;
  SpscRing<content::ToStore> to_store_;
  SpscRing<content::ToWorker> to_worker_;
  StoreThread& thread_;
  bool sent_ = false;
};

/// The Node's end of the Overlay's rings. For the replica's thread alone.
class OverlayMailbox {
 public:
  OverlayMailbox(size_t capacity, StoreThread& thread)
      : to_overlay_(capacity), from_overlay_(capacity), thread_(thread) {}

  /// Returns false when the ring is full: keep the message and try again next turn.
  [[nodiscard]] bool send(const replica::ToOverlay& message) {
    if (!to_overlay_.push(message)) return false;
    sent_ = true;
    return true;
  }
  /// Wakes the store's thread if it sleeps and something was sent since the last call.
  void ring_if_asleep();
  /// Returns false when nothing came.
  [[nodiscard]] bool receive(replica::FromOverlay& out) { return from_overlay_.pop(out); }
  [[nodiscard]] bool has_mail() const { return !from_overlay_.empty(); }

 private:
  friend class StoreThread;
  SpscRing<replica::ToOverlay> to_overlay_;
  SpscRing<replica::FromOverlay> from_overlay_;
  StoreThread& thread_;
  bool sent_ = false;
};

struct StoreThreadOptions {
  store::Config store;
  Options disk;  // `root`, `content` and the switches: the rest is set here
  /// The ChunkPins of each worker; they outlive the thread.
  std::span<const content::ChunkPins* const> uses;
  uint32_t ring_capacity = 4'096;
  /// Replication; the store's Config::last_holds is to be set with it.
  std::optional<replica::OverlayConfig> overlay;
  uint32_t overlay_ring_capacity = 256;
  Waker* node_waker = nullptr;  // with `overlay`; outlives the thread
  int cpu = -1;                 // -1: where the caller of start() runs
  /// The clock that the workers use for `now`: eviction compares times of use with it.
  Instant (*clock)() = nullptr;  // nullptr: CLOCK_MONOTONIC
};

class StoreThread {
 public:
  /// Errors: as Disk::create.
  [[nodiscard]] static Result<std::unique_ptr<StoreThread>> create(
      const StoreThreadOptions& options);
  /// Stops it.
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  [[nodiscard]] Mailbox& mailbox(uint32_t worker) { return *mailboxes_[worker]; }
  /// Requires: `overlay` was asked for.
  [[nodiscard]] OverlayMailbox& overlay() { return *overlay_mailbox_; }
  void start();
  /// Ends the thread; reads in flight are waited for. Messages are no longer answered.
  /// Requires: the Node has ended, and no peer writes into the arena any more.
  void stop();

  /// For any thread, at any time.
  [[nodiscard]] const stats::Counters& counters() const { return *counters_; }
  /// One line for the start-up report.
  [[nodiscard]] const std::string& description() const { return disk_->description(); }

 private:
  friend class Mailbox;
  friend class OverlayMailbox;
  StoreThread(const StoreThreadOptions& options, std::unique_ptr<stats::Counters> counters,
              std::unique_ptr<Disk> disk);
  void run();
  void turn(Instant now);
  void take_messages(Instant now);
  void take_overlay_messages(Instant now);
  [[nodiscard]] bool complete(Instant now);
  [[nodiscard]] bool ask_disk(Instant now);
  void deliver_from_overlay();
  void wake();
  [[nodiscard]] bool deliver(uint32_t worker);
  [[nodiscard]] bool has_mail() const;
  void sleep();

  Instant (*clock_)();
  int cpu_;
  std::unique_ptr<stats::Counters> counters_;
  std::unique_ptr<Disk> disk_;
  store::Store store_;
  std::vector<std::unique_ptr<Mailbox>> mailboxes_;
  std::unique_ptr<replica::Overlay> overlay_;
  std::unique_ptr<OverlayMailbox> overlay_mailbox_;
  Waker* node_waker_;
  bool mail_waits_ = false;  // a worker's ring to it is full
  bool more_waits_ = false;  // this turn had no time for all
  alignas(64) std::atomic<bool> asleep_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

inline void StoreThread::wake() {
  // Pairs with the fence in sleep(): either the thread sees the message before it sleeps, or this
  // sees that it sleeps.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_relaxed) &&
      asleep_.exchange(false, std::memory_order_relaxed)) {
    disk_->wake();
  }
}

inline void Mailbox::ring_if_asleep() {
  if (!sent_) return;
  sent_ = false;
  thread_.wake();
}

inline void OverlayMailbox::ring_if_asleep() {
  if (!sent_) return;
  sent_ = false;
  thread_.wake();
}

}  // namespace sluice::disk
