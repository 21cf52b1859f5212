// Receiver: one worker's way in from a port. rx_burst on its queues, then steering.
//
//   a TCP segment        rss, kernel: mine, for it came on my queue;  software: hash(flow) %
//   workers an ICMP error        software: as the flow it quotes;             else: every worker
//   ARP, NDP             every worker (each has its own neighbour cache); read only, by reference
//   the rest             worker 0, which answers for all
//
// The worker's thread only, but for abandon() (after the workers have stopped).
#pragma once

#include <rte_ring.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/fixed_vector.h"
#include "nic/doorbell.h"
#include "nic/driver_profile.h"
#include "nic/limits.h"
#include "nic/port_plan.h"
#include "nic/queue.h"
#include "stats/counters.h"

namespace sluice::nic {

struct ReceiverConfig {
  FixedVector<PortPlan::Place, rx_queues_per_worker_max> queues;  // polled by this worker
  uint16_t burst = 32;
  uint32_t worker = 0;
  uint32_t workers = 1;
  bool is_far = false;  // the worker's core is on another NUMA node than the port
  Steering steering = Steering::software;
  uint64_t seed = 0;          // of the flow hash; the same for all workers
  rte_ring* inbox = nullptr;  // what others received for this worker; null if alone
  std::array<rte_ring*, workers_max> inboxes{};  // of all workers
  std::array<Doorbell*, workers_max> bells{};    // of all workers; null: that one never sleeps
};

class Receiver {
 public:
  Receiver(const ReceiverConfig& config, stats::Counters& counters)
      : config_(config), counters_(counters) {}

  uint32_t receive(RxBurst& burst);
  [[nodiscard]] bool has_mail() const {
    return config_.inbox != nullptr && rte_ring_empty(config_.inbox) == 0;
  }
  static void release(RxBurst& burst);
  /// Frees what nobody will look at any more: the inbox, and what the queues still hold.
  void abandon();

 private:
  void poll_queue(PortPlan::Place from, RxBurst& burst);
  void steer(rte_mbuf& mbuf, RxBurst& burst);
  void accept(rte_mbuf& mbuf, RxBurst& burst);
  void hand_over(rte_mbuf& mbuf, uint32_t worker);
  void ring_bells();
  void share_with_others(rte_mbuf& mbuf);
  [[nodiscard]] bool is_whole(rte_mbuf& mbuf);

  ReceiverConfig config_;
  stats::Counters& counters_;
  uint32_t turn_ = 0;
  uint32_t handed_over_ = 0;  // in this turn
  uint64_t to_ring_ = 0;      // bits by worker
};

}  // namespace sluice::nic
