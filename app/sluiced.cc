// sluiced: serves a directory over HTTP/1.1 through a DPDK port. Options in, exit status out; the
// work is wired in daemon.cc, the loop is in worker_loop.cc.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "budget.h"
#include "check.h"
#include "check_rdma.h"
#include "control/command_line.h"
#include "daemon.h"
#include "machine.h"
#include "stats/catalogue.h"

namespace sluice::app {
namespace {

constexpr int exit_refused = 1;

void complain(std::string_view message) {
  fmt::print(stderr, "sluiced: {}\n", message);
}

void print_counters() {
  fmt::print("| layer | counter | unit | what it counts |\n|---|---|---|---|\n");
  for (size_t i = 0; i < stats::counter_count; ++i) {
    const stats::CounterRow& row = stats::row(stats::counter_at(i));
    fmt::print("| {} | `{}` | {} | {} |\n", row.layer, row.name, row.unit, row.help);
  }
}

void start_log(control::LogLevel level) {
  auto logger = spdlog::stderr_logger_mt("sluiced");
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  static constexpr std::array levels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                     spdlog::level::err};
  logger->set_level(levels[static_cast<size_t>(level)]);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

Result<void> check_root(const std::string& root) {
  struct stat facts {};
  if (stat(root.c_str(), &facts) != 0) {
    return fail(fmt::format("--root {}: {}", root, strerror(errno)));
  }
  if (!S_ISDIR(facts.st_mode)) return fail(fmt::format("--root {}: is not a directory", root));
  return {};
}

int serve(const control::ServeOptions& options) {
  if (const Result<void> done = check_root(options.root); !done) {
    complain(done.error().message);
    return exit_refused;
  }
  const Result<PortList> ports = examine_ports(options);
  if (!ports) {
    complain(ports.error().message);
    return exit_refused;
  }
  Budget budget = compute_budget(options, read_machine(), ports->guesses);
  fmt::print("budget:\n{}", budget.text());
  std::fflush(stdout);
  for (const std::string& refusal : budget.refusals) complain(refusal);
  if (!budget.refusals.empty()) return exit_refused;
  raise_open_files();
  block_signals();
  start_log(options.log_level);
  Daemon daemon(options, std::move(budget));
  if (const Result<void> done = daemon.start(ports->specs); !done) {
    complain(done.error().message);
    return exit_refused;
  }
  return daemon.run();
}

// What only a started port can tell. A trial that fails is a finding too.
void add_trial(const control::ServeOptions& options, Budget budget, const PortList& ports,
               std::vector<Finding>& findings) {
  raise_open_files();
  block_signals();
  start_log(control::LogLevel::warning);
  Daemon daemon(options, std::move(budget));
  const Result<std::vector<PortTrial>> trials = daemon.try_ports(ports.specs);
  if (!trials) {
    findings.push_back({Finding::Level::blocker, trials.error().message, ""});
    return;
  }
  for (const PortTrial& trial : *trials) {
    for (Finding& each : judge_trial(trial)) findings.push_back(std::move(each));
  }
}

std::vector<Finding> examine_rdma(const control::ServeOptions& options, const Machine& machine,
                                  const Plan& plan) {
  const control::ReplicaOptions& replica = options.replica;
  if (!replica.enabled() || replica.rdma == control::Rdma::off) return {};
  return check_rdma({.required = replica.rdma == control::Rdma::required,
                     .listen = replica.listen,
                     .device = replica.rdma_device,
                     .peers = replica.peers,
                     .arena_bytes = plan.arena_bytes,
                     .arena_node = plan.numa_node,
                     .locked_memory_max_bytes = machine.locked_memory_max_bytes,
                     .may_lock_any = may_lock_any()});
}

int check(const control::ServeOptions& options, bool with_trial) {
  if (const Result<void> done = check_root(options.root); !done) {
    complain(done.error().message);
    return exit_refused;
  }
  const Result<PortList> ports = examine_ports(options);
  if (!ports) {
    complain(ports.error().message);
    return exit_refused;
  }
  const Machine machine = read_machine();
  Budget budget = compute_budget(options, machine, ports->guesses);
  fmt::print("budget:\n{}check:\n", budget.text());
  std::fflush(stdout);
  std::vector<Finding> findings = judge_machine(options, machine, budget, ports->guesses);
  for (const nic::PortSpec& spec : ports->specs) {
    std::vector<Finding> more;
    if (spec.is_pci) {
      more = judge_device(spec, read_device(spec.device));
    } else if (spec.profile.starts_with("af_")) {
      more = judge_interface(spec, read_interface_facts(spec.interface));
    }
    for (Finding& each : more) findings.push_back(std::move(each));
  }
  for (Finding& each : examine_rdma(options, machine, budget.plan)) {
    findings.push_back(std::move(each));
  }
  if (with_trial && is_ready(findings)) add_trial(options, std::move(budget), *ports, findings);
  fmt::print("{}", format_findings(findings));
  return is_ready(findings) ? 0 : exit_refused;
}

int run(const std::vector<std::string>& arguments) {
  const Result<control::CommandLine> line = control::parse_command_line(arguments);
  if (!line) {
    complain(line.error().message);
    return exit_refused;
  }
  using Action = control::CommandLine::Action;
  switch (line->action) {
    case Action::print:
      fmt::print("{}", line->text);
      return 0;
    case Action::counters:
      print_counters();
      return 0;
    case Action::serve:
      return serve(line->options);
    case Action::check:
      return check(line->options, line->trial);
  }
  return exit_refused;
}

}  // namespace
}  // namespace sluice::app

int main(int argc, char** argv) {
  try {
    return sluice::app::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    // Memory, the file system, a library that throws: start-up alone can bring us here.
    sluice::app::complain(error.what());
    return sluice::app::exit_refused;
  }
}
