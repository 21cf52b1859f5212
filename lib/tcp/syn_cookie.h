// SynCookies: half-open connections that are kept by the peer, in the numbers that it sends back.
//
// Read first: RFC 4987 section 3.6, RFC 7323 section 3. While the half-open table is under pressure
// a SYN is answered and forgotten. All that its connection will need comes back in the third packet
// of the handshake:
//
//   initial sequence number   31                       5 4  3 2   0
//                             |  MAC, 27 bits           | epoch | mss class |    (all but the MAC's
//                                                                               bits are masked)
//   timestamp                 31                       6 5    4      3       0
//                             |  the clock, rounded down | ECN | SACK | window scale, 15: none |
//
// Without timestamps nothing but the segment size is kept, and the SYN-ACK offers nothing more.
//
// The MAC covers the flow (by its keyed hash, tcp/flow.h: one hash of the flow does for the tables,
// the timestamp offset and the cookie), the peer's initial number and the options, under a key of
// its epoch (64 seconds); a cookie is taken in its own epoch and the next. A guess is right once in
// 2^28.
//
// Pressure has hysteresis: cookies begin when the table is full to `enter_above`, and end when it
// is half empty again and fewer SYNs of the last second than that went unanswered. One thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/siphash.h"
#include "base/time.h"
#include "tcp/flow.h"
#include "tcp/seq_number.h"

namespace sluice::tcp {

/// What a handshake agrees on.
struct Handshake {
  static constexpr uint8_t no_window_scale = 15;

  uint16_t mss = 0;  // the peer's, or the default
  uint8_t window_scale = no_window_scale;
  bool sack_permitted = false;
  bool ecn = false;
  bool timestamps = false;

  bool operator==(const Handshake&) const = default;
};

class SynCookies {
 public:
  explicit SynCookies(const SipKey& key) : key_(key) {}

  struct Made {
    SeqNumber iss;
    Handshake agreed;            // what the SYN-ACK may offer, and what check() will give back
    uint32_t timestamp_low = 0;  // with timestamps: the low bits of the SYN-ACK's
  };
  /// Makes the initial sequence number of a SYN-ACK for which nothing will be remembered.
  [[nodiscard]] Made make(Instant now, uint64_t flow_hash, SeqNumber irs, const Handshake& asked);

  /// Judges the third packet of a handshake.
  /// `echo`: the timestamp that it echoes, our own offset taken off; nothing is assumed of it when
  /// `timestamps` is false.
  struct Ack {
    SeqNumber irs;
    SeqNumber iss;
    bool timestamps = false;
    uint32_t echo = 0;
  };
  /// Returns false when this is no cookie of ours, or an old one.
  [[nodiscard]] bool check(Instant now, uint64_t flow_hash, const Ack& ack, Handshake& out);

  /// The timestamp of a SYN-ACK: the latest that is not after `clock` and has those low bits, so
  /// that it never runs backwards.
  [[nodiscard]] static uint32_t timestamp(uint32_t clock, uint32_t low) {
    const uint32_t rounded = (clock & ~timestamp_mask) | low;
    return static_cast<int32_t>(rounded - clock) > 0 ? rounded - (timestamp_mask + 1) : rounded;
  }

  /// To be told of each SYN, and of how full the half-open table is then. Returns: whether it is to
  /// be answered with a cookie.
  [[nodiscard]] bool wanted(Instant now, uint32_t half_open, uint32_t half_open_max);
  [[nodiscard]] bool active() const { return active_; }
  /// Whether cookies may be out: else no ACK needs to be checked.
  [[nodiscard]] bool outstanding(Instant now) const {
    return !last_made_.is_never() && now - last_made_ < 2 * epoch_length;
  }
  void note_accepted() { unanswered_ -= unanswered_ > 0 ? 1 : 0; }

 private:
  static constexpr Duration epoch_length = Duration::from_s(64);
  static constexpr uint32_t timestamp_mask = 0x3f;

  struct EpochKey {
    uint64_t epoch = UINT64_MAX;
    SipKey key;
  };
  [[nodiscard]] const SipKey& key_of(uint64_t epoch);
  [[nodiscard]] uint32_t mac(uint64_t epoch, uint64_t flow_hash, SeqNumber irs, uint8_t options);

  SipKey key_;
  std::array<EpochKey, 2> keys_;  // by the epoch's lowest bit
  Instant last_made_ = Instant::never();
  bool active_ = false;
  // SYNs answered with a cookie in this second, less the cookies that came back.
  Instant second_began_;
  uint32_t unanswered_ = 0;
  uint32_t unanswered_before_ = 0;
};

}  // namespace sluice::tcp
