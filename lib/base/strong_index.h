// StrongIndex: an index into one particular table, not to be mixed up with another.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace sluice {

/// A 32-bit index. The default value is `none()`.
template <typename Tag>
class StrongIndex {
 public:
  constexpr StrongIndex() = default;
  constexpr explicit StrongIndex(uint32_t value) : value_(value) {}
  [[nodiscard]] static constexpr StrongIndex none() { return StrongIndex(); }

  [[nodiscard]] constexpr uint32_t value() const { return value_; }
  [[nodiscard]] constexpr bool is_none() const {
    return value_ == std::numeric_limits<uint32_t>::max();
  }
  constexpr auto operator<=>(const StrongIndex&) const = default;

 private:
  uint32_t value_ = std::numeric_limits<uint32_t>::max();
};

}  // namespace sluice
