#include "arena/arena.h"

#include <numa.h>
#include <numaif.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace sluice::arena {
namespace {

constexpr uint64_t huge_page_bytes = 2u << 20;
constexpr uint64_t small_page_bytes = 4096;
constexpr uint64_t chunk_bytes_min = 64u << 10;
constexpr uint64_t chunk_bytes_max = 1u << 30;
constexpr int huge_2mb_flag = 21 << 26;  // MAP_HUGE_2MB
constexpr int populate_write = 23;       // MADV_POPULATE_WRITE, Linux 5.14

uint64_t round_up(uint64_t value, uint64_t to) {
  return (value + to - 1) / to * to;
}

uint64_t head_bytes(const Options& options) {
  return round_up(uint64_t{options.head_slots_per_worker} * content::head_slot_bytes,
                  small_page_bytes);
}

std::string mebibytes(uint64_t bytes) {
  return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB";
}

// Units: bytes. 0: not known.
uint64_t available_memory() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  while (meminfo >> key >> kib) {
    if (key == "MemAvailable:") return kib << 10;
    meminfo.ignore(256, '\n');
  }
  return 0;
}

struct Mapping {
  std::byte* base = nullptr;
  size_t bytes = 0;
  int error = 0;
};

// Where a device sees virtual addresses, its IOMMU has to reach them, and the kernel's own choice
// lies just below 2^47. The least that Intel's VT-d has is 39 bits (specification, MGAW; QEMU's
// default), and DPDK keeps its memory below that too. So: the highest free place below 2^39;
// nullptr where there is none (DPDK reserves some 260 GiB of addresses from 4 GiB on, a sanitizer
// all of them).
std::byte* map_low(size_t bytes, int flags) {
  constexpr uint64_t iommu_reach = uint64_t{1} << 39;
  constexpr uint64_t step = uint64_t{1} << 32;
  constexpr int fixed_noreplace = 0x100000;  // MAP_FIXED_NOREPLACE, Linux 4.17
  for (uint64_t at = iommu_reach; at > bytes + 2 * step; at -= step) {
    const uint64_t base = (at - bytes) / step * step;
    // The address is a number until the kernel has made it memory.
    void* wanted = reinterpret_cast<void*>(base);  // NOLINT(performance-no-int-to-ptr)
    void* got = mmap(wanted, bytes, PROT_READ | PROT_WRITE, flags | fixed_noreplace, -1, 0);
    if (got == wanted) return static_cast<std::byte*>(got);
    if (got != MAP_FAILED) munmap(got, bytes);  // an older kernel took it for a hint
    if (errno == ENOMEM) break;
  }
  return nullptr;
}

// A mapping that begins at a multiple of the huge page, whatever its pages are.
Mapping map(size_t bytes, bool huge) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  const int protection = PROT_READ | PROT_WRITE;
  if (huge) {
    if (std::byte* low = map_low(bytes, flags | MAP_HUGETLB | huge_2mb_flag); low != nullptr) {
      return {low, bytes};
    }
    void* at = mmap(nullptr, bytes, protection, flags | MAP_HUGETLB | huge_2mb_flag, -1, 0);
    if (at == MAP_FAILED) return {.error = errno};
    return {static_cast<std::byte*>(at), bytes};
  }
  if (std::byte* low = map_low(bytes, flags | MAP_NORESERVE); low != nullptr) {
    madvise(low, bytes, MADV_HUGEPAGE);
    return {low, bytes};
  }
  const size_t larger = bytes + huge_page_bytes;
  void* at = mmap(nullptr, larger, protection, flags | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return {.error = errno};
  auto* start = static_cast<std::byte*>(at);
  const auto address = reinterpret_cast<uintptr_t>(start);
  const size_t before = round_up(address, huge_page_bytes) - address;
  if (before > 0) munmap(start, before);
  munmap(start + before + bytes, larger - before - bytes);
  // Fewer page table walks where the kernel can do it; no matter where it cannot.
  madvise(start + before, bytes, MADV_HUGEPAGE);
  return {start + before, bytes};
}

// Binds to the node and touches every page: what is missing shows now, as an error.
int populate(const Mapping& mapping, int numa_node) {
  if (numa_node >= 0) {
    bitmask* nodes = numa_allocate_nodemask();
    numa_bitmask_setbit(nodes, static_cast<unsigned>(numa_node));
    const long bound =
        mbind(mapping.base, mapping.bytes, MPOL_BIND, nodes->maskp, nodes->size + 1, 0);
    const int error = errno;
    numa_free_nodemask(nodes);
    if (bound != 0) return error;
  }
  if (madvise(mapping.base, mapping.bytes, populate_write) == 0) return 0;
  if (errno != EINVAL) return errno;
  for (size_t at = 0; at < mapping.bytes; at += small_page_bytes) mapping.base[at] = std::byte{0};
  return 0;
}

