#include "nic/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "nic/dpdk_log.h"
#include "nic/runtime_folders.h"

namespace sluice::nic {
namespace {

// DPDK remembers argv for telemetry (/eal/params): it must live as long as the process.
struct KeptArguments {
  std::vector<std::string> words;
  std::vector<char*> pointers;
};
KeptArguments& kept_arguments() {
  static KeptArguments kept;
  return kept;
}

/// CPUs for the main thread and those it starts, as "0,1,5": what the process may use, without the
/// workers' own where others are left.
std::string main_cpus(const std::vector<uint32_t>& worker_cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "0";
  cpu_set_t others = set;
  for (const uint32_t core : worker_cores) {
    if (core < CPU_SETSIZE) CPU_CLR(core, &others);
  }
  if (CPU_COUNT(&others) == 0) others = set;
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<size_t>(cpu), &others)) continue;
    if (!list.empty()) list += ',';
    list += std::to_string(cpu);
  }
  return list;
}

bool is_allowed_cpu(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return true;
  return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set);
}

uint64_t read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : 0;
}

uint64_t free_hugepage_bytes() {
  uint64_t total = 0;
  std::error_code ignored;
  const std::filesystem::directory_iterator pools("/sys/kernel/mm/hugepages", ignored);
  for (const auto& entry : pools) {
    // "hugepages-2048kB"
    const std::string name = entry.path().filename().string();
    const size_t dash = name.find('-');
    if (dash == std::string::npos) continue;
    const uint64_t size_kib = std::strtoull(name.c_str() + dash + 1, nullptr, 10);
    total += read_number(entry.path() / "free_hugepages") * size_kib * 1024;
  }
  return total;
}

uint64_t mebibytes(uint64_t bytes) {
  return (bytes + (1u << 20) - 1) >> 20;
}

bool asks_for(const EalOptions& options, const char* argument) {
  return std::find(options.user_arguments.begin(), options.user_arguments.end(), argument) !=
         options.user_arguments.end();
}

Result<bool> choose_hugepages(const EalOptions& options) {
  if (options.memory == PacketMemory::plain || asks_for(options, "--no-huge")) return false;
  const uint64_t free_bytes = free_hugepage_bytes();
  if (free_bytes >= options.packet_memory_bytes) return true;
  if (options.memory == PacketMemory::automatic) return false;
  return fail("packet memory needs " + std::to_string(mebibytes(options.packet_memory_bytes)) +
              " MiB of hugepages, " + std::to_string(mebibytes(free_bytes)) +
              " MiB are free: write more to /proc/sys/vm/nr_hugepages, or allow plain memory");
}

}  // namespace

std::vector<std::string> eal_arguments(const EalOptions& options, bool with_hugepages) {
  std::vector<std::string> arguments{options.program};
  // No files but telemetry's socket: nothing is left behind however the process ends. DPDK refuses
  // --in-memory together with --no-huge, where --no-shconf has the same effect.
  arguments.emplace_back(with_hugepages ? "--in-memory" : "--no-shconf");
  arguments.push_back("--file-prefix=" + (options.instance.empty()
                                              ? "sluice-" + std::to_string(getpid())
                                              : options.instance));
  std::string lcores = "--lcores=0@(" + main_cpus(options.worker_cores) + ")";
  for (size_t i = 0; i < options.worker_cores.size(); ++i) {
    lcores += "," + std::to_string(i + 1) + "@" + std::to_string(options.worker_cores[i]);
  }
  arguments.push_back(std::move(lcores));
  arguments.emplace_back("--main-lcore=0");
  arguments.emplace_back(options.verbose ? "--log-level=info" : "--log-level=warning");
  if (!with_hugepages) {
    // Taken from the address space now, from memory when touched.
    if (!asks_for(options, "--no-huge")) arguments.emplace_back("--no-huge");
    arguments.emplace_back("-m");
    arguments.push_back(std::to_string(mebibytes(options.packet_memory_bytes)));
  }
  if (options.pci_devices.empty()) {
    arguments.emplace_back("--no-pci");
    // Software ports see virtual addresses. DPDK, left alone, may choose physical ones (as root,
    // without an IOMMU), and then pools of plain pages would not be contiguous for a umem.
    arguments.emplace_back("--iova-mode=va");
  }
  for (const std::string& device : options.pci_devices) {
    arguments.emplace_back("-a");
    arguments.push_back(device);
  }
  arguments.insert(arguments.end(), options.user_arguments.begin(), options.user_arguments.end());
  return arguments;
}

Result<Eal> Eal::start(const EalOptions& options) {
  for (const uint32_t core : options.worker_cores) {
    if (!is_allowed_cpu(core)) {
      return fail("core " + std::to_string(core) + " is not one of this process's CPUs (" +
                  main_cpus({}) + ")");
    }
  }
  const auto with_hugepages = choose_hugepages(options);
  if (!with_hugepages) return fail(with_hugepages.error());

  KeptArguments& kept = kept_arguments();
  kept.words = eal_arguments(options, *with_hugepages);
  kept.pointers.clear();
  for (std::string& word : kept.words) kept.pointers.push_back(word.data());
  kept.pointers.push_back(nullptr);

  DpdkLog::set_verbose(options.verbose);
  DpdkLog log;
  const int count = static_cast<int>(kept.words.size());
  if (rte_eal_init(count, kept.pointers.data()) < 0) {
    const std::string reason = rte_strerror(rte_errno);
    std::string all;
    for (size_t i = 1; i < kept.words.size(); ++i) all += " " + kept.words[i];
    return fail("DPDK does not start: " + reason + log.said() + "; its arguments were" + all);
  }

  Eal eal;
  eal.cores_ = options.worker_cores;
  eal.instance_ =
      options.instance.empty() ? "sluice-" + std::to_string(getpid()) : options.instance;
  eal.runtime_directory_ = rte_eal_get_runtime_dir();
  eal.uses_hugepages_ = rte_eal_has_hugepages() != 0;
  eal.owner_ = true;
  remove_left_folders(std::filesystem::path(eal.runtime_directory_).parent_path());
  return eal;
}

Eal::Eal(Eal&& other) noexcept
    : cores_(std::move(other.cores_)),
      instance_(std::move(other.instance_)),
      runtime_directory_(std::move(other.runtime_directory_)),
      uses_hugepages_(other.uses_hugepages_),
      owner_(std::exchange(other.owner_, false)) {}

Eal::~Eal() {
  if (!owner_) return;
  rte_eal_mp_wait_lcore();
  rte_eal_cleanup();
  // Without shared files DPDK leaves its directory, and the socket until the process ends.
  std::error_code ignored;
  const std::filesystem::path directory(runtime_directory_);
  std::filesystem::remove(directory / "dpdk_telemetry.v2", ignored);
  std::filesystem::remove(directory, ignored);
}

Result<void> Eal::launch(uint32_t worker, int (*body)(void*), void* argument) {
  if (worker >= workers()) return fail("there is no worker " + std::to_string(worker));
  if (rte_eal_remote_launch(body, argument, lcore(worker)) != 0) {
    return fail("worker " + std::to_string(worker) + " is running already");
  }
  return {};
}

int Eal::join(uint32_t worker) {
  return worker < workers() ? rte_eal_wait_lcore(lcore(worker)) : 0;
}

}  // namespace sluice::nic
