#include "engine/lookups.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice::engine {

Lookups::Lookups(uint32_t tickets, uint32_t waiters)
    : tickets_(tickets),
      pool_(tickets),
      buckets_(std::bit_ceil(std::max<uint32_t>(tickets, 2))),
      bucket_mask_(static_cast<uint32_t>(buckets_.size()) - 1),
      waiters_(waiters),
      outbox_(tickets) {
  std::fill(buckets_.begin(), buckets_.end(), none);
}

bool Lookups::ask(const SipDigest& key, std::string_view path, uint32_t waiter_number) {
  ASSERT(path.size() <= path_max_bytes);
  Waiter& waiter = waiters_[waiter_number];
  ASSERT(waiter.ticket == none);

  uint32_t index = bucket(key);
  while (index != none && tickets_[index].key != key) index = tickets_[index].hash_next;
  if (index == none) {
    index = pool_.take();
    if (index == none) return false;
    Ticket& ticket = tickets_[index];
    ticket.key = key;
    ticket.first = ticket.last = none;
    ticket.length = static_cast<uint32_t>(path.size());
    std::memcpy(ticket.path.data(), path.data(), path.size());
    ticket.hash_next = bucket(key);
    bucket(key) = index;
    const bool pushed = outbox_.push({index, {ticket.path.data(), ticket.length}});
    ASSERT(pushed);  // one message per ticket
  }
  Ticket& ticket = tickets_[index];
  waiter = {index, none, ticket.last};
  if (ticket.last != none) {
    waiters_[ticket.last].next = waiter_number;
  } else {
    ticket.first = waiter_number;
  }
  ticket.last = waiter_number;
  return true;
}

void Lookups::cancel(uint32_t waiter_number) {
  Waiter& waiter = waiters_[waiter_number];
  if (waiter.ticket == none) return;
  Ticket& ticket = tickets_[waiter.ticket];
  if (waiter.previous != none) {
    waiters_[waiter.previous].next = waiter.next;
  } else {
    ticket.first = waiter.next;
  }
  if (waiter.next != none) {
    waiters_[waiter.next].previous = waiter.previous;
  } else {
    ticket.last = waiter.previous;
  }
  waiter = {};
}

Lookups::Answered Lookups::answered(uint32_t ticket) const {
  const Ticket& open = tickets_[ticket];
  return {open.key, {open.path.data(), open.length}};
}

uint32_t Lookups::next_waiter(uint32_t ticket) {
  const uint32_t waiter = tickets_[ticket].first;
  if (waiter != none) cancel(waiter);
  return waiter;
}

void Lookups::finish(uint32_t index) {
  Ticket& ticket = tickets_[index];
  ASSERT(ticket.first == none);
  uint32_t* at = &bucket(ticket.key);
  while (*at != index) at = &tickets_[*at].hash_next;
  *at = ticket.hash_next;
  pool_.give_back(index);
}

}  // namespace sluice::engine
