#include "inet/routers.h"

#include <algorithm>

namespace sluice::inet {

bool RouterList::handle_advertisement(Instant now, const Heard& heard) {
  remove(heard.router);
  if (heard.lifetime <= Duration()) return true;
  size_t at = 0;
  while (at < routers_.size() && routers_[at].preference >= heard.preference) ++at;
  return routers_.insert(at, {heard.router, now + heard.lifetime, heard.preference});
}

void RouterList::remove(const Address& router) {
  for (size_t i = 0; i < routers_.size(); ++i) {
    if (routers_[i].address == router) return routers_.erase(i);
  }
}

void RouterList::handle_timeout(Instant now) {
  for (size_t i = routers_.size(); i > 0; --i) {
    if (routers_[i - 1].expires_at <= now) routers_.erase(i - 1);
  }
}

Instant RouterList::next_timeout() const {
  Instant next = Instant::never();
  for (const Router& router : routers_) next = std::min(next, router.expires_at);
  return next;
}

}  // namespace sluice::inet
