#include "port_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>

#include "clock.h"

namespace sluice::app {
namespace {

// A worker looks at its orders every turn; a machine with too few cores may keep it from that.
constexpr Duration leave_patience = 5_s;

}  // namespace

void PortWatch::look() {
  for (size_t i = 0; i < ports_.size(); ++i) {
    if (states_[i].gone) continue;
    if (ports_[i]->is_wanted_back()) {
      give_back(i);
    } else {
      tell_link(i);
    }
  }
}

void PortWatch::tell_link(size_t port) {
  const bool up = ports_[port]->link_up();
  if (up == states_[port].link_up) return;
  states_[port].link_up = up;
  if (up) {
    spdlog::info("port {}: the link is up", ports_[port]->facts().spec);
  } else {
    spdlog::warn("port {}: the link is down", ports_[port]->facts().spec);
  }
}

void PortWatch::give_back(size_t port) {
  const std::string& spec = ports_[port]->facts().spec;
  spdlog::warn("port {}: its device is being removed: its connections end, and it is let go", spec);
  states_[port].gone = true;
  for (const auto& worker : workers_) worker->leave_port(port);
  const auto has_left = [&](const auto& worker) { return worker->has_left(port); };
  const Instant until = clock_now() + leave_patience;
  const timespec step{.tv_sec = 0, .tv_nsec = 1'000'000};
  while (!std::all_of(workers_.begin(), workers_.end(), has_left)) {
    if (clock_now() > until) {
      spdlog::error("port {}: a worker does not leave it: it stays until sluiced ends", spec);
      return;
    }
    nanosleep(&step, nullptr);
  }
  const uint64_t lost = ports_[port]->give_back(Duration());
  const auto left =
      std::count_if(states_.begin(), states_.end(), [](const State& each) { return !each.gone; });
  spdlog::warn("port {}: let go, {} frames did not leave; {} of {} ports serve on", spec, lost,
               left, ports_.size());
}

}  // namespace sluice::app
