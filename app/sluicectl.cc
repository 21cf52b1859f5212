// sluicectl: asks a running sluiced over DPDK's telemetry socket. No DPDK in it.
//
// Exit status: 0 done; 1 it was refused or did not answer; 2 the command line is wrong; 3 no (or
// more than one) sluiced runs here; 4 to 6: replica_commands.h.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <optional>
#include <thread>

#include "control/quantity.h"
#include "control/report.h"
#include "control/telemetry_client.h"
#include "replica_commands.h"

namespace sluice::app {
namespace {

using control::Json;
using control::TelemetryClient;

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;
constexpr int exit_nobody = 3;
constexpr Duration answer_timeout = 5_s;
constexpr uint32_t connection_pages_max = 1'000'000;

struct Options {
  std::string instance;
  std::string socket;
  bool json = false;
  bool all = false;
  std::optional<double> watch_s;
  bool wait = false;
  std::string command;
  std::string parameters;
};

void complain(std::string_view message) {
  fmt::print(stderr, "sluicectl: {}\n", message);
}

int failed(const Error& error) {
  complain(error.message);
  return exit_failed;
}

Result<std::string> find_socket(const Options& options) {
  if (!options.socket.empty()) return options.socket;
  const std::string directory = control::telemetry_directory();
  if (!options.instance.empty()) {
    // The others, which may stand still, are not asked.
    std::string path = control::socket_of(directory, options.instance);
    if (TelemetryClient::connect(path, answer_timeout)) return path;
  }
  const auto found = control::find_instances(directory);
  std::string names;
  for (const auto& each : found) {
    if (each.name == options.instance) return each.socket_path;
    names += " " + each.name;
  }
  if (!options.instance.empty()) {
    return fail(fmt::format("no instance {} runs here; there {}{}", options.instance,
                            found.empty() ? "is none" : "are:", names));
  }
  if (found.empty()) {
    return fail(
        fmt::format("no sluiced runs here (no socket below {}); is it another user's?", directory));
  }
  // Other programs that use DPDK have such sockets too.
  std::vector<std::string> ours;
  for (const auto& each : found) {
    Result<TelemetryClient> client = TelemetryClient::connect(each.socket_path, answer_timeout);
    if (client && client->ask("/sluice/info")) ours.push_back(each.socket_path);
  }
  if (ours.size() == 1) return ours.front();
  if (ours.empty()) return fail(fmt::format("no sluiced runs here; other programs do:{}", names));
  return fail(fmt::format("several run here; say which with --instance:{}", names));
}

// The total comes in two answers: together they are too long for one.
Result<Json> ask_stats(TelemetryClient& client, std::string_view of) {
  Result<Json> stats = client.ask("/sluice/stats", of);
  if (!stats || of != "total") return stats;
  const Result<Json> replica = client.ask("/sluice/stats", "replica");
  if (!replica) return fail(replica.error());
  stats->update(*replica);
  return stats;
}

// {"total": {...}, "store": {...}, "workers": [{...}, ...]}, without the layers.
Result<Json> all_stats(TelemetryClient& client) {
  Result<Json> info = client.ask("/sluice/info");
  if (!info) return info;
  Json out = Json::object();
  for (const char* of : {"total", "store"}) {
    Result<Json> stats = ask_stats(client, of);
    if (!stats) return stats;
    out[of] = control::flatten(*stats);
  }
  out["workers"] = Json::array();
  const uint64_t workers = info->value("workers", uint64_t{0});
  for (uint64_t worker = 0; worker < workers; ++worker) {
    Result<Json> stats = ask_stats(client, fmt::format("{}", worker));
    if (!stats) return stats;
    out["workers"].push_back(control::flatten(*stats));
  }
  return out;
}

int watch(TelemetryClient& client, double interval_s) {
  using Clock = std::chrono::steady_clock;
  Result<Json> before = ask_stats(client, "total");
  Clock::time_point then = Clock::now();
  while (before) {
    std::this_thread::sleep_for(std::chrono::duration<double>(interval_s));
    Result<Json> after = ask_stats(client, "total");
    if (!after) return failed(after.error());
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> elapsed = now - then;
    fmt::print("--- {:.1f} s\n{}", elapsed.count(),
               control::format_rates(*before, *after, elapsed.count()));
    std::fflush(stdout);
    before = std::move(after);
    then = now;
  }
  return failed(before.error());
}

int run_stats(TelemetryClient& client, const Options& options) {
  if (options.watch_s) return watch(client, *options.watch_s);
  if (options.json) {
    const Result<Json> all = all_stats(client);
    if (!all) return failed(all.error());
    fmt::print("{}\n", all->dump(2));
    return 0;
  }
  const Result<Json> total = ask_stats(client, "total");
  if (!total) return failed(total.error());
  fmt::print("{}", control::format_stats(*total, {.zeros = options.all}));
  return 0;
}

int run_connections(TelemetryClient& client, const Options& options) {
  Json rows = Json::array();
  std::string at;
  for (uint32_t page = 0; page < connection_pages_max; ++page) {
    const Result<Json> answer = client.ask("/sluice/connections", at);
    if (!answer) return failed(answer.error());
    if (answer->contains("error")) return failed({answer->value("error", "")});
    const Json list = control::as_list(answer->value("connections", Json::object()));
    for (const Json& row : list) {
      if (options.json) {
        rows.push_back(row);
      } else {
        fmt::print("{}", control::format_connection(row));
      }
    }
    at = answer->value("next", "");
    if (at.empty()) break;
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  return 0;
}

int run_drain(TelemetryClient& client, const Options& options, const std::string& socket) {
  const Result<Json> answer = client.ask("/sluice/drain");
  if (!answer) return failed(answer.error());
  fmt::print("draining\n");
  std::fflush(stdout);
  // Nobody listens any more when the process has ended.
  while (options.wait && TelemetryClient::connect(socket, answer_timeout)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return 0;
}

int print_answer(const Result<Json>& answer, bool json) {
  if (!answer) return failed(answer.error());
  const bool is_list = control::is_list(*answer);
  const Json shown = is_list ? control::as_list(*answer) : *answer;
  if (json) {
    fmt::print("{}\n", shown.dump(2));
  } else if (is_list) {
    for (const Json& row : shown) fmt::print("{}\n", control::format_dictionary(row));
  } else {
    fmt::print("{}", control::format_dictionary(shown));
  }
  return 0;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"sluicectl asks a running sluiced.", "sluicectl"};
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "sluicectl " SLUICE_VERSION);
  app.add_option("--instance", options.instance, "Which sluiced, if several run here")
      ->type_name("NAME");
  app.add_option("--socket", options.socket, "Path of its telemetry socket")->type_name("PATH");
  const auto sub = [&](const char* name, const char* help) {
    CLI::App* added = app.add_subcommand(name, help);
    added->add_flag("--json", options.json, "Print JSON");
    return added;
  };
  CLI::App* stats = sub("stats", "Counters");
  stats->add_flag("--all", options.all, "Also those that are zero");
  stats
      ->add_option("--watch", options.watch_s,
                   "Print what changes, with rates, every so many seconds")
      ->expected(0, 1)
      ->default_str("1")
      ->check(CLI::Range(0.1, 3600.0))
      ->type_name("SECONDS");
  CLI::App* connections = sub("connections", "Connections, like ss -ti");
  CLI::App* drain = sub("drain", "End it: no new connections, running responses are finished");
  drain->add_flag("--wait", options.wait, "Until it has ended");
  const ReplicaCommands replication(app);
  CLI::App* raw = sub("raw", "Any telemetry command");
  raw->add_option("command", options.command, "As in /ethdev/stats")->required();
  raw->add_option("parameters", options.parameters, "What stands behind the comma");
  struct Plain {
    CLI::App* app;
    const char* command;
  };
  const std::array<Plain, 4> plain{
      {{sub("info", "What runs, where, since when"), "/sluice/info"},
       {sub("workers", "Core and load of each worker"), "/sluice/workers"},
       {sub("ports", "Device, driver and counters of each port"), "/sluice/ports"},
       {sub("budget", "What was reserved at start"), "/sluice/budget"}}};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help, version
    complain(std::string(error.what()) + " (see sluicectl --help)");
    return exit_usage;
  }

  const Result<std::string> socket = find_socket(options);
  if (!socket) {
    complain(socket.error().message);
    return exit_nobody;
  }
  Result<TelemetryClient> client = TelemetryClient::connect(*socket, answer_timeout);
  if (!client) {
    complain(client.error().message);
    return exit_nobody;
  }
  if (stats->parsed()) return run_stats(*client, options);
  if (connections->parsed()) return run_connections(*client, options);
  if (drain->parsed()) return run_drain(*client, options, *socket);
  if (replication.parsed()) return replication.run(*client);
  if (raw->parsed()) return print_answer(client->ask(options.command, options.parameters), true);
  for (const Plain& each : plain) {
    if (each.app->parsed()) return print_answer(client->ask(each.command), options.json);
  }
  return exit_usage;
}

}  // namespace
}  // namespace sluice::app

int main(int argc, char** argv) {
  try {
    return sluice::app::run(argc, argv);
  } catch (const std::exception& error) {
    sluice::app::complain(error.what());
    return sluice::app::exit_failed;
  }
}
