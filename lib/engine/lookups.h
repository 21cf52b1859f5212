// Lookups: the paths that an engine has asked the Store about, each once, and who waits for the
// answer.
//
// A ticket owns the path's memory until the Store has answered, as content/message.h requires.
// Waiters are connection numbers; each waits for at most one ticket.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "content/message.h"

namespace sluice::engine {

/// Longest path below the root, decoded, in bytes; longer targets get 414.
inline constexpr size_t path_max_bytes = 2048;

class Lookups {
 public:
  static constexpr uint32_t none = IndexPool::none;

  Lookups(uint32_t tickets, uint32_t waiters);

  /// Makes `waiter` wait for the answer to `path`; joins a lookup of the same path that is under
  /// way. Returns false, and changes nothing, when all tickets are out. Requires: path.size() <=
  /// path_max_bytes, and `waiter` waits for nothing.
  [[nodiscard]] bool ask(const SipDigest& key, std::string_view path, uint32_t waiter);
  void cancel(uint32_t waiter);
  [[nodiscard]] bool is_waiting(uint32_t waiter) const { return waiters_[waiter].ticket != none; }

  /// Returns false when there is nothing to ask the Store.
  [[nodiscard]] bool poll(content::Lookup& out) { return outbox_.pop(out); }

  struct Answered {
    SipDigest key;
    std::string_view path;  // valid until finish()
  };
  /// Requires: the Store answered `ticket`, which is open. next_waiter() and then finish() follow.
  [[nodiscard]] Answered answered(uint32_t ticket) const;
  /// Takes the longest waiting one off the ticket. Returns none when nobody waits.
  [[nodiscard]] uint32_t next_waiter(uint32_t ticket);
  void finish(uint32_t ticket);
  [[nodiscard]] bool is_open(uint32_t ticket) const {
    return ticket < tickets_.size() && pool_.is_taken(ticket);
  }
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] static uint64_t memory_bytes(uint32_t tickets, uint32_t waiters) {
    return uint64_t{tickets} * (sizeof(Ticket) + 2 * sizeof(content::Lookup)) +
           uint64_t{waiters} * sizeof(Waiter);
  }

 private:
  struct Ticket {
    SipDigest key;
    uint32_t first = none;
    uint32_t last = none;
    uint32_t hash_next = none;
    uint32_t length = 0;
    std::array<char, path_max_bytes> path;
  };
  struct Waiter {
    uint32_t ticket = none;
    uint32_t next = none;
    uint32_t previous = none;
  };

  [[nodiscard]] uint32_t& bucket(const SipDigest& key) {
    return buckets_[static_cast<uint32_t>(key.low) & bucket_mask_];
  }

  FixedArray<Ticket> tickets_;
  IndexPool pool_;
  FixedArray<uint32_t> buckets_;
  uint32_t bucket_mask_;
  FixedArray<Waiter> waiters_;
  BoundedQueue<content::Lookup> outbox_;
};

}  // namespace sluice::engine
