// Queue: one worker's end of a port. The data path: everything here is called by that worker's
// thread only, allocates nothing and never blocks.
//
//   wire -> rx_burst -> [steering] -> receive()  ... engine ...  -> release()
//   engine -> send() -> train kept (pinned) -> frames cut -> mbufs -> flush() -> tx_burst -> wire
//                                                  completion -> free callback -> unpin
//
// Invariants: what send() took is put on the wire (in order) or counted by cause; every pin taken
// here is given back by the frame's completion, at the latest when the port stops.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "wire/frame.h"

struct rte_mbuf;

namespace sluice::nic {

class QueueImpl;

/// A burst of received frames, borrowed until release().
struct RxBurst {
  static constexpr size_t capacity = 64;
  std::array<wire::RxFrame, capacity> frames;
  std::array<rte_mbuf*, capacity> mbufs;
  uint32_t count = 0;
  uint32_t handed_over = 0;  // received for other workers

  [[nodiscard]] std::span<const wire::RxFrame> view() const { return {frames.data(), count}; }
};

class Queue {
 public:
  explicit Queue(QueueImpl& impl) : impl_(&impl) {}

  /// Fetches what has arrived for this worker: from its own rx queues and from the other workers.
  /// ARP and NDP reach every worker; what is neither TCP nor an ICMP error goes to worker 0, which
  /// must be the one that answers for the host.
  /// Returns the count. Requires: `burst` was released (a fresh one counts as released).
  uint32_t receive(RxBurst& burst);
  /// Ends the borrowing. The frames' bytes are gone afterwards.
  void release(RxBurst& burst);

  /// How many send() calls are certain to be taken now. 0 while the device does not keep up, and
  /// when a turn's worth of frames has gone out since the last flush().
  [[nodiscard]] uint32_t room() const;
  /// Takes over the description: pins the chunks of its payload until they have left. A train is
  /// cut here unless the device does it. Requires: room() > 0.
  void send(const wire::TxFrame& frame);
  /// Gives everything built so far to the device, and what other workers queued for this one's tx
  /// queue. To be called once a loop turn, whether or not something was sent.
  /// Returns: whether there were frames of other workers.
  bool flush();
  /// Collects completions that no tx_burst would: for a worker with nothing to send, and once a
  /// turn for what other workers have completed. Cheap when there is nothing.
  void reap();

  /// Whether other workers have put something into this one's rings. A worker that sleeps on the
  /// Doorbell of its WorkerEnd announces that, asks this, and waits.
  [[nodiscard]] bool has_mail() const;

  /// Frames and trains taken by send() that have not completed yet.
  [[nodiscard]] uint64_t in_flight() const;

 private:
  QueueImpl* impl_;
};

}  // namespace sluice::nic
