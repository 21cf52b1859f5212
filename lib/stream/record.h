// What travels on the stand-in's connections. All integers little-endian.
// docs/formats/replication-stream.md has the same as prose.
//
// Each connection begins with one Greeting in each direction, the dialler's first:
//
//   0        8      9     10     11     12         16               32          36        64
//   | magic  | ver. | role| lane | lanes| reserved | token 16 bytes | write max | reserved |
//
//   dialler's control connection: how many lanes it would like; the token is zero.
//   the answer there: how many there are, and a token drawn for this link.
//   each data connection: its lane, and that token; the answer repeats both.
//
// Then records: a header, and what it announces.
//
//   0       4        8         16    20          24         32
//   | kind  | length | address | key | immediate | reserved |  payload of `length` bytes
//
//   control connection: frames only (length 256; address, key and immediate zero)
//   data connections:   writes only, from the dialler's side or the other's
//
// Pure: bytes in, values out. Whatever is not exactly as above is refused.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sluice::stream {

inline constexpr uint32_t greeting_bytes = 64;
inline constexpr uint32_t header_bytes = 32;
inline constexpr uint8_t version = 1;
inline constexpr uint32_t lanes_max = 8;

using Token = std::array<std::byte, 16>;

enum class Role : uint8_t { control = 1, data = 2 };

struct Greeting {
  Role role = Role::control;
  uint8_t lane = 0;   // data
  uint8_t lanes = 1;  // 1 to lanes_max
  Token token{};
  uint32_t write_bytes_max = 0;
  bool operator==(const Greeting&) const = default;
};

enum class Kind : uint32_t {
  frame = 0x4d415246,  // "FRAM"
  write = 0x54495257,  // "WRIT"
};

struct Header {
  Kind kind = Kind::frame;
  uint32_t length_bytes = 0;
  uint64_t address = 0;
  uint32_t key = 0;
  uint32_t immediate = 0;
  bool operator==(const Header&) const = default;
};

void emit(const Greeting& greeting, std::span<std::byte, greeting_bytes> out);
void emit(const Header& header, std::span<std::byte, header_bytes> out);

/// Returns false where these bytes are no greeting of this version.
[[nodiscard]] bool parse(std::span<const std::byte, greeting_bytes> bytes, Greeting& out);
/// Returns false where these bytes are no header that may stand on a connection of `role`.
[[nodiscard]] bool parse(std::span<const std::byte, header_bytes> bytes, Role role, Header& out);

}  // namespace sluice::stream
