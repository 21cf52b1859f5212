// SourceLimits: how many connections one source may have: a single IPv4 address, or a /64 of IPv6,
// which is what one subscriber gets (RFC 6177); both prefix lengths can be chosen.
//
// Off by default: behind one address there may be a whole company. Where it is on, its table has an
// entry for every source that has a connection, so it can never be too small: open addressing with
// linear probing, half of the entries free, as ConnectionTable.
#pragma once

#include <cstdint>

#include "base/fixed_array.h"
#include "base/siphash.h"
#include "inet/address.h"

namespace sluice::tcp {

struct SourceLimitOptions {
  uint32_t connections_max = 0;  // of one source, half-open ones included; 0: no limit
  uint32_t half_open_max = 0;    // of one source; 0: no limit
  uint8_t prefix_v4 = 32;
  uint8_t prefix_v6 = 64;

  [[nodiscard]] bool enabled() const { return connections_max > 0 || half_open_max > 0; }
};

class SourceLimits {
 public:
  SourceLimits(const SourceLimitOptions& options, uint32_t connections_max, const SipKey& key);

  [[nodiscard]] bool allows_connection(const inet::Address& remote) const {
    return options_.connections_max == 0 || count(remote).open < options_.connections_max;
  }
  [[nodiscard]] bool allows_half_open(const inet::Address& remote) const {
    return options_.half_open_max == 0 || count(remote).half_open < options_.half_open_max;
  }

  // Each does nothing where there are no limits. Requires: calls in pairs.
  void open(const inet::Address& remote) { change(remote, {.open = 1}); }
  void close(const inet::Address& remote) { change(remote, {.open = -1}); }
  void open_half(const inet::Address& remote) { change(remote, {.half_open = 1}); }
  void close_half(const inet::Address& remote) { change(remote, {.half_open = -1}); }

  [[nodiscard]] uint32_t sources() const { return size_; }
  [[nodiscard]] static uint64_t memory_bytes(const SourceLimitOptions& options,
                                             uint32_t connections_max);

 private:
  struct Prefix {
    uint64_t high = 0;
    uint64_t low = 0;
    bool operator==(const Prefix&) const = default;
  };
  struct Count {
    uint32_t open = 0;
    uint32_t half_open = 0;
  };
  struct Change {
    int32_t open = 0;
    int32_t half_open = 0;
  };
  struct Entry {
    Prefix source;
    Count count;  // open > 0: taken
  };

  [[nodiscard]] Prefix prefix_of(const inet::Address& remote) const;
  [[nodiscard]] uint32_t home_of(const Prefix& source) const;
  [[nodiscard]] Count count(const inet::Address& remote) const;
  void change(const inet::Address& remote, const Change& change);
  void remove(uint32_t hole);

  SourceLimitOptions options_;
  SipKey key_;
  FixedArray<Entry> entries_;
  uint32_t mask_;
  uint32_t size_ = 0;
};

}  // namespace sluice::tcp
