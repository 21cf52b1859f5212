#include "tcp/fast_open.h"

#include <algorithm>

namespace sluice::tcp {

FastOpen::Cookie FastOpen::make_for(uint64_t epoch, const inet::Address& remote) const {
  std::array<std::byte, 8> number;
  store_be64(number.data(), epoch);
  const SipDigest key = siphash24_128(options_.key, number);
  Cookie cookie;
  store_be64(cookie.data(), siphash24({key.low, key.high}, remote.bytes()));
  return cookie;
}

FastOpen::Verdict FastOpen::check(Instant now, const inet::Address& remote, Bytes cookie) const {
  const auto is = [&](const Cookie& good) {
    return std::equal(cookie.begin(), cookie.end(), good.begin(), good.end());
  };
  const uint64_t epoch = epoch_of(now);
  if (is(make_for(epoch, remote))) return Verdict::good;
  if (epoch > 0 && is(make_for(epoch - 1, remote))) return Verdict::good_but_old;
  return Verdict::bad;
}

}  // namespace sluice::tcp
