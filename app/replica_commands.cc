#include "replica_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "control/replica_report.h"
#include "control/report.h"

namespace sluice::app {
namespace {

using control::Json;
using control::TelemetryClient;

constexpr int exit_failed = 1;
constexpr uint32_t pages_max = 100'000;
constexpr auto poll_interval = std::chrono::milliseconds(100);

int complain(std::string_view message) {
  fmt::print(stderr, "sluicectl: {}\n", message);
  return exit_failed;
}

// The answer; or why there is none, which may also stand in the answer.
Result<Json> ask(TelemetryClient& client, std::string_view command,
                 std::string_view parameters = {}) {
  Result<Json> answer = client.ask(command, parameters);
  if (answer && answer->is_object() && answer->contains("error")) {
    return fail(answer->value("error", "refused"));
  }
  return answer;
}

// Progress: one line that is written over on a terminal, a new one at each change elsewhere.
class Progress {
 public:
  void show(const std::string& line) {
    if (line == last_) return;
    if (on_terminal_ && !last_.empty()) fmt::print("\r\x1b[K");
    fmt::print("{}{}", line, on_terminal_ ? "" : "\n");
    std::fflush(stdout);
    last_ = line;
  }
  void end() const {
    if (on_terminal_ && !last_.empty()) fmt::print("\n");
  }

 private:
  bool on_terminal_ = isatty(STDOUT_FILENO) == 1;
  std::string last_;
};

}  // namespace

ReplicaCommands::ReplicaCommands(CLI::App& app) {
  const auto sub = [&](const char* name, const char* help) {
    CLI::App* added = app.add_subcommand(name, help);
    added->add_flag("--json", json_, "Print JSON");
    return added;
  };
  publish_ = sub("publish",
                 "Keep a file on several nodes. Exit status 0: published; 4: DEGRADED, on fewer "
                 "than asked for; 5: failed; 6: not done within --wait");
  publish_->add_option("path", path_, "As in the URL, or relative to the root")->required();
  publish_->add_option("--copies", copies_, "On so many nodes, this one included (default 2)")
      ->check(CLI::Range(1, 16))
      ->type_name("N");
  publish_->add_option("--wait", wait_s_, "How long to wait for it (default 60)")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS");
  unpublish_ = sub("unpublish", "Serve the path from each node's own disk again");
  unpublish_->add_option("path", path_, "As in the URL, or relative to the root")->required();
  unpublish_->add_option("--wait", wait_s_, "How long to wait for it (default 60)")
      ->check(CLI::Range(0.0, 86'400.0))
      ->type_name("SECONDS");
  replicas_ = sub("replicas", "Published files: copies, who holds them");
  peers_ = sub("peers", "The other nodes, and the links to them");
  transfers_ = sub("transfers", "What is on its way: progress, rate, lag of each hop");
}

bool ReplicaCommands::parsed() const {
  for (const CLI::App* each : {publish_, unpublish_, replicas_, peers_, transfers_}) {
    if (each->parsed()) return true;
  }
  return false;
}

int ReplicaCommands::run(TelemetryClient& client) const {
  if (publish_->parsed()) return publish(client);
  if (unpublish_->parsed()) return unpublish(client);
  if (replicas_->parsed()) return list(client, "replicas");
  if (transfers_->parsed()) return list(client, "transfers");
  return peers(client);
}

std::string ReplicaCommands::relative_path() const {
  const size_t start = path_.find_first_not_of('/');
  return start == std::string::npos ? std::string() : path_.substr(start);
}

int ReplicaCommands::publish(TelemetryClient& client) const {
  const Result<Json> begun =
      ask(client, "/sluice/publish", fmt::format("{},{}", copies_, relative_path()));
  if (!begun) {
    complain(begun.error().message);
    return exit_publish_failed;
  }
  return follow(client, begun->value("ticket", uint64_t{0}));
}

int ReplicaCommands::unpublish(TelemetryClient& client) const {
  const Result<Json> begun = ask(client, "/sluice/unpublish", relative_path());
  if (!begun) {
    complain(begun.error().message);
    return exit_publish_failed;
  }
  return follow(client, begun->value("ticket", uint64_t{0}));
}

int ReplicaCommands::follow(TelemetryClient& client, uint64_t ticket) const {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(wait_s_);
  Progress progress;
  while (true) {
    const Result<Json> now = ask(client, "/sluice/publication", fmt::format("{}", ticket));
    if (!now) {
      progress.end();
      return complain(now.error().message);
    }
    const std::string state = now->value("state", "");
    const bool ended = state == "published" || state == "degraded" || state == "failed";
    const bool late = Clock::now() >= until;
    if (!json_) progress.show(control::format_publication(*now));
    if (!ended && !late) {
      std::this_thread::sleep_for(poll_interval);
      continue;
    }
    progress.end();
    if (json_) fmt::print("{}\n", now->dump(2));
    if (state == "published") return 0;
    if (state == "degraded") return exit_degraded;
    return ended ? exit_publish_failed : exit_under_way;
  }
}

int ReplicaCommands::list(TelemetryClient& client, const char* what) const {
  Json rows = Json::array();
  std::string at;
  for (uint32_t page = 0; page < pages_max; ++page) {
    const Result<Json> answer = ask(client, fmt::format("/sluice/{}", what), at);
    if (!answer) return complain(answer.error().message);
    for (const Json& row : control::as_list(answer->value(what, Json::object()))) {
      rows.push_back(row);
    }
    at = answer->value("next", "");
    if (at.empty()) break;
  }
  rows = control::join_paths(rows);
  if (json_) {
    fmt::print("{}\n", rows.dump(2));
  } else {
    fmt::print("{}", replicas_->parsed() ? control::format_replicas(rows)
                                         : control::format_transfers(rows));
  }
  return 0;
}

int ReplicaCommands::peers(TelemetryClient& client) const {
  const Result<Json> answer = ask(client, "/sluice/peers");
  if (!answer) return complain(answer.error().message);
  const Json rows = control::as_list(*answer);
  if (json_) {
    fmt::print("{}\n", rows.dump(2));
  } else {
    fmt::print("{}", control::format_peers(rows));
  }
  return 0;
}

}  // namespace sluice::app
