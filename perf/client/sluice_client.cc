// sluice-client: the clients of perf/macro. Says what it measured in one line of JSON.
//
//   sluice-client load --server ADDRESS:PORT --path /P --connections N --concurrent N [--requests
//   N] [--close]
//                      [--abort-after BYTES] [--source ADDRESS]... [--patience S] [--time-max S]
//   sluice-client flows --seconds S --interval-ms N FLOW...       FLOW:
//   ADDRESS:PORT/PATH@START-SECONDS
//
// Exit status 0: it ran, whatever the outcome; 2: the command line is wrong.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "flows.h"
#include "load.h"

namespace sluice::perf {

namespace {

bool parse_server(const std::string& text, sockaddr_in& server) {
  const size_t colon = text.find(':');
  server = {};
  server.sin_family = AF_INET;
  server.sin_port =
      htons(colon == std::string::npos
                ? uint16_t{80}
                : static_cast<uint16_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 10)));
  return inet_pton(AF_INET, text.substr(0, colon).c_str(), &server.sin_addr) == 1;
}

/// ADDRESS:PORT/PATH@START
bool parse_flow(const std::string& text, FlowPlan& flow) {
  const size_t slash = text.find('/');
  const size_t at = text.rfind('@');
  if (slash == std::string::npos || at == std::string::npos || at < slash) return false;
  flow.path = text.substr(slash, at - slash);
  flow.start =
      Duration::from_us(static_cast<int64_t>(std::strtod(text.c_str() + at + 1, nullptr) * 1e6));
  return parse_server(text.substr(0, slash), flow.server);
}

int64_t percentile_us(const std::vector<Duration>& sorted, size_t per_mille) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, sorted.size() * per_mille / 1000)].us();
}

void print(const LoadResult& result) {
  std::string failures;
  for (const auto& [cause, count] : result.failures) {
    failures += fmt::format(R"({}"{}":{})", failures.empty() ? "" : ",", cause, count);
  }
  fmt::print(
      R"({{"connections":{},"answered":{},"failures":{{{}}},"seconds":{:.6f},"p50_us":{},"p99_us":{},"max_us":{}}})"
      "\n",
      result.connections, result.answered, failures, static_cast<double>(result.taken.ns()) / 1e9,
      percentile_us(result.times, 500), percentile_us(result.times, 990),
      percentile_us(result.times, 1000));
}

void print(const std::vector<FlowResult>& results) {
  std::string flows;
  for (const FlowResult& flow : results) {
    flows += fmt::format(R"({}{{"failure":"{}","bytes":[{}]}})", flows.empty() ? "" : ",",
                         flow.failure, fmt::join(flow.bytes, ","));
  }
  fmt::print("{{\"flows\":[{}]}}\n", flows);
}

int main(int count, char** words) {
  CLI::App app("the clients of perf/macro");
  app.require_subcommand(1);
  LoadOptions load;
  std::string server;
  std::vector<std::string> sources;
  double patience_s = 10;
  double time_max_s = 60;
  CLI::App* load_command = app.add_subcommand("load", "many connections or requests");
  load_command->add_option("--server", server)->required();
  load_command->add_option("--path", load.path)->required();
  load_command->add_option("--connections", load.connections)->required();
  load_command->add_option("--concurrent", load.concurrent)->required();
  load_command->add_option("--requests", load.requests);
  load_command->add_flag("--close", load.ask_to_close);
  load_command->add_option("--abort-after", load.abort_after);
  load_command->add_option("--source", sources);
  load_command->add_option("--patience", patience_s);
  load_command->add_option("--time-max", time_max_s);
  std::vector<std::string> flows;
  double seconds = 10;
  int64_t interval_ms = 100;
  CLI::App* flows_command = app.add_subcommand("flows", "a few long downloads");
  flows_command->add_option("--seconds", seconds);
  flows_command->add_option("--interval-ms", interval_ms)->check(CLI::PositiveNumber);
  flows_command->add_option("flow", flows)->required();
  CLI11_PARSE(app, count, words);

  const auto span = [](double s) { return Duration::from_us(static_cast<int64_t>(s * 1e6)); };
  if (load_command->parsed()) {
    bool good = parse_server(server, load.server);
    for (const std::string& source : sources) {
      in_addr address{};
      good = good && inet_pton(AF_INET, source.c_str(), &address) == 1;
      load.sources.push_back(address);
    }
    load.patience = span(patience_s);
    load.time_max = span(time_max_s);
    if (good) print(run_load(load));
    return good ? 0 : 2;
  }
  std::vector<FlowPlan> plans(flows.size());
  for (size_t i = 0; i < flows.size(); ++i) {
    if (!parse_flow(flows[i], plans[i])) return 2;
  }
  print(run_flows(plans, span(seconds), Duration::from_ms(interval_ms)));
  return 0;
}

}  // namespace

}  // namespace sluice::perf

int main(int count, char** words) {
  return sluice::perf::main(count, words);
}
