// Numbers out of a script's words. A script is our own: what is not a number reads as 0.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/time.h"

namespace sluice::packet {

inline uint32_t number(const std::string& text) {
  return static_cast<uint32_t>(std::strtoll(text.c_str(), nullptr, 10));
}

inline Duration seconds(const std::string& text) {
  return Duration::from_us(static_cast<int64_t>(std::strtod(text.c_str(), nullptr) * 1e6));
}

}  // namespace sluice::packet
