// sluice-flood: SYNs from random addresses. For namespaces that perf/macro made; it refuses to run
// in the first namespace of the machine.
//
//   sluice-flood --interface IF --mac 02:.. --server ADDRESS:PORT --rate SYNS-PER-SECOND --count N
//   --seconds S
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "flood.h"

namespace sluice::perf {

namespace {

/// Whether this process is in the namespace of that name (`ip netns`).
bool is_inside(const std::string& space) {
  struct stat ours {};
  struct stat named {};
  return stat("/proc/self/ns/net", &ours) == 0 &&
         stat(("/run/netns/" + space).c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
         ours.st_dev == named.st_dev;
}

int main(int count, char** words) {
  CLI::App app("SYNs from random addresses, bounded");
  FloodOptions options;
  std::string space;
  std::string mac;
  std::string server;
  double seconds = 5;
  app.add_option("--space", space)->required();
  app.add_option("--interface", options.interface)->required();
  app.add_option("--mac", mac)->required();
  app.add_option("--server", server)->required();
  app.add_option("--rate", options.rate_per_s)->required();
  app.add_option("--count", options.count_max)->required();
  app.add_option("--seconds", seconds)->check(CLI::Range(0.1, 60.0));
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, count, words);
  if (!is_inside(space)) {
    std::fprintf(stderr, "sluice-flood: not in the network namespace %s\n", space.c_str());
    return 2;
  }
  auto& m = options.server_mac;
  if (std::sscanf(mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4],
                  &m[5]) != 6) {
    return 2;
  }
  const size_t colon = server.find(':');
  if (colon == std::string::npos) return 2;
  options.server.sin_port =
      htons(static_cast<uint16_t>(std::strtoul(server.c_str() + colon + 1, nullptr, 10)));
  if (inet_pton(AF_INET, server.substr(0, colon).c_str(), &options.server.sin_addr) != 1) return 2;
  options.time_max = Duration::from_us(static_cast<int64_t>(seconds * 1e6));
  const Result<FloodResult> result = run_flood(options);
  if (!result) {
    std::fprintf(stderr, "sluice-flood: %s\n", result.error().message.c_str());
    return 1;
  }
  fmt::print(R"({{"sent":{},"not_sent":{},"seconds":{:.6f}}})"
             "\n",
             result->sent, result->not_sent, static_cast<double>(result->taken.ns()) / 1e9);
  return 0;
}

}  // namespace

}  // namespace sluice::perf

int main(int count, char** words) {
  return sluice::perf::main(count, words);
}
