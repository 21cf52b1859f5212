// PortWatch: what happens to the ports of a running sluiced: a link that goes down or comes up is
// logged, a device that the kernel wants back (unplugged, taken from its driver) is let go while
// the other ports serve on. Control thread.
#pragma once

#include <memory>
#include <vector>

#include "base/time.h"
#include "nic/port.h"
#include "worker_loop.h"

namespace sluice::app {

class PortWatch {
 public:
  /// How often to look.
  static constexpr Duration interval = 500_ms;

  using Ports = std::vector<std::unique_ptr<nic::Port>>;
  using Workers = std::vector<std::unique_ptr<Worker>>;
  /// Lane i of every worker is port i. Both outlive this.
  PortWatch(const Ports& ports, const Workers& workers)
      : ports_(ports), workers_(workers), states_(ports.size()) {}

  void look();

 private:
  struct State {
    bool link_up = true;  // as it was told last
    bool gone = false;
  };
  void tell_link(size_t port);
  void give_back(size_t port);

  const Ports& ports_;
  const Workers& workers_;
  std::vector<State> states_;
};

}  // namespace sluice::app
