#include "machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "control/quantity.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// What a file with one number says; `otherwise` where there is none ("max", or no such file).
uint64_t read_number(const fs::path& path, uint64_t otherwise) {
  const auto number = control::parse_number(read_line(path), {.least = 0, .most = unlimited});
  return number ? *number : otherwise;
}

std::vector<uint32_t> read_list(const fs::path& path) {
  const auto list = control::parse_core_list(read_line(path));
  return list ? *list : std::vector<uint32_t>{};
}

void read_nodes(Machine& machine) {
  const fs::path base = "/sys/devices/system/node";
  for (const uint32_t number : read_list(base / "online")) {
    const fs::path folder = base / fmt::format("node{}", number);
    machine.nodes.push_back(
        {.number = static_cast<int>(number),
         .hugepages_free = read_number(folder / "hugepages/hugepages-2048kB/free_hugepages", 0)});
    for (const uint32_t core : read_list(folder / "cpulist")) {
      for (Core& each : machine.cores) {
        if (each.number == core) each.node = static_cast<int>(number);
      }
    }
  }
  if (machine.nodes.empty()) machine.nodes.push_back({});
}

void read_cores(Machine& machine) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
  for (uint32_t core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &set)) continue;
    const auto siblings =
        read_list(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", core));
    const bool second =
        std::any_of(siblings.begin(), siblings.end(), [&](uint32_t other) { return other < core; });
    machine.cores.push_back({.number = core, .node = 0, .is_second_thread = second});
  }
}

// MemAvailable, or what the control group leaves, whichever is less.
uint64_t available_memory() {
  uint64_t available = unlimited;
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  for (std::string unit; meminfo >> key >> kib; std::getline(meminfo, unit)) {
    if (key == "MemAvailable:") available = kib * 1024;
  }
  // cgroup v2: one line "0::/path".
  const std::string group = read_line("/proc/self/cgroup");
  if (group.starts_with("0::/")) {
    for (fs::path path = fs::path("/sys/fs/cgroup") / group.substr(4);
         path.string().starts_with("/sys/fs/cgroup"); path = path.parent_path()) {
      const uint64_t most = read_number(path / "memory.max", unlimited);
      if (most == unlimited) continue;
      const uint64_t used = read_number(path / "memory.current", 0);
      available = std::min(available, most > used ? most - used : 0);
    }
  }
  return available;
}

uint64_t hard_limit(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) return unlimited;
  return limit.rlim_max;
}

}  // namespace

Machine read_machine() {
  Machine machine;
  read_cores(machine);
  read_nodes(machine);
  machine.hugepages_free =
      read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 0);
  machine.memory_available_bytes = available_memory();
  machine.open_files_max = hard_limit(RLIMIT_NOFILE);
  // CAP_IPC_LOCK lifts the limit; root has it, as a rule.
  machine.locked_memory_max_bytes = geteuid() == 0 ? unlimited : hard_limit(RLIMIT_MEMLOCK);
  std::error_code error;
  machine.has_iommu = !fs::is_empty("/sys/kernel/iommu_groups", error) && !error;
  return machine;
}

void raise_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace sluice::app
