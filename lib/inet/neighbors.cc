#include "inet/neighbors.h"

#include <algorithm>
#include <bit>

namespace sluice::inet {
namespace {

using stats::Counter;

// RFC 4861 section 10. Its random factor of REACHABLE_TIME is left out: one station's probes are
// spread by its traffic already.
constexpr Duration reachable_time = Duration::from_s(30);
constexpr Duration delay_first_probe_time = Duration::from_s(5);
constexpr Duration retransmit_interval = Duration::from_s(1);
constexpr uint8_t solicitations_max = 3;  // MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT

// How long a neighbour that did not answer is not asked again (RFC 1122 section 2.3.2.1: at most
// one request per second and destination; an unreachable one need not get even that).
constexpr Duration failure_hold = Duration::from_s(3);

// The order of use is kept this exactly, so that a frame sent does not move list links each time.
constexpr Duration use_resolution = Duration::from_s(1);

uint32_t bucket_count(uint32_t capacity) {
  return std::bit_ceil(std::max<uint32_t>(capacity, 2));
}

}  // namespace

NeighborTable::NeighborTable(const Options& options, stats::Counters& counters)
    : key_(options.key),
      counters_(counters),
      entries_(options.capacity),
      buckets_(bucket_count(options.capacity)),
      bucket_mask_(static_cast<uint32_t>(buckets_.size()) - 1),
      pool_(options.capacity),
      questions_(options.capacity) {
  ASSERT(options.capacity > 0);
  std::fill(buckets_.begin(), buckets_.end(), none);
}

uint64_t NeighborTable::memory_bytes(const Options& options) {
  return uint64_t{options.capacity} * (sizeof(Entry) + sizeof(uint32_t)) +
         uint64_t{bucket_count(options.capacity)} * 2 * sizeof(uint32_t);
}

// The table
// ------------------------------------------------------------------------------------------------

uint32_t NeighborTable::bucket_of(const Address& address) const {
  return static_cast<uint32_t>(siphash24(key_, address.bytes())) & bucket_mask_;
}

uint32_t NeighborTable::find(const Address& address) const {
  uint32_t index = buckets_[bucket_of(address)];
  while (index != none && entries_[index].address != address) index = entries_[index].hash_next;
  return index;
}

void NeighborTable::append(List& list, uint32_t index, Link Entry::*link) {
  Link& own = entries_[index].*link;
  own = {none, list.last};
  if (list.last != none) {
    (entries_[list.last].*link).next = index;
  } else {
    list.first = index;
  }
  list.last = index;
}

void NeighborTable::unlink(List& list, uint32_t index, Link Entry::*link) {
  Link& own = entries_[index].*link;
  if (own.previous != none) {
    (entries_[own.previous].*link).next = own.next;
  } else {
    list.first = own.next;
  }
  if (own.next != none) {
    (entries_[own.next].*link).previous = own.previous;
  } else {
    list.last = own.previous;
  }
  own = {};
}

void NeighborTable::touch(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  List& list = entry.proven ? proven_ : unproven_;
  unlink(list, index, &Entry::use);
  append(list, index, &Entry::use);
  const Instant next_touch = now + use_resolution;
  entry.check_at =
      entry.state == State::reachable ? std::min(entry.deadline, next_touch) : next_touch;
}

uint32_t NeighborTable::create(const Address& address) {
  uint32_t index = pool_.take();
  if (index == none) {
    const uint32_t victim = unproven_.first != none ? unproven_.first : proven_.first;
    remove(victim);
    counters_.add(Counter::inet_neighbors_evicted);
    index = pool_.take();
  }
  Entry& entry = entries_[index];
  const uint32_t generation = entry.generation;
  const bool questioned = entry.questioned;  // its place in the queue outlives the entry
  entry = Entry{};
  entry.generation = generation;
  entry.questioned = questioned;
  entry.address = address;
  uint32_t& bucket = buckets_[bucket_of(address)];
  entry.hash_next = bucket;
  bucket = index;
  append(unproven_, index, &Entry::use);
  counters_.set(Counter::inet_neighbors, pool_.in_use());
  return index;
}

void NeighborTable::remove(uint32_t index) {
  Entry& entry = entries_[index];
  stop_timer(index);
  uint32_t* at = &buckets_[bucket_of(entry.address)];
  while (*at != index) at = &entries_[*at].hash_next;
  *at = entry.hash_next;
  unlink(entry.proven ? proven_ : unproven_, index, &Entry::use);
  entry.state = State::free;
  entry.check_at = Instant();
  ++entry.generation;
  pool_.give_back(index);
}

// States
// ------------------------------------------------------------------------------------------------

void NeighborTable::stop_timer(uint32_t index) {
  const State state = entries_[index].state;
  if (state == State::incomplete || state == State::probe) {
    unlink(retransmits_, index, &Entry::timer);
  } else if (state == State::delay) {
    unlink(delays_, index, &Entry::timer);
  } else if (state == State::failed) {
    unlink(failures_, index, &Entry::timer);
  }
}

// Each list has one interval, so appending keeps it in order of deadline.
void NeighborTable::start_timer(Instant now, uint32_t index, State state) {
  Entry& entry = entries_[index];
  stop_timer(index);
  entry.state = state;
  if (state == State::delay) {
    entry.deadline = now + delay_first_probe_time;
    append(delays_, index, &Entry::timer);
  } else {
    entry.deadline = now + retransmit_interval;
    append(retransmits_, index, &Entry::timer);
  }
}

void NeighborTable::ask(uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.questioned) return;
  entry.questioned = true;
  const bool pushed = questions_.push(index);
  ASSERT(pushed);  // an entry is in the queue at most once
}

