// PinHome: where the pins of one worker's frames come back to.
//
// Every payload mbuf carries, in its private area, its own shared info and a tag that says which
// chunk it refers to. When the last reference to the mbuf goes, DPDK calls the free callback, on
// whatever thread that happens:
//
//   on the owning worker   unpin at once
//   on any other thread    the chunk's index goes back over a ring; the owner unpins when it drains
//
// so that ChunkPins has one writer. The ring cannot overflow: at most its capacity is outstanding.
// (One shared count per chunk would not do: rte_mbuf_ext_shared_info.refcnt has 16 bits.)
#pragma once

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>

#include "base/assert.h"
#include "content/chunk_pins.h"
#include "nic/limits.h"

namespace sluice::nic {

class PinHome {
 public:
  PinHome(content::ChunkPins& pins, uint32_t lcore, rte_ring& returned)
      : pins_(&pins), lcore_(lcore), returned_(&returned) {}

  // Owner only.
  /// False: as many pins are out as can come back; drain() first.
  [[nodiscard]] bool may_pin() const { return outstanding_ < rte_ring_get_capacity(returned_); }
  void pin(content::ChunkIndex chunk) {
    pins_->pin(chunk);
    ++outstanding_;
  }
  void unpin(content::ChunkIndex chunk) {
    ASSERT(outstanding_ > 0);
    --outstanding_;
    pins_->unpin(chunk);
  }
  /// Unpins what other threads have completed.
  void drain() {
    while (rte_ring_empty(returned_) == 0) {
      void* items[burst_max];
      const unsigned count = rte_ring_sc_dequeue_burst(returned_, items, burst_max, nullptr);
      for (unsigned i = 0; i < count; ++i) {
        unpin(content::ChunkIndex(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(items[i]))));
      }
    }
  }
  [[nodiscard]] uint64_t outstanding() const { return outstanding_; }

  // Any thread.
  void give_back(content::ChunkIndex chunk) {
    if (rte_lcore_id() == lcore_) {
      unpin(chunk);
      return;
    }
    // A pointer-sized word; chunk indices have 32 bits. NOLINTNEXTLINE(performance-no-int-to-ptr)
    void* item = reinterpret_cast<void*>(uintptr_t{chunk.value()});
    const bool pushed = rte_ring_mp_enqueue(returned_, item) == 0;
    ASSERT(pushed);  // see may_pin()
  }

 private:
  content::ChunkPins* pins_;
  uint32_t lcore_;
  rte_ring* returned_;
  uint64_t outstanding_ = 0;
};

/// The private area of a payload mbuf.
struct PayloadTag {
  rte_mbuf_ext_shared_info shared;
  PinHome* home;
  content::ChunkIndex chunk;
};
static_assert(sizeof(PayloadTag) <= payload_tag_bytes);

[[nodiscard]] inline PayloadTag& payload_tag(rte_mbuf& mbuf) {
  return *static_cast<PayloadTag*>(rte_mbuf_to_priv(&mbuf));
}

}  // namespace sluice::nic
