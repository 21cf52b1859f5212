// SendMemory: the arena's regions as DPDK and the device know them.
//
// Registration makes the memory known to DPDK (rte_extmem_register) and, where the device reads it
// by DMA through an IOMMU, mapped for it (rte_dev_dma_map). A driver on DPDK's virtual bus copies
// and needs neither. Addresses for the device are
//   VA mode   the virtual address: nothing to look up
//   PA mode   per page, looked up once; a frame's bytes are split where two pages meet
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "nic/port.h"

struct rte_device;

namespace sluice::nic {

class SendMemory {
 public:
  SendMemory() = default;
  SendMemory(SendMemory&& other) noexcept;
  SendMemory& operator=(SendMemory&& other) noexcept;
  ~SendMemory();

  /// Errors: the device's IOMMU refuses, or physical addresses are used with pages too small.
  [[nodiscard]] static Result<SendMemory> attach(std::span<const SendRegion> regions,
                                                 rte_device* device);

  /// Address for the device of `at`, and how many bytes from there on are contiguous for it.
  struct Run {
    uint64_t iova = 0;
    uint64_t length_bytes = 0;
  };
  /// Returns: at most `length_bytes`. Requires: `at` lies in a region.
  [[nodiscard]] Run run(const std::byte* at, uint32_t length_bytes) const {
    if (identity_) return {reinterpret_cast<uintptr_t>(at), length_bytes};
    return look_up(at, length_bytes);
  }

 private:
  struct Mapping {
    SendRegion region;
    bool mapped = false;
    std::vector<uint64_t> page_iovas;  // PA mode only
  };

  [[nodiscard]] Run look_up(const std::byte* at, uint32_t length_bytes) const;
  [[nodiscard]] Result<void> add(const SendRegion& region);
  void detach();

  rte_device* device_ = nullptr;
  bool identity_ = true;
  std::vector<Mapping> mappings_;
};

}  // namespace sluice::nic
