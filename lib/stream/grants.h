// Grants: where one peer may write, in the stand-in: what memory windows are to RDMA. Asked for
// each write before a byte of it is read from the socket.
//
// A key is the grant's number below, and 26 random bits above that are drawn anew for each grant:
// an old key never opens a later one but by a chance of 1 in 67 million, and then the bytes'
// checksum tells. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "replica/mover.h"
#include "stream/record.h"

namespace sluice::stream {

class Grants {
 public:
  static constexpr uint32_t none = replica::grants_max;

  /// Requires: `number` is not open; the key's random bits.
  [[nodiscard]] replica::Window open(uint32_t number, MutableBytes memory, uint64_t address,
                                     uint32_t lane, uint32_t random) {
    Slot& slot = slots_[number];
    ASSERT(!slot.is_open);
    slot = {.is_open = true,
            .key = random << number_bits | number,
            .lane = lane,
            .address = address,
            .memory = memory};
    ++open_;
    return {.address = address,
            .key = slot.key,
            .lane = lane,
            .length_bytes = static_cast<uint32_t>(memory.size())};
  }
  void close(uint32_t number) {
    ASSERT(slots_[number].is_open);
    slots_[number] = {};
    --open_;
  }
  [[nodiscard]] bool is_open(uint32_t number) const { return slots_[number].is_open; }
  [[nodiscard]] uint32_t lane(uint32_t number) const { return slots_[number].lane; }
  [[nodiscard]] uint32_t count() const { return open_; }

  /// Which grant a write falls into, whole; none: none.
  [[nodiscard]] uint32_t find(const Header& write, uint32_t lane, MutableBytes& out) const {
    const Slot& slot = slots_[write.key & (replica::grants_max - 1)];
    if (!slot.is_open || slot.key != write.key || slot.lane != lane) return none;
    if (write.address < slot.address) return none;
    const uint64_t offset = write.address - slot.address;
    if (offset > slot.memory.size() || write.length_bytes > slot.memory.size() - offset) {
      return none;
    }
    out = slot.memory.subspan(offset, write.length_bytes);
    return write.key & (replica::grants_max - 1);
  }

 private:
  static constexpr uint32_t number_bits = 6;
  static_assert(1u << number_bits == replica::grants_max);

  struct Slot {
    bool is_open = false;
    uint32_t key = 0;
    uint32_t lane = 0;
    uint64_t address = 0;
    MutableBytes memory;
  };
  std::array<Slot, replica::grants_max> slots_{};
  uint32_t open_ = 0;
};

}  // namespace sluice::stream
