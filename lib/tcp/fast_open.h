// FastOpen: cookies for TCP Fast Open, and how many connections may rest on one alone.
//
// Read first: RFC 7413 sections 4.1.2 (server cookie handling), 5.1 (resource exhaustion).
// A cookie proves that its bearer received a packet at this address before. It is
// SipHash(key of the epoch, address): nothing is remembered of it. A cookie is good in its epoch
// (an hour) and the next, and whoever brings one of the epoch before gets a new one. All engines
// share the key: the next connection of a client may come to another worker.
//
// A client that can see our answers to another address may use that one's cookie: so the number of
// connections that have not finished their handshake is limited, and beyond it data in a SYN is
// ignored (section 5.1). One thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/siphash.h"
#include "base/time.h"
#include "inet/address.h"

namespace sluice::tcp {

class FastOpen {
 public:
  static constexpr size_t cookie_bytes = 8;
  using Cookie = std::array<std::byte, cookie_bytes>;

  struct Options {
    SipKey key;
    uint32_t pending_max = 0;  // 0: no Fast Open
  };
  explicit FastOpen(const Options& options) : options_(options) {}

  [[nodiscard]] bool enabled() const { return options_.pending_max > 0; }

  [[nodiscard]] Cookie make(Instant now, const inet::Address& remote) const {
    return make_for(epoch_of(now), remote);
  }
  enum class Verdict : uint8_t { bad, good, good_but_old };
  [[nodiscard]] Verdict check(Instant now, const inet::Address& remote, Bytes cookie) const;

  /// One more connection has data and no finished handshake. Returns false when there are too many.
  [[nodiscard]] bool begin() {
    if (pending_ >= options_.pending_max) return false;
    ++pending_;
    return true;
  }
  void end() { --pending_; }
  [[nodiscard]] uint32_t pending() const { return pending_; }

 private:
  static constexpr Duration epoch_length = Duration::from_s(3600);

  [[nodiscard]] static uint64_t epoch_of(Instant now) {
    return static_cast<uint64_t>(now.ns() / epoch_length.ns());
  }
  [[nodiscard]] Cookie make_for(uint64_t epoch, const inet::Address& remote) const;

  Options options_;
  uint32_t pending_ = 0;
};

}  // namespace sluice::tcp
