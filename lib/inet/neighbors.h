// NeighborTable: from a next hop's address to its MAC, for ARP and NDP alike. Read first: RFC 4861
// section 7.3 (the state machine, used for IPv4 too, as Linux does) and RFC 1122 section 2.3.2.
//
//   incomplete --answer--> reachable --30 s--> stale --used--> delay --5 s--> probe --3 x 1 s-->
//        |                     ^                                 |              |            failed
//        +--3 x 1 s--> failed  +------ answer, or confirm() -----+--------------+
//
// Invariants: bounded by its capacity; an entry whose generation is a PathRef's is usable for
// sending; entries that never proved reachable are evicted before those that did, each kind by
// least recent use, so that a flood of made-up neighbours costs no real one. Runs on its worker.
#pragma once

#include <cstdint>
#include <limits>

#include "base/bounded_queue.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "base/time.h"
#include "inet/address.h"
#include "stats/counters.h"
#include "wire/ethernet.h"

namespace sluice::inet {

/// A connection's memory of its next hop. Small, copyable; the default value knows nothing.
struct PathRef {
  uint32_t entry = std::numeric_limits<uint32_t>::max();
  uint32_t generation = 0;
};

enum class PathState : uint8_t {
  ready,        // frames may be emitted
  pending,      // the neighbour is being asked for; take_path_changes() will tell
  unreachable,  // no route, or the neighbour does not answer: take_path_changes() will tell when it
                // is worth asking again
};

class NeighborTable {
 public:
  struct Options {
    uint32_t capacity = 1024;  // > 0
    SipKey key;
  };
  NeighborTable(const Options& options, stats::Counters& counters);

  /// The fast path: is what `cached` remembers good at `now`?
  [[nodiscard]] bool is_ready(Instant now, const PathRef& cached) const {
    if (cached.entry >= entries_.size()) return false;
    const Entry& entry = entries_[cached.entry];
    return entry.generation == cached.generation && now < entry.check_at;
  }
  /// Finds or makes the entry of `next_hop`, and starts asking for it where needed.
  [[nodiscard]] PathState resolve(Instant now, const Address& next_hop, PathRef& cached);
  /// Requires: a PathRef that resolve() called ready, in this turn.
  [[nodiscard]] const wire::MacAddress& mac(const PathRef& ref) const {
    const Entry& entry = entries_[ref.entry];
    ASSERT(entry.generation == ref.generation);
    return entry.mac;
  }
  /// The upper layer makes forward progress through this neighbour (RFC 4861 section 7.3.1).
  void confirm(Instant now, const PathRef& ref);

  /// What a neighbour said of itself.
  struct Heard {
    Address address;
    wire::MacAddress mac;
    bool has_mac = true;      // an advertisement may leave it out
    bool solicited = false;   // an answer to a question of ours: proves reachability both ways
    bool replaces = true;     // may replace a known MAC (the Override flag)
    bool may_create = false;  // it is talking to us: worth an entry
  };
  void handle_heard(Instant now, const Heard& heard);

  /// A question that shall go on the wire.
  struct Solicitation {
    Address target;
    bool unicast = false;  // to `mac`; otherwise broadcast, or the solicited-node group
    wire::MacAddress mac;
  };
  [[nodiscard]] bool poll_solicitation(Solicitation& out);
  [[nodiscard]] bool has_solicitation() const { return !questions_.empty(); }

  void handle_timeout(Instant now);
  [[nodiscard]] Instant next_timeout() const;
  /// True once after some neighbour became usable, failed, or may be asked for again.
  [[nodiscard]] bool take_changes() {
    const bool changed = changed_;
    changed_ = false;
    return changed;
  }

  [[nodiscard]] uint32_t size() const { return pool_.in_use(); }
  [[nodiscard]] static uint64_t memory_bytes(const Options& options);

 private:
  static constexpr uint32_t none = IndexPool::none;

  enum class State : uint8_t { free, incomplete, reachable, stale, delay, probe, failed };
  struct Link {
    uint32_t next = none;
    uint32_t previous = none;
  };
  struct List {
    uint32_t first = none;  // oldest
    uint32_t last = none;
  };
  struct Entry {
    // What sending touches.
    Instant check_at;  // is_ready() holds before this
    uint32_t generation = 1;
    wire::MacAddress mac;
    State state = State::free;
    bool proven = false;      // was reachable once: in proven_, not in unproven_
    bool questioned = false;  // in questions_
    bool wanted = false;      // failed: somebody asked for it since
    uint8_t attempts = 0;
    // The rest.
    Address address;
    Instant deadline;  // reachable: until; failed: until; incomplete, delay, probe: timer
    Link use;          // in proven_ or unproven_
    Link timer;        // in retransmits_, delays_ or failures_
    uint32_t hash_next = none;
  };
  static_assert(sizeof(Entry) <= 128);

  [[nodiscard]] uint32_t bucket_of(const Address& address) const;
  [[nodiscard]] uint32_t find(const Address& address) const;
  [[nodiscard]] uint32_t create(const Address& address);
  void remove(uint32_t index);
  void append(List& list, uint32_t index, Link Entry::*link);
  void unlink(List& list, uint32_t index, Link Entry::*link);
  void touch(Instant now, uint32_t index);
  void stop_timer(uint32_t index);
  void start_timer(Instant now, uint32_t index, State state);
  void ask(uint32_t index);
  void become_incomplete(Instant now, uint32_t index);
  void become_reachable(Instant now, uint32_t index);
  void become_stale(uint32_t index);
  void become_failed(Instant now, uint32_t index);
  void expire_retransmit(Instant now, uint32_t index);

  SipKey key_;
  stats::Counters& counters_;
  FixedArray<Entry> entries_;
  FixedArray<uint32_t> buckets_;
  uint32_t bucket_mask_;
  IndexPool pool_;
  BoundedQueue<uint32_t> questions_;
  List proven_;
  List unproven_;
  List retransmits_;  // incomplete, probe: all with the same interval, so in order of deadline
  List delays_;       // delay: likewise
  List failures_;     // failed: likewise
  bool changed_ = false;
};

}  // namespace sluice::inet
