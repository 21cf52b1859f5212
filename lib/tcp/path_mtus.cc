#include "tcp/path_mtus.h"

namespace sluice::tcp {

uint16_t PathMtus::find(Instant now, const inet::Address& remote) const {
  if (!used_) return 0;
  const uint32_t first = set_of(remote);
  for (uint32_t i = first; i < first + ways; ++i) {
    const Entry& entry = entries_[i];
    if (entry.mtu == 0 || !(entry.remote == remote)) continue;
    return seconds(now) - entry.learnt_s < forgotten_after_s ? entry.mtu : uint16_t{0};
  }
  return 0;
}

void PathMtus::learn(Instant now, const inet::Address& remote, uint16_t mtu) {
  const uint32_t first = set_of(remote);
  uint32_t place = first;
  for (uint32_t i = first; i < first + ways; ++i) {
    const Entry& entry = entries_[i];
    if (entry.mtu != 0 && entry.remote == remote) {
      place = i;
      break;
    }
    // A free one was learnt at 0.
    if (entry.learnt_s < entries_[place].learnt_s) place = i;
  }
  entries_[place] = {.remote = remote, .learnt_s = seconds(now), .mtu = mtu};
  used_ = true;
}

void PathMtus::forget(const inet::Address& remote) {
  if (!used_) return;
  const uint32_t first = set_of(remote);
  for (uint32_t i = first; i < first + ways; ++i) {
    if (entries_[i].remote == remote) entries_[i] = {};
  }
}

}  // namespace sluice::tcp
