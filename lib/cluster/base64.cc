#include "cluster/base64.h"

#include <array>
#include <cstdint>

namespace sluice::cluster {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> values = [] {
  std::array<int8_t, 256> made{};
  for (int8_t& value : made) value = -1;
  for (size_t i = 0; i < alphabet.size(); ++i) {
    made[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  }
  return made;
}();

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t word = 0;
    for (size_t i = 0; i < 3; ++i) {
      word = word << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0U);
    }
    const size_t have = bytes.size() - at;
    out += alphabet[word >> 18];
    out += alphabet[word >> 12 & 63];
    out += have > 1 ? alphabet[word >> 6 & 63] : '=';
    out += have > 2 ? alphabet[word & 63] : '=';
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t at = 0; at < text.size(); at += 4) {
    size_t padding = 0;
    uint32_t word = 0;
    for (size_t i = 0; i < 4; ++i) {
      const char c = text[at + i];
      const bool may_pad = at + 4 == text.size() && i >= 2;
      if (c == '=' && may_pad) {
        ++padding;
        word <<= 6;
        continue;
      }
      const int8_t value = values[static_cast<uint8_t>(c)];
      if (value < 0 || padding > 0) return std::nullopt;
      word = word << 6 | static_cast<uint32_t>(value);
    }
    out += static_cast<char>(word >> 16);
    if (padding < 2) out += static_cast<char>(word >> 8 & 0xff);
    if (padding < 1) out += static_cast<char>(word & 0xff);
  }
  return out;
}

}  // namespace sluice::cluster
