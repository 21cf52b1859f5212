#include "tcp/syn_cookie.h"

#include <algorithm>

namespace sluice::tcp {
namespace {

constexpr uint64_t domain_cookie = 0x636f6f6b6965;  // "cookie"

// What peers announce; the next lower one is taken. 88 is the least that Stack accepts.
constexpr std::array<uint16_t, 8> mss_classes{88, 536, 1220, 1360, 1400, 1440, 1460, 8940};

constexpr uint32_t mss_mask = 0x7;
constexpr uint32_t epoch_shift = 3;
constexpr uint32_t epoch_mask = 0x3;
constexpr uint32_t low_mask = 0x1f;

constexpr uint8_t option_sack = 0x10;
constexpr uint8_t option_ecn = 0x20;
constexpr uint8_t option_scale_mask = 0x0f;
constexpr uint8_t option_timestamps = 0x40;  // in the MAC alone

// Cookies begin when the table is full to 7/8, and end at a half of it.
constexpr uint32_t enter_numerator = 7;
constexpr uint32_t enter_denominator = 8;
constexpr Duration second = Duration::from_s(1);

uint32_t mss_class(uint16_t mss) {
  const auto above = std::upper_bound(mss_classes.begin() + 1, mss_classes.end(), mss);
  return static_cast<uint32_t>(above - mss_classes.begin()) - 1;
}

uint8_t option_bits(const Handshake& handshake) {
  if (!handshake.timestamps) return 0;
  uint8_t bits = handshake.window_scale & option_scale_mask;
  if (handshake.sack_permitted) bits |= option_sack;
  if (handshake.ecn) bits |= option_ecn;
  return bits;
}

}  // namespace

const SipKey& SynCookies::key_of(uint64_t epoch) {
  EpochKey& slot = keys_[epoch & 1];
  if (slot.epoch != epoch) {
    std::array<std::byte, 8> number;
    store_be64(number.data(), epoch);
    const SipDigest derived = siphash24_128({key_.k0 ^ domain_cookie, key_.k1}, number);
    slot = {epoch, {derived.low, derived.high}};
  }
  return slot.key;
}

uint32_t SynCookies::mac(uint64_t epoch, uint64_t flow_hash, SeqNumber irs, uint8_t options) {
  std::array<std::byte, 13> packed;
  store_be64(packed.data(), flow_hash);
  store_be32(&packed[8], irs.value());
  store_u8(&packed[12], options);
  return static_cast<uint32_t>(siphash24(key_of(epoch), packed));
}

SynCookies::Made SynCookies::make(Instant now, uint64_t flow_hash, SeqNumber irs,
                                  const Handshake& asked) {
  Made made{.agreed = asked};
  if (!asked.timestamps) made.agreed = {.mss = asked.mss};
  const uint32_t size = mss_class(asked.mss);
  made.agreed.mss = mss_classes[size];
  const uint8_t bits = option_bits(made.agreed);
  const auto epoch = static_cast<uint64_t>(now.ns() / epoch_length.ns());
  const uint32_t hidden =
      mac(epoch, flow_hash, irs,
          static_cast<uint8_t>(bits | (made.agreed.timestamps ? option_timestamps : 0)));
  // The low bits of the MAC hide the epoch and the class; its high bits prove them, since what they
  // unmask decides under which key they are looked for.
  const uint32_t low = size | (static_cast<uint32_t>(epoch) & epoch_mask) << epoch_shift;
  made.iss = SeqNumber((hidden & ~low_mask) + ((hidden + low) & low_mask));
  made.timestamp_low = bits;
  last_made_ = now;
  ++unanswered_;
  return made;
}

bool SynCookies::check(Instant now, uint64_t flow_hash, const Ack& ack, Handshake& out) {
  const auto bits = ack.timestamps ? static_cast<uint8_t>(ack.echo & timestamp_mask) : uint8_t{0};
  const auto epoch_now = static_cast<uint64_t>(now.ns() / epoch_length.ns());
  for (uint64_t back = 0; back < 2 && back <= epoch_now; ++back) {
    const uint64_t epoch = epoch_now - back;
    const uint32_t hidden =
        mac(epoch, flow_hash, ack.irs,
            static_cast<uint8_t>(bits | (ack.timestamps ? option_timestamps : 0)));
    if (((hidden ^ ack.iss.value()) & ~low_mask) != 0) continue;
    const uint32_t low = (ack.iss.value() - hidden) & low_mask;
    if (low >> epoch_shift != (static_cast<uint32_t>(epoch) & epoch_mask)) continue;
    out = {.mss = mss_classes[low & mss_mask], .timestamps = ack.timestamps};
    if (ack.timestamps) {
      out.window_scale = bits & option_scale_mask;
      out.sack_permitted = (bits & option_sack) != 0;
      out.ecn = (bits & option_ecn) != 0;
    }
    return true;
  }
  return false;
}

bool SynCookies::wanted(Instant now, uint32_t half_open, uint32_t half_open_max) {
  if (now - second_began_ >= second) {
    unanswered_before_ = now - second_began_ < 2 * second ? unanswered_ : 0;
    unanswered_ = 0;
    second_began_ = now;
  }
  const uint64_t enter_above = uint64_t{half_open_max} * enter_numerator / enter_denominator;
  const uint32_t half = half_open_max / 2;
  if (!active_) {
    active_ = half_open >= enter_above;
  } else {
    const bool calm = half_open <= half && unanswered_ <= half && unanswered_before_ <= half;
    if (calm) active_ = false;
  }
  return active_;
}

}  // namespace sluice::tcp
