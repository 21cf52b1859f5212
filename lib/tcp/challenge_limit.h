// ChallengeLimit: how many challenge ACKs all connections together may send.
//
// Read first: RFC 5961 section 7; CVE-2016-5696 (a shared limit that an attacker can count down
// tells it whether its guess at somebody else's connection was right). So each second's allowance
// is drawn anew, and nobody outside knows it. The limit of each connection is Stack::challenge()'s.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/siphash.h"
#include "base/time.h"

namespace sluice::tcp {

class ChallengeLimit {
 public:
  // As Linux's net.ipv4.tcp_challenge_ack_limit was, which halves and adds at random too.
  static constexpr uint32_t per_second = 1000;

  explicit ChallengeLimit(const SipKey& key) : key_({key.k0 ^ domain, key.k1}) {}

  /// May one more be sent now?
  [[nodiscard]] bool take(Instant now) {
    const int64_t second = now.ns() / Duration::from_s(1).ns();
    if (second != second_) {
      second_ = second;
      std::array<std::byte, 8> number;
      store_be64(number.data(), static_cast<uint64_t>(second));
      left_ = per_second / 2 + static_cast<uint32_t>(siphash24(key_, number) % per_second);
    }
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  static constexpr uint64_t domain = 0x6368616c;  // "chal"

  SipKey key_;
  int64_t second_ = -1;
  uint32_t left_ = 0;
};

}  // namespace sluice::tcp
