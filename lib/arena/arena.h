// Arena: the memory that everything transmitted lies in: content chunks, and each worker's head
// slots. One mapping, reserved and touched at start, on hugepages where there are some and on plain
// memory elsewhere, on one NUMA node where one is asked for.
//
//   | chunk 0 | chunk 1 | ... | chunk n-1 | head slots of worker 0 | ... of worker w-1 | padding |
//   ^ 2 MiB aligned                       ^ 4 KiB aligned, as is each worker's part
//
// Each edge registers the one region once with its device. Made and destroyed by the main thread;
// must outlive every worker, port and disk that uses it.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "content/arena_view.h"

namespace sluice::arena {

enum class Hugepages : uint8_t {
  automatic,  // take them if there are enough, plain memory otherwise
  never,
  required,
};

struct Options {
  uint64_t content_bytes = 0;  // rounded up to whole chunks
  uint32_t chunk_bytes = 2u << 20;
  uint32_t workers = 1;
  uint32_t head_slots_per_worker = 0;
  int numa_node = -1;  // -1: wherever the kernel puts it
  Hugepages hugepages = Hugepages::automatic;
};

class Arena {
 public:
  /// Reserves and touches all memory, so that nothing can fail for want of it later.
  /// Errors: an impossible option; not enough memory or (required) hugepages.
  [[nodiscard]] static Result<Arena> create(const Options& options);

  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  [[nodiscard]] content::ArenaView view(uint32_t worker) const;
  /// The whole mapping, for registration with devices.
  [[nodiscard]] MutableBytes region() const { return {base_, mapped_bytes_}; }
  [[nodiscard]] uint32_t chunk_count() const { return chunk_count_; }
  [[nodiscard]] uint32_t chunk_bytes() const { return options_.chunk_bytes; }
  /// Units: bytes of one page of the mapping (2 MiB or the machine's small page).
  [[nodiscard]] uint64_t page_bytes() const { return page_bytes_; }
  [[nodiscard]] bool uses_hugepages() const { return uses_hugepages_; }
  /// The NUMA node that every page looked at (one in 2 MiB) is on, as the kernel says; -1: several,
  /// or not known.
  [[nodiscard]] int numa_node() const { return numa_node_; }
  /// One line for the start-up report: what was asked for and what it got.
  [[nodiscard]] const std::string& description() const { return description_; }

  /// Bytes that create() would map, for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const Options& options);

 private:
  Arena() = default;
  void unmap() noexcept;

  Options options_;
  std::byte* base_ = nullptr;
  size_t mapped_bytes_ = 0;
  uint32_t chunk_count_ = 0;
  uint64_t page_bytes_ = 0;
  bool uses_hugepages_ = false;
  int numa_node_ = -1;
  std::string description_;
};

}  // namespace sluice::arena
