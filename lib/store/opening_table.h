// OpeningTable: paths that are being asked of the disk, each once, and who waits for the outcome:
// lookups of workers, in the order in which they came, and objects whose file was closed and is
// needed again.
#pragma once

#include <string_view>

#include "base/siphash.h"
#include "base/time.h"
#include "store/io.h"
#include "store/links.h"

namespace sluice::store {

class OpeningTable {
 public:
  enum class State : uint8_t {
    queued,    // for a file number and a turn at the disk
    asked,     // the disk has it
    settling,  // the file changed a moment ago: looked at again after a pause
  };
  struct Opening {
    SipDigest key;
    std::string_view path;  // of the first lookup; empty: that of the first wanting object
    State state = State::queued;
    bool again = false;  // something changed meanwhile: the answer will be out of date
    uint8_t attempts = 0;
    uint64_t epoch = 0;  // in which the disk was asked
    uint32_t file = none;
    FileFacts facts;  // what the disk said last
    Instant due;      // settling
    uint32_t first_waiter = none;
    uint32_t last_waiter = none;
    uint32_t first_wanting = none;  // object slots
    uint32_t hash_next = none;
    Link turn;  // queued, or settling
  };
  struct Waiter {
    uint32_t worker = 0;
    uint32_t ticket = 0;
    uint32_t next = none;
  };
  using Queue = IndexList<Opening, &Opening::turn>;

  struct Sizes {
    uint32_t openings = 0;
    uint32_t waiters = 0;
  };
  explicit OpeningTable(const Sizes& sizes)
      : openings_(sizes.openings),
        pool_(sizes.openings),
        index_(sizes.openings),
        waiters_(sizes.waiters),
        waiter_pool_(sizes.waiters) {}

  [[nodiscard]] uint32_t find(const SipDigest& key) const {
    uint32_t entry = index_.first(key.low);
    while (entry != none && openings_[entry].key != key) entry = openings_[entry].hash_next;
    return entry;
  }
  /// The table is as large as there can be openings: it is never full.
  [[nodiscard]] uint32_t add(const SipDigest& key) {
    const uint32_t entry = pool_.take();
    ASSERT(entry != none);
    openings_[entry] = Opening{};
    openings_[entry].key = key;
    index_.insert(openings_, key.low, entry);
    return entry;
  }
  /// Requires: no waiters left.
  void remove(uint32_t entry) {
    ASSERT(openings_[entry].first_waiter == none);
    index_.remove(openings_, openings_[entry].key.low, entry);
    pool_.give_back(entry);
  }
  void add_waiter(uint32_t entry, const Waiter& waiter) {
    const uint32_t number = waiter_pool_.take();
    ASSERT(number != none);
    waiters_[number] = waiter;
    waiters_[number].next = none;
    Opening& opening = openings_[entry];
    (opening.last_waiter != none ? waiters_[opening.last_waiter].next : opening.first_waiter) =
        number;
    opening.last_waiter = number;
  }
  /// The one that came first. Returns false when there is none.
  [[nodiscard]] bool pop_waiter(uint32_t entry, Waiter& out) {
    Opening& opening = openings_[entry];
    const uint32_t number = opening.first_waiter;
    if (number == none) return false;
    out = waiters_[number];
    opening.first_waiter = out.next;
    if (opening.first_waiter == none) opening.last_waiter = none;
    waiter_pool_.give_back(number);
    return true;
  }
  [[nodiscard]] Opening& operator[](uint32_t entry) { return openings_[entry]; }
  [[nodiscard]] const Opening& operator[](uint32_t entry) const { return openings_[entry]; }
  [[nodiscard]] FixedArray<Opening>& entries() { return openings_; }
  [[nodiscard]] bool is_taken(uint32_t entry) const {
    return entry < pool_.size() && pool_.is_taken(entry);
  }
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t size() const { return pool_.size(); }

 private:
  FixedArray<Opening> openings_;
  IndexPool pool_;
  HashChains<Opening, &Opening::hash_next> index_;
  FixedArray<Waiter> waiters_;
  IndexPool waiter_pool_;
};

}  // namespace sluice::store
