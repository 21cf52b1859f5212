// PathMtus: what paths carry that carry less than our link, by destination: a connection learns
// from those before it.
//
// Read first: RFC 8201 sections 5.2 (kept by destination) and 5.3 (forgotten after ten minutes),
// RFC 1191 section 6, RFC 4821 section 5.2. A bounded set-associative table: a new entry takes the
// place of the oldest of its set. Only what a connection has made sure of comes here: a message
// about a segment in flight, or a search that ended. Pure; a value inside the Stack.
#pragma once

#include <cstdint>

#include "base/fixed_array.h"
#include "base/siphash.h"
#include "base/time.h"
#include "inet/address.h"

namespace sluice::tcp {

class PathMtus {
 public:
  // RFC 8201 section 5.3: "about 10 minutes".
  static constexpr uint32_t forgotten_after_s = 600;
  static constexpr uint32_t sets = 256;
  static constexpr uint32_t ways = 4;

  explicit PathMtus(const SipKey& key) : key_(key), entries_(size_t{sets} * ways) {}

  /// Has anything been learnt at all? Costs nothing.
  [[nodiscard]] bool empty() const { return !used_; }
  /// Units: bytes of the IP packet. Returns: 0 when nothing is known, or not any more.
  [[nodiscard]] uint16_t find(Instant now, const inet::Address& remote) const;
  void learn(Instant now, const inet::Address& remote, uint16_t mtu);
  /// The path carries all that the link does.
  void forget(const inet::Address& remote);

  [[nodiscard]] static uint64_t memory_bytes() { return uint64_t{sets} * ways * sizeof(Entry); }

 private:
  struct Entry {
    inet::Address remote;
    uint32_t learnt_s = 0;
    uint16_t mtu = 0;  // 0: free
  };

  [[nodiscard]] uint32_t set_of(const inet::Address& remote) const {
    return static_cast<uint32_t>(siphash24(key_, remote.bytes()) % sets) * ways;
  }
  [[nodiscard]] static uint32_t seconds(Instant now) {
    return static_cast<uint32_t>(now.ns() / 1'000'000'000);
  }

  SipKey key_;
  FixedArray<Entry> entries_;
  bool used_ = false;
};

}  // namespace sluice::tcp
