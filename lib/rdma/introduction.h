// Introduction: the private data that goes with each connect and accept of rdma_cm. RC connects
// carry at most 56 bytes in the TCP port space (rdma_connect(3)).
//
//   0       4      5      6      7       8                24          28
//   | "SLRM" | ver. | role | lane | lanes | token 16 bytes | write max |     little-endian
//
//   connect, control: how many lanes the dialler would like; the token is zero
//   accept, control:  how many there are, and the token of this link
//   connect, data:    its lane, and that token
//   accept, data:     the same
//
// Pure.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace sluice::rdma {

inline constexpr uint32_t introduction_bytes = 28;
inline constexpr uint8_t introduction_version = 1;
inline constexpr uint32_t lanes_max = 8;

using Token = std::array<std::byte, 16>;
enum class Role : uint8_t { control = 1, data = 2 };

struct Introduction {
  Role role = Role::control;
  uint8_t lane = 0;
  uint8_t lanes = 1;
  Token token{};
  uint32_t write_bytes_max = 0;
  bool operator==(const Introduction&) const = default;
};

inline std::array<std::byte, introduction_bytes> emit(const Introduction& from) {
  std::array<std::byte, introduction_bytes> out{};
  std::memcpy(&out[0], "SLRM", 4);
  store_u8(&out[4], introduction_version);
  store_u8(&out[5], static_cast<uint8_t>(from.role));
  store_u8(&out[6], from.lane);
  store_u8(&out[7], from.lanes);
  std::memcpy(&out[8], from.token.data(), from.token.size());
  std::memcpy(&out[24], &from.write_bytes_max, 4);
  return out;
}

/// rdma_cm pads with zeros to what the wire has room for. Returns false where this is none of ours.
[[nodiscard]] inline bool parse(Bytes bytes, Introduction& out) {
  if (bytes.size() < introduction_bytes || std::memcmp(bytes.data(), "SLRM", 4) != 0) return false;
  if (load_u8(&bytes[4]) != introduction_version) return false;
  const uint8_t role = load_u8(&bytes[5]);
  if (role != static_cast<uint8_t>(Role::control) && role != static_cast<uint8_t>(Role::data)) {
    return false;
  }
  out.role = static_cast<Role>(role);
  out.lane = load_u8(&bytes[6]);
  out.lanes = load_u8(&bytes[7]);
  std::memcpy(out.token.data(), &bytes[8], out.token.size());
  std::memcpy(&out.write_bytes_max, &bytes[24], 4);
  if (out.lanes == 0 || out.lanes > lanes_max || out.lane >= out.lanes) return false;
  return out.role == Role::data || out.lane == 0;
}

}  // namespace sluice::rdma
