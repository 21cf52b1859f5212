// What a fuzz target reads its operations from: the input, byte for byte; zeros when it is over.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"

namespace sluice::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size)
      : bytes_(reinterpret_cast<const std::byte*>(data), size) {}
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] uint8_t byte() {
    const Bytes one = take(1);
    return one.empty() ? uint8_t{0} : load_u8(one.data());
  }
  /// Big-endian.
  [[nodiscard]] uint16_t word() {
    const uint8_t high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  /// The next bytes: so many, or those that are left.
  [[nodiscard]] Bytes take(size_t most) {
    const Bytes part = bytes_.first(std::min(most, bytes_.size()));
    bytes_ = bytes_.subspan(part.size());
    return part;
  }

 private:
  Bytes bytes_;
};

}  // namespace sluice::fuzz