// Where the pages are, whatever was asked for: move_pages(2) without a destination only tells.
int node_of(const Mapping& mapping) {
  std::vector<void*> pages;
  for (size_t at = 0; at < mapping.bytes; at += huge_page_bytes) pages.push_back(mapping.base + at);
  std::vector<int> nodes(pages.size(), -1);
  if (move_pages(0, pages.size(), pages.data(), nullptr, nodes.data(), 0) != 0) return -1;
  const bool same = std::all_of(nodes.begin(), nodes.end(),
                                [&](int node) { return node == nodes.front() && node >= 0; });
  return same ? nodes.front() : -1;
}

Result<void> check(const Options& options) {
  if (options.content_bytes == 0) return fail("the cache must not be empty");
  if (options.chunk_bytes < chunk_bytes_min || options.chunk_bytes > chunk_bytes_max ||
      (options.chunk_bytes & (options.chunk_bytes - 1)) != 0) {
    return fail("a chunk must be a power of two from 64 KiB to 1 GiB");
  }
  if (options.workers == 0) return fail("there must be a worker");
  if (options.numa_node >= 0 && (numa_available() < 0 || options.numa_node > numa_max_node())) {
    return fail("there is no NUMA node " + std::to_string(options.numa_node));
  }
  return {};
}

}  // namespace

uint64_t Arena::memory_bytes(const Options& options) {
  const uint64_t content = round_up(options.content_bytes, options.chunk_bytes);
  return round_up(content + options.workers * head_bytes(options), huge_page_bytes);
}

Result<Arena> Arena::create(const Options& options) {
  if (auto sound = check(options); !sound) return fail(sound.error());
  const uint64_t bytes = memory_bytes(options);
  const std::string where =
      options.numa_node < 0 ? "" : " on NUMA node " + std::to_string(options.numa_node);

  std::string why_not;
  Mapping mapping;
  bool huge = false;
  if (options.hugepages != Hugepages::never) {
    mapping = map(bytes, true);
    if (mapping.error == 0) mapping.error = populate(mapping, options.numa_node);
    huge = mapping.error == 0;
    if (!huge) {
      if (mapping.base != nullptr) munmap(mapping.base, mapping.bytes);
      mapping.base = nullptr;
      why_not = std::to_string(bytes / huge_page_bytes) + " hugepages of 2 MiB are not free" +
                where + " (" + std::strerror(mapping.error) + ")";
      if (options.hugepages == Hugepages::required) {
        return fail(why_not + ": reserve more in /proc/sys/vm/nr_hugepages or lower the cache");
      }
    }
  }
  if (!huge) {
    const uint64_t available = available_memory();
    if (available > 0 && bytes > available) {
      return fail("needs " + mebibytes(bytes) + " of memory but " + mebibytes(available) +
                  " are available: lower the cache");
    }
    mapping = map(bytes, false);
    if (mapping.error == 0) mapping.error = populate(mapping, options.numa_node);
    if (mapping.error != 0) {
      if (mapping.base != nullptr) munmap(mapping.base, mapping.bytes);
      return fail("cannot have " + mebibytes(bytes) + " of memory" + where + ": " +
                  std::strerror(mapping.error));
    }
  }

  Arena arena;
  arena.options_ = options;
  arena.base_ = mapping.base;
  arena.mapped_bytes_ = mapping.bytes;
  arena.chunk_count_ = static_cast<uint32_t>(round_up(options.content_bytes, options.chunk_bytes) /
                                             options.chunk_bytes);
  arena.uses_hugepages_ = huge;
  arena.numa_node_ = node_of(mapping);
  arena.page_bytes_ = huge ? huge_page_bytes : static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  arena.description_ = mebibytes(bytes) + where + (huge ? " on hugepages" : " on plain memory") +
                       (why_not.empty() ? "" : ", for " + why_not);
  return arena;
}

content::ArenaView Arena::view(uint32_t worker) const {
  ASSERT(worker < options_.workers);
  std::byte* heads = base_ + size_t{chunk_count_} * options_.chunk_bytes;
  return {base_, chunk_count_, options_.chunk_bytes, heads + worker * head_bytes(options_),
          options_.head_slots_per_worker};
}

Arena::Arena(Arena&& other) noexcept {
  *this = std::move(other);
}

Arena& Arena::operator=(Arena&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  options_ = other.options_;
  base_ = std::exchange(other.base_, nullptr);
  mapped_bytes_ = std::exchange(other.mapped_bytes_, 0);
  chunk_count_ = other.chunk_count_;
  page_bytes_ = other.page_bytes_;
  uses_hugepages_ = other.uses_hugepages_;
  numa_node_ = other.numa_node_;
  description_ = std::move(other.description_);
  return *this;
}

Arena::~Arena() {
  unmap();
}

void Arena::unmap() noexcept {
  if (base_ != nullptr) munmap(base_, mapped_bytes_);
  base_ = nullptr;
}

}  // namespace sluice::arena