void NeighborTable::become_incomplete(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  start_timer(now, index, State::incomplete);
  entry.check_at = Instant();
  entry.attempts = 1;
  ask(index);
}

void NeighborTable::become_reachable(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  stop_timer(index);
  if (entry.state == State::incomplete || entry.state == State::failed) {
    changed_ = true;
    counters_.add(Counter::inet_neighbors_resolved);
  }
  entry.state = State::reachable;
  entry.deadline = now + reachable_time;
  if (!entry.proven) {
    unlink(unproven_, index, &Entry::use);
    entry.proven = true;
    append(proven_, index, &Entry::use);
  }
  entry.check_at = now + use_resolution;
}

void NeighborTable::become_stale(uint32_t index) {
  Entry& entry = entries_[index];
  stop_timer(index);
  if (entry.state == State::incomplete || entry.state == State::failed) {
    changed_ = true;
    counters_.add(Counter::inet_neighbors_resolved);
  }
  entry.state = State::stale;
  entry.check_at = Instant();
}

void NeighborTable::become_failed(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  stop_timer(index);
  entry.state = State::failed;
  entry.check_at = Instant();
  entry.deadline = now + failure_hold;
  entry.wanted = false;
  append(failures_, index, &Entry::timer);
  ++entry.generation;  // no path leads here any more
  if (entry.proven) {
    unlink(proven_, index, &Entry::use);
    entry.proven = false;
    append(unproven_, index, &Entry::use);
  }
  changed_ = true;
  counters_.add(Counter::inet_neighbors_failed);
}

PathState NeighborTable::resolve(Instant now, const Address& next_hop, PathRef& cached) {
  uint32_t index = find(next_hop);
  if (index == none) {
    index = create(next_hop);
    become_incomplete(now, index);
    return PathState::pending;
  }
  Entry& entry = entries_[index];
  if (entry.state == State::incomplete) return PathState::pending;
  if (entry.state == State::failed) {
    entry.wanted = true;
    if (now < entry.deadline) return PathState::unreachable;
    become_incomplete(now, index);
    return PathState::pending;
  }
  if (entry.state == State::reachable && now >= entry.deadline) entry.state = State::stale;
  // RFC 4861 section 7.3.3: the first packet sent to a stale neighbour starts the delay.
  if (entry.state == State::stale) start_timer(now, index, State::delay);
  touch(now, index);
  cached = {index, entry.generation};
  return PathState::ready;
}

