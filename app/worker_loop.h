// Worker: the poll-mode loop of one pinned thread, and how other threads speak to it.
//
// A worker drives one lane for each port. A lane is all of one worker's end of one port: an Engine,
// the port's Queue, the Mailbox to the store, and the Counters and ChunkPins that they share. Lanes
// share nothing with each other, so a worker with two ports is two engines that take turns.
//
// run() is the worker's; everything behind "Any thread" only sets flags and reads relaxed values,
// so that it works however busy the worker is.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "content/chunk_pins.h"
#include "disk/store_thread.h"
#include "engine/engine.h"
#include "nic/doorbell.h"
#include "nic/queue.h"
#include "stats/counters.h"
#include "stats/histogram.h"
#include "tcp/stack.h"

namespace sluice::app {

struct Lane {
  engine::Engine* engine = nullptr;
  nic::Queue queue;
  disk::Mailbox* mailbox = nullptr;
  content::ChunkPins* pins = nullptr;
  stats::Counters* counters = nullptr;
};

struct WorkerOptions {
  std::vector<Lane> lanes;
  bool adaptive = false;          // sleep when idle
  Duration sleep_max = 800_us;    // of one sleep; adaptive only
  nic::Doorbell* bell = nullptr;  // rung by other workers; adaptive only
};

/// A part of the list of a lane's connections.
struct ConnectionPage {
  static constexpr size_t capacity = 24;  // what one telemetry answer of 16 KiB can hold
  std::array<tcp::Info, capacity> rows;
  size_t count = 0;
  uint32_t next = 0;   // where to go on; 0: that was all
  uint32_t total = 0;  // connections of the lane
};

class Worker {
 public:
  explicit Worker(const WorkerOptions& options);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// The loop; returns after stop().
  void run();

  // Any thread.
  /// No new connections; idle ones end, running responses go on.
  void begin_drain() { order(order_drain); }
  /// Resets what is left.
  void abort_connections() { order(order_abort); }
  void stop() { order(order_stop); }
  /// The lane's port is going away: its connections are reset, what it would still send is thrown
  /// away, and its Queue is not used again once has_left(lane) says so. Requires: lane < 32.
  void leave_port(size_t lane) {
    to_leave_.fetch_or(uint32_t{1} << lane, std::memory_order_relaxed);
    order(order_leave);
  }
  [[nodiscard]] bool has_left(size_t lane) const {
    return (left_.load(std::memory_order_acquire) >> lane & 1u) != 0;
  }
  /// True once begin_drain() has led to no connection being left.
  [[nodiscard]] bool is_drained() const { return drained_.load(std::memory_order_relaxed); }
  /// Lists connections of a lane from number `from` on. One caller at a time.
  /// Returns false when the worker did not answer in time, or still has to answer an earlier
  /// caller that gave up.
  [[nodiscard]] bool ask_connections(uint32_t lane, uint32_t from, Duration patience,
                                     ConnectionPage& out);
  [[nodiscard]] size_t lane_count() const { return lanes_.size(); }
  [[nodiscard]] const Lane& lane(size_t index) const { return lanes_[index].parts; }
  /// How long the turns that found work took. Units: nanoseconds.
  [[nodiscard]] const stats::Histogram& turn_ns() const { return turn_ns_; }
  /// Adds how long requests waited for the first byte of their response. Units: nanoseconds.
  void add_first_byte_ns(stats::HistogramSnapshot& out) const {
    for (const LaneState& lane : lanes_) out.add(lane.parts.engine->first_byte_ns());
  }

 private:
  static constexpr uint32_t order_drain = 1;
  static constexpr uint32_t order_abort = 2;
  static constexpr uint32_t order_stop = 4;
  static constexpr uint32_t order_page = 8;
  static constexpr uint32_t order_leave = 16;

  struct LaneState {
    explicit LaneState(const Lane& lane) : parts(lane) {}
    Lane parts;
    nic::RxBurst burst;
    wire::TxFrame frame;                   // scratch
    std::optional<content::ToStore> held;  // the ring to the store was full
    bool has_port = true;                  // leave_port() ends it: parts.queue is not used again
  };

  void order(uint32_t bit) {
    orders_.fetch_or(bit, std::memory_order_release);
    if (bell_ != nullptr) bell_->ring_if_asleep();
  }
  [[nodiscard]] bool turn(LaneState& lane, Instant now);
  [[nodiscard]] bool receive(LaneState& lane, Instant now);
  [[nodiscard]] bool send(LaneState& lane, Instant now);
  void post(LaneState& lane);
  void account(Instant now, bool worked);
  void idle(Instant now);
  [[nodiscard]] bool obey(Instant now, uint32_t orders);
  void leave_ports(Instant now);
  void throw_away(LaneState& lane, Instant now);
  void fill_page();
  void tick(Instant now);
  void publish_gauges(LaneState& lane);

  std::vector<LaneState> lanes_;
  const bool adaptive_;
  const Duration sleep_max_;
  nic::Doorbell* const bell_;
  Duration sleep_;  // of the next idle turn
  Instant last_work_;
  Instant last_turn_;
  bool last_worked_ = false;
  Instant tick_due_;
  bool draining_ = false;
  bool aborted_ = false;
  stats::Histogram turn_ns_;

  alignas(64) std::atomic<uint32_t> orders_{0};
  std::atomic<bool> drained_{false};
  std::atomic<uint32_t> to_leave_{0};  // a bit for each lane
  std::atomic<uint32_t> left_{0};
  // The page belongs to the worker while it is `asked`, to the asker otherwise.
  enum class Page : uint8_t { idle, asked, ready };
  std::atomic<Page> page_state_{Page::idle};
  uint32_t page_lane_ = 0;
  uint32_t page_from_ = 0;
  ConnectionPage page_;
};

}  // namespace sluice::app
