#include "seeds.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace sluice::sim {
namespace {

constexpr uint64_t failures_max = 10;

struct Options {
  uint64_t first = 1;
  uint64_t count = 500;
  uint64_t jobs = 1;
  bool log = false;
};

Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--log") options.log = true;
    if (i + 1 == argc) continue;
    if (word == "--first") options.first = std::strtoull(argv[++i], nullptr, 10);
    if (word == "--count") options.count = std::strtoull(argv[++i], nullptr, 10);
    if (word == "--jobs") options.jobs = std::strtoull(argv[++i], nullptr, 10);
  }
  return options;
}

// Seeds done and failed, virtual nanoseconds, then what the program counts.
using Sums = std::vector<uint64_t>;

// Every jobs-th seed.
Sums run_job(const SeedProgram& program, const Options& options, uint64_t job) {
  const std::function<void(const std::string&)> print = [](const std::string& line) {
    std::puts(line.c_str());
  };
  Sums sums(3 + program.counted.size());
  for (uint64_t n = job; n < options.count && sums[1] < failures_max; n += options.jobs) {
    const uint64_t seed = options.first + n;
    const SeedResult result = program.run(seed, options.log ? print : nullptr);
    ++sums[0];
    sums[2] += static_cast<uint64_t>(result.virtual_ns);
    for (size_t i = 0; i < result.counts.size(); ++i) sums[3 + i] += result.counts[i];
    if (result.failure.empty()) continue;
    ++sums[1];
    const std::string number = std::to_string(seed);
    // In one piece, beside those of the other jobs.
    const std::string text = "seed " + number + " failed: " + result.failure + "\n" +
                             result.details + "  replay: " + program.replay + " " + number +
                             "    (--log for every event)\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  return sums;
}

// In a process of its own each. A job that ends otherwise than it should counts as a failed seed.
Sums run_jobs(const SeedProgram& program, const Options& options) {
  Sums total(3 + program.counted.size());
  std::vector<std::pair<pid_t, int>> jobs;
  for (uint64_t job = 0; job < options.jobs; ++job) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    const pid_t child = fork();
    if (child < 0) std::abort();
    if (child == 0) {
      const Sums sums = run_job(program, options, job);
      const auto bytes = static_cast<ssize_t>(sums.size() * sizeof(uint64_t));
      _exit(write(ends[1], sums.data(), static_cast<size_t>(bytes)) == bytes ? 0 : 1);
    }
    close(ends[1]);
    jobs.emplace_back(child, ends[0]);
  }
  for (const auto& [child, from] : jobs) {
    Sums sums(total.size());
    const auto bytes = static_cast<ssize_t>(sums.size() * sizeof(uint64_t));
    const bool told = read(from, sums.data(), static_cast<size_t>(bytes)) == bytes;
    close(from);
    int status = 0;
    waitpid(child, &status, 0);
    if (!told || status != 0) {
      std::printf("a job ended with status %d\n", status);
      ++sums[1];
    }
    for (size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
  }
  return total;
}

}  // namespace

int run_seeds(int argc, char** argv, const SeedProgram& program) {
  const Options options = parse_options(argc, argv);
  const Sums sums = options.jobs > 1 ? run_jobs(program, options) : run_job(program, options, 0);
  std::printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " failed; ", sums[0], options.first,
              sums[1]);
  for (size_t i = 0; i < program.counted.size(); ++i) {
    std::printf("%" PRIu64 " %s, ", sums[3 + i], program.counted[i].c_str());
  }
  std::printf("%.0f s of virtual time\n", static_cast<double>(sums[2]) * 1e-9);
  return sums[1] == 0 ? 0 : 1;
}

}  // namespace sluice::sim