void NeighborTable::confirm(Instant now, const PathRef& ref) {
  if (ref.entry >= entries_.size()) return;
  Entry& entry = entries_[ref.entry];
  if (entry.generation != ref.generation) return;
  // The MAC in use was proven right. (Of one that is being asked for, no path was ever made.)
  if (entry.state == State::reachable) {
    entry.deadline = now + reachable_time;
  } else if (entry.state != State::incomplete && entry.state != State::free &&
             entry.state != State::failed) {
    become_reachable(now, ref.entry);
  }
}

// Source: RFC 4861 sections 7.2.3 and 7.2.5; RFC 826 for ARP ("if the pair is already in my
// translation table, update it").
void NeighborTable::handle_heard(Instant now, const Heard& heard) {
  uint32_t index = find(heard.address);
  if (index == none) {
    if (!heard.may_create || !heard.has_mac) return;
    index = create(heard.address);
    Entry& entry = entries_[index];
    entry.mac = heard.mac;
    entry.state = State::stale;
    return;
  }
  Entry& entry = entries_[index];
  const bool unknown = entry.state == State::incomplete || entry.state == State::failed;
  if (unknown) {
    if (!heard.has_mac) return;
    entry.mac = heard.mac;
    if (heard.solicited) {
      become_reachable(now, index);
    } else {
      become_stale(index);
    }
    return;
  }
  const bool differs = heard.has_mac && heard.mac != entry.mac;
  if (differs && !heard.replaces) {
    if (entry.state == State::reachable) become_stale(index);
    return;
  }
  if (differs) entry.mac = heard.mac;
  if (heard.solicited) {
    become_reachable(now, index);
  } else if (differs) {
    become_stale(index);
  }
}

// Time
// ------------------------------------------------------------------------------------------------

bool NeighborTable::poll_solicitation(Solicitation& out) {
  uint32_t index;
  while (questions_.pop(index)) {  // bounded by the table's size
    Entry& entry = entries_[index];
    entry.questioned = false;
    if (entry.state != State::incomplete && entry.state != State::probe) continue;
    out = {entry.address, entry.state == State::probe, entry.mac};
    return true;
  }
  return false;
}

void NeighborTable::expire_retransmit(Instant now, uint32_t index) {
  Entry& entry = entries_[index];
  if (entry.attempts >= solicitations_max) return become_failed(now, index);
  ++entry.attempts;
  start_timer(now, index, entry.state);
  ask(index);
}

void NeighborTable::handle_timeout(Instant now) {
  // Whoever expires goes to the end of a list with a later deadline, or leaves: the loops end.
  while (retransmits_.first != none && entries_[retransmits_.first].deadline <= now) {
    expire_retransmit(now, retransmits_.first);
  }
  while (delays_.first != none && entries_[delays_.first].deadline <= now) {
    const uint32_t index = delays_.first;
    start_timer(now, index, State::probe);
    entries_[index].attempts = 1;
    ask(index);
  }
  while (failures_.first != none && entries_[failures_.first].deadline <= now) {
    changed_ |= entries_[failures_.first].wanted;
    remove(failures_.first);
  }
  counters_.set(Counter::inet_neighbors, pool_.in_use());
}

Instant NeighborTable::next_timeout() const {
  Instant next = Instant::never();
  if (retransmits_.first != none) next = entries_[retransmits_.first].deadline;
  if (delays_.first != none) next = std::min(next, entries_[delays_.first].deadline);
  if (failures_.first != none) next = std::min(next, entries_[failures_.first].deadline);
  return next;
}

}  // namespace sluice::inet
