#include "nic/receiver.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "wire/flow_key.h"

namespace sluice::nic {
namespace {

using stats::Counter;
using wire::FlowKind;
using wire::RxChecksum;

// A frame received for this worker is rarer than one it receives itself: half a burst is plenty.
constexpr uint32_t inbox_share = RxBurst::capacity / 2;

RxChecksum ip_checksum(uint64_t flags) {
  switch (flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) {
    case RTE_MBUF_F_RX_IP_CKSUM_GOOD:
    case RTE_MBUF_F_RX_IP_CKSUM_NONE:  // the field is wrong, the header is known to be right
      return RxChecksum::good;
    case RTE_MBUF_F_RX_IP_CKSUM_BAD:
      return RxChecksum::bad;
    default:
      return RxChecksum::unknown;
  }
}

RxChecksum l4_checksum(uint64_t flags) {
  switch (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
    case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
    case RTE_MBUF_F_RX_L4_CKSUM_NONE:
      return RxChecksum::good;
    case RTE_MBUF_F_RX_L4_CKSUM_BAD:
      return RxChecksum::bad;
    default:
      return RxChecksum::unknown;
  }
}

Bytes bytes_of(const rte_mbuf& mbuf) {
  return {rte_pktmbuf_mtod(&mbuf, const std::byte*), mbuf.data_len};
}

}  // namespace

uint32_t Receiver::receive(RxBurst& burst) {
  burst.count = 0;
  if (config_.inbox != nullptr && rte_ring_empty(config_.inbox) == 0) {
    rte_mbuf* mbufs[inbox_share];
    const uint32_t count = rte_ring_sc_dequeue_burst(config_.inbox, reinterpret_cast<void**>(mbufs),
                                                     inbox_share, nullptr);
    for (uint32_t i = 0; i < count; ++i) accept(*mbufs[i], burst);
  }
  // Begin with another queue each time: a busy one must not starve the rest.
  const auto queues = static_cast<uint32_t>(config_.queues.size());
  for (uint32_t i = 0; i < queues && burst.count < RxBurst::capacity; ++i) {
    poll_queue(config_.queues[(turn_ + i) % queues], burst);
  }
  ++turn_;
  if (handed_over_ > 0) ring_bells();
  burst.handed_over = std::exchange(handed_over_, 0);
  return burst.count;
}

// Once for all that this turn has handed over.
void Receiver::ring_bells() {
  for (uint64_t left = std::exchange(to_ring_, 0); left != 0; left &= left - 1) {
    Doorbell* bell = config_.bells[static_cast<size_t>(std::countr_zero(left))];
    if (bell != nullptr) bell->ring_if_asleep();
  }
}

void Receiver::release(RxBurst& burst) {
  rte_pktmbuf_free_bulk(burst.mbufs.data(), burst.count);
  burst.count = 0;
}

void Receiver::abandon() {
  rte_mbuf* mbufs[burst_max];
  // Bounded: a device that never runs dry must not hold up the end.
  for (const PortPlan::Place from : config_.queues) {
    for (uint32_t turn = 0; turn < handover_ring_frames; ++turn) {
      const uint16_t count = rte_eth_rx_burst(from.id, from.queue, mbufs, burst_max);
      if (count == 0) break;
      rte_pktmbuf_free_bulk(mbufs, count);
    }
  }
  while (config_.inbox != nullptr) {
    const uint32_t count = rte_ring_sc_dequeue_burst(config_.inbox, reinterpret_cast<void**>(mbufs),
                                                     burst_max, nullptr);
    if (count == 0) break;
    rte_pktmbuf_free_bulk(mbufs, count);
  }
}

void Receiver::poll_queue(PortPlan::Place from, RxBurst& burst) {
  rte_mbuf* mbufs[burst_max];
  const uint32_t room = static_cast<uint32_t>(RxBurst::capacity) - burst.count;
  const uint16_t count = rte_eth_rx_burst(
      from.id, from.queue, mbufs, static_cast<uint16_t>(std::min<uint32_t>(room, config_.burst)));
  if (count == 0) return;
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < count; ++i) {
    rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
    bytes += mbufs[i]->pkt_len;
  }
  counters_.add(Counter::rx_frames, count);
  counters_.add(Counter::rx_bytes, bytes);
  if (config_.is_far) counters_.add(Counter::nic_far_bytes, bytes);
  uint64_t vouched_for = 0;
  for (uint16_t i = 0; i < count; ++i) {
    if (l4_checksum(mbufs[i]->ol_flags) == RxChecksum::good) ++vouched_for;
    if (!is_whole(*mbufs[i])) continue;
    if (config_.workers == 1) {
      accept(*mbufs[i], burst);
    } else {
      steer(*mbufs[i], burst);
    }
  }
  if (vouched_for > 0) counters_.add(Counter::nic_rx_device_checksums, vouched_for);
}

/// One run of bytes? Else makes it one, or drops and counts it.
bool Receiver::is_whole(rte_mbuf& mbuf) {
  if (mbuf.nb_segs == 1) return true;
  if (rte_pktmbuf_linearize(&mbuf) == 0) return true;
  counters_.add(Counter::nic_drop_rx_chained);
  rte_pktmbuf_free(&mbuf);
  return false;
}

void Receiver::steer(rte_mbuf& mbuf, RxBurst& burst) {
  const wire::FlowKey key = wire::flow_key(bytes_of(mbuf), config_.seed);
  const bool by_hash = config_.steering == Steering::software;
  uint32_t owner = 0;
  switch (key.kind) {
    case FlowKind::tcp:
      owner = by_hash ? key.hash % config_.workers : config_.worker;
      break;
    case FlowKind::icmp_error:
      owner = by_hash ? key.hash % config_.workers : config_.worker;
      if (!by_hash) share_with_others(mbuf);
      break;
    case FlowKind::neighbor:
      owner = config_.worker;
      share_with_others(mbuf);
      break;
    case FlowKind::other:
      break;
  }
  if (owner == config_.worker) {
    accept(mbuf, burst);
  } else {
    hand_over(mbuf, owner);
  }
}

void Receiver::accept(rte_mbuf& mbuf, RxBurst& burst) {
  ASSERT(burst.count < RxBurst::capacity);
  burst.mbufs[burst.count] = &mbuf;
  burst.frames[burst.count] = {.bytes = bytes_of(mbuf),
                               .ip_checksum = ip_checksum(mbuf.ol_flags),
                               .l4_checksum = l4_checksum(mbuf.ol_flags)};
  ++burst.count;
}

void Receiver::hand_over(rte_mbuf& mbuf, uint32_t worker) {
  if (rte_ring_mp_enqueue(config_.inboxes[worker], &mbuf) == 0) {
    counters_.add(Counter::nic_rx_handed_over);
    ++handed_over_;
    to_ring_ |= uint64_t{1} << worker;
    return;
  }
  counters_.add(Counter::nic_drop_rx_handover_full);
  rte_pktmbuf_free(&mbuf);
}

/// One more reference for each of the others; nobody writes to a received frame.
void Receiver::share_with_others(rte_mbuf& mbuf) {
  rte_mbuf_refcnt_update(&mbuf, static_cast<int16_t>(config_.workers - 1));
  for (uint32_t worker = 0; worker < config_.workers; ++worker) {
    if (worker != config_.worker) hand_over(mbuf, worker);
  }
}

}  // namespace sluice::nic
