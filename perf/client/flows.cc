#include "flows.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "exchange.h"
#include "monotonic.h"

namespace sluice::perf {

namespace {

class Flow {
 public:
  Flow(const FlowPlan& plan, size_t intervals) : plan_(plan) { result_.bytes.resize(intervals); }
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;
  Flow(Flow&&) = delete;
  Flow& operator=(Flow&&) = delete;
  ~Flow() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  void start() {
    descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int rc = connect(descriptor_, reinterpret_cast<const sockaddr*>(&plan_.server),
                           sizeof(plan_.server));
    if (rc != 0 && errno != EINPROGRESS) fail(std::strerror(errno));
  }

  [[nodiscard]] pollfd wanted() const {
    return {
        .fd = descriptor_, .events = static_cast<int16_t>(asked_ ? POLLIN : POLLOUT), .revents = 0};
  }

  void handle(size_t interval) {
    if (!asked_) {
      const std::string request = "GET " + plan_.path + " HTTP/1.1\r\nHost: perf\r\n\r\n";
      asked_ = send(descriptor_, request.data(), request.size(), MSG_NOSIGNAL) > 0;
      if (!asked_) fail(std::strerror(errno));
      return;
    }
    static char buffer[262'144];
    const ssize_t count = recv(descriptor_, buffer, sizeof(buffer), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return fail(count == 0 ? "closed early" : std::strerror(errno));
    if (interval < result_.bytes.size()) result_.bytes[interval] += static_cast<uint64_t>(count);
    const Progress progress = exchange_.read({buffer, static_cast<size_t>(count)});
    if (progress == Progress::bad) return fail("status " + std::to_string(exchange_.status()));
    if (progress == Progress::complete) {
      exchange_.restart();
      asked_ = false;
    }
  }

  [[nodiscard]] bool running() const { return descriptor_ >= 0; }
  [[nodiscard]] bool due(Duration since) const {
    return !running() && result_.failure.empty() && since >= plan_.start;
  }
  [[nodiscard]] const FlowResult& result() const { return result_; }

 private:
  void fail(const std::string& why) {
    result_.failure = why;
    close(descriptor_);
    descriptor_ = -1;
  }

  const FlowPlan& plan_;
  int descriptor_ = -1;
  bool asked_ = false;
  Exchange exchange_;
  FlowResult result_;
};

}  // namespace

std::vector<FlowResult> run_flows(const std::vector<FlowPlan>& plans, Duration time,
                                  Duration interval) {
  const auto intervals = static_cast<size_t>((time + interval - Duration::from_ns(1)) / interval);
  std::vector<std::unique_ptr<Flow>> flows;
  flows.reserve(plans.size());
  for (const FlowPlan& plan : plans) flows.push_back(std::make_unique<Flow>(plan, intervals));
  const Instant started = monotonic_now();
  std::vector<pollfd> watched;
  std::vector<Flow*> watched_flows;
  for (Duration since; since < time; since = monotonic_now() - started) {
    watched.clear();
    watched_flows.clear();
    for (const auto& flow : flows) {
      if (flow->due(since)) flow->start();
      if (!flow->running()) continue;
      watched.push_back(flow->wanted());
      watched_flows.push_back(flow.get());
    }
    poll(watched.data(), watched.size(), 10);
    const auto now_interval = static_cast<size_t>((monotonic_now() - started) / interval);
    for (size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].revents != 0) watched_flows[i]->handle(now_interval);
    }
  }
  std::vector<FlowResult> results;
  results.reserve(flows.size());
  for (const auto& flow : flows) results.push_back(flow->result());
  return results;
}

}  // namespace sluice::perf
