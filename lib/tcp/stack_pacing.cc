// When what is to be sent may leave, and in trains of what length: docs/decisions/0062-pacing.md.
#include <algorithm>

#include "tcp/stack.h"

namespace sluice::tcp {

uint32_t Stack::longest_train(const Sender& sender) const {
  const uint32_t bytes = std::max(sender.pacer.train_bytes(), sender.pacer.free_bytes());
  return std::min(bytes, config_.train_max_bytes);
}

// What leaves first leaves at once: RFC 6928. BBR knows a rate, once it has one.
void Stack::start_pacing(const Connection& c, Sender& sender) const {
  const BbrState* bbr = sender.congestion.bbr();
  const bool rate_known = bbr != nullptr && bbr->bw > 0;
  sender.pacer.start(rate_known ? sender.pacer.train_bytes() : initial_window_bytes(c.mss));
}

// Data waits for its time; a probe of the tail and a FIN alone do not.
Stack::Plan Stack::plan(Connection& c) {
  Plan planned = plan_unpaced(c);
  if (c.sender == none) return planned;
  Sender& sender = senders_[c.sender];
  sender.held = planned.kind != Plan::Kind::none && !planned.probe && !sender.pacer.ready(now_) &&
                planned.range.begin < sender.queue.end();
  return sender.held ? Plan{} : planned;
}

}  // namespace sluice::tcp
