// rte_dev_dma_map is not yet part of the stable ABI in 22.11; it has not changed since 19.11.
#define ALLOW_EXPERIMENTAL_API 1
#include "nic/send_memory.h"

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "base/assert.h"

namespace sluice::nic {
namespace {

constexpr uint64_t largest_page_bytes = 1u << 30;

bool on_virtual_bus(const rte_device* device) {
  return device == nullptr || std::strcmp(rte_bus_name(rte_dev_bus(device)), "vdev") == 0;
}

// Ports of one process share registrations, and (through vfio's one container) mappings: the last
// one to go takes them back. Control thread only.
std::map<const std::byte*, uint32_t>& region_users() {
  static std::map<const std::byte*, uint32_t> users;
  return users;
}

/// In VA mode a page is only bookkeeping: the larger, the less of it.
uint64_t bookkeeping_page(const SendRegion& region) {
  const uint64_t both = reinterpret_cast<uintptr_t>(region.base) | region.length_bytes;
  return std::min(both & (~both + 1), largest_page_bytes);
}

/// Physical addresses of the region's pages; touches each, for it must be there.
std::vector<uint64_t> physical_pages(const SendRegion& region) {
  std::vector<uint64_t> pages;
  for (uint64_t offset = 0; offset < region.length_bytes; offset += region.page_bytes) {
    auto* at = reinterpret_cast<volatile std::byte*>(region.base + offset);
    *at = *at;
    pages.push_back(rte_mem_virt2iova(region.base + offset));
  }
  return pages;
}

}  // namespace

SendMemory::SendMemory(SendMemory&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      identity_(other.identity_),
      mappings_(std::move(other.mappings_)) {
  other.mappings_.clear();
}

SendMemory& SendMemory::operator=(SendMemory&& other) noexcept {
  if (this == &other) return *this;
  detach();
  device_ = std::exchange(other.device_, nullptr);
  identity_ = other.identity_;
  mappings_ = std::move(other.mappings_);
  other.mappings_.clear();
  return *this;
}

SendMemory::~SendMemory() {
  detach();
}

Result<SendMemory> SendMemory::attach(std::span<const SendRegion> regions, rte_device* device) {
  SendMemory memory;
  if (on_virtual_bus(device)) return memory;
  memory.device_ = device;
  memory.identity_ = rte_eal_iova_mode() == RTE_IOVA_VA;
  for (const SendRegion& region : regions) {
    if (auto added = memory.add(region); !added) return fail(added.error().in("arena memory"));
  }
  return memory;
}

Result<void> SendMemory::add(const SendRegion& region) {
  Mapping mapping{.region = region};
  uint64_t page = bookkeeping_page(region);
  if (!identity_) {
    // Plain pages are moved by the kernel under our feet (compaction): not for physical DMA.
    if (region.page_bytes < (2u << 20)) {
      return fail(
          "the device wants physical addresses (no IOMMU), so the arena must be made of hugepages");
    }
    page = region.page_bytes;
    mapping.page_iovas = physical_pages(region);
  }
  const auto count = static_cast<unsigned>(region.length_bytes / page);
  rte_iova_t* iovas = identity_ ? nullptr : mapping.page_iovas.data();
  if (rte_extmem_register(region.base, region.length_bytes, iovas, identity_ ? 0 : count, page) !=
          0 &&
      rte_errno != EEXIST) {  // EEXIST: another port of ours has done it
    return fail(std::string("DPDK does not take it: ") + rte_strerror(rte_errno));
  }
  ++region_users()[region.base];
  // Physical runs are page by page; in VA mode one mapping will do.
  const uint64_t step = identity_ ? region.length_bytes : region.page_bytes;
  for (uint64_t offset = 0; offset < region.length_bytes; offset += step) {
    const uint64_t iova =
        identity_ ? reinterpret_cast<uintptr_t>(region.base) : mapping.page_iovas[offset / step];
    if (rte_dev_dma_map(device_, region.base + offset, iova, step) == 0) {
      mapping.mapped = true;
    } else if (rte_errno != ENOTSUP && rte_errno != EEXIST) {
      // ENOTSUP: no IOMMU in between (uio): there is nothing to map.
      mappings_.push_back(std::move(mapping));
      return fail(
          "the device cannot map it: either `ulimit -l` is too small, or the memory lies beyond "
          "the "
          "addresses that the IOMMU can reach");
    }
  }
  mappings_.push_back(std::move(mapping));
  return {};
}

void SendMemory::detach() {
  for (const Mapping& mapping : mappings_) {
    const SendRegion& region = mapping.region;
    const auto users = region_users().find(region.base);
    if (--users->second > 0) continue;
    region_users().erase(users);
    const uint64_t step = identity_ ? region.length_bytes : region.page_bytes;
    for (uint64_t offset = 0; mapping.mapped && offset < region.length_bytes; offset += step) {
      const uint64_t iova =
          identity_ ? reinterpret_cast<uintptr_t>(region.base) : mapping.page_iovas[offset / step];
      rte_dev_dma_unmap(device_, region.base + offset, iova, step);
    }
    rte_extmem_unregister(region.base, region.length_bytes);
  }
  mappings_.clear();
}

SendMemory::Run SendMemory::look_up(const std::byte* at, uint32_t length_bytes) const {
  for (const Mapping& mapping : mappings_) {
    const SendRegion& region = mapping.region;
    if (at < region.base || at >= region.base + region.length_bytes) continue;
    const auto offset = static_cast<uint64_t>(at - region.base);
    const uint64_t within = offset % region.page_bytes;
    return {mapping.page_iovas[offset / region.page_bytes] + within,
            std::min<uint64_t>(length_bytes, region.page_bytes - within)};
  }
  ASSERT(!"bytes to be sent lie outside the registered regions");
  return {};
}

}  // namespace sluice::nic
