// TimeWaitTable: what must be remembered of a connection that closed first.
//
// Read first: RFC 9293 section 3.6.1 (MSL and reuse), RFC 1337, RFC 6191. An entry is 64 bytes
// where a connection is many times that, and has no timer: all wait equally long, so that the list
// in the order of arrival is the list in the order of expiry. When the table is full the oldest
// makes room.
#pragma once

#include <cstdint>
#include <limits>

#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "base/siphash.h"
#include "base/time.h"
#include "tcp/flow.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

class TimeWaitTable {
 public:
  struct State {
    SeqNumber snd_nxt;       // behind our FIN
    SeqNumber rcv_nxt;       // behind the peer's FIN
    uint32_t ts_recent = 0;  // the peer's last timestamp
    uint32_t timestamp_offset = 0;
    bool has_timestamps = false;
  };
  struct Options {
    uint32_t capacity = 0;
    Duration linger;  // 2 MSL
  };

  TimeWaitTable(const Options& options, const SipKey& key);

  /// Remembers the flow until now + linger; replaces what was known of it.
  /// Returns: true when the oldest entry had to make room.
  /// Requires: capacity > 0.
  bool insert(Instant now, const Flow& flow, const State& state);

  /// Returns: nullptr when the flow is not there. Valid until the table changes.
  [[nodiscard]] const State* find(const Flow& flow) const;
  /// The same, for who has flow_hash() of it and of the table's key at hand.
  [[nodiscard]] const State* find(const Flow& flow, uint64_t hash) const;

  /// Waits the whole time again: a FIN came once more (RFC 9293 section 3.10.7.8). Does nothing
  /// when the flow is not there.
  void restart(Instant now, const Flow& flow);

  /// Does nothing when the flow is not there.
  void remove(const Flow& flow);

  /// Forgets what has waited long enough. Returns: how many.
  uint32_t expire(Instant now);

  /// When expire() has something to do next; never() when the table is empty.
  [[nodiscard]] Instant next_timeout() const;

  [[nodiscard]] uint32_t size() const { return pool_.in_use(); }
  [[nodiscard]] uint32_t capacity() const { return pool_.size(); }

 private:
  static constexpr uint32_t none = IndexPool::none;
  struct Entry {
    Instant expires;
    Flow flow;
    State state;
    uint32_t older = none;
    uint32_t newer = none;
    uint32_t chain = none;
  };

  [[nodiscard]] uint32_t bucket_of(uint64_t hash) const {
    return static_cast<uint32_t>(hash) & (static_cast<uint32_t>(buckets_.size()) - 1);
  }
  [[nodiscard]] uint32_t bucket_of(const Flow& flow) const {
    return bucket_of(flow_hash(key_, flow));
  }
  [[nodiscard]] uint32_t walk(uint32_t index, const Flow& flow) const;
  [[nodiscard]] uint32_t index_of(const Flow& flow) const;
  void link_newest(uint32_t index);
  void unlink(uint32_t index);
  void erase(uint32_t index);

  SipKey key_;
  Duration linger_;
  uint32_t oldest_ = none;
  uint32_t newest_ = none;
  IndexPool pool_;
  FixedArray<Entry> entries_;
  FixedArray<uint32_t> buckets_;
};

/// Whether a SYN for a flow in TIME-WAIT may begin a new connection. Source: RFC 6191 section 2.
///
///   old one had | SYN has | it may
///   timestamps  | one     | when it is later, or the same and the sequence number is higher
///   timestamps  | none    | when the sequence number is higher
///   none        | one     | always
///   none        | none    | when the sequence number is higher
///
/// Deviation: a SYN that may not is answered with an ACK, as RFC 9293 section 3.10.7.4 has it,
/// where RFC 6191 drops it silently: the peer's RST tells that it knows nothing of the old
/// connection.
struct ReuseSyn {
  SeqNumber seq;
  bool has_timestamp = false;
  uint32_t timestamp = 0;
};
[[nodiscard]] bool may_reuse(const TimeWaitTable::State& state, const ReuseSyn& syn);

}  // namespace sluice::tcp
