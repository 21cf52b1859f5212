#include "stream/record.h"

#include <algorithm>
#include <cstring>

#include "replica/mover.h"

namespace sluice::stream {
namespace {

constexpr std::array<char, 8> magic{'s', 'l', 'u', 'i', 'c', 'e', 'm', 'v'};

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
bool is_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte each) { return each == std::byte{}; });
}

}  // namespace

void emit(const Greeting& greeting, std::span<std::byte, greeting_bytes> out) {
  std::fill(out.begin(), out.end(), std::byte{});
  std::memcpy(out.data(), magic.data(), magic.size());
  store(&out[8], version);
  store(&out[9], greeting.role);
  store(&out[10], greeting.lane);
  store(&out[11], greeting.lanes);
  std::copy(greeting.token.begin(), greeting.token.end(), &out[16]);
  store(&out[32], greeting.write_bytes_max);
}

void emit(const Header& header, std::span<std::byte, header_bytes> out) {
  store(&out[0], header.kind);
  store(&out[4], header.length_bytes);
  store(&out[8], header.address);
  store(&out[16], header.key);
  store(&out[20], header.immediate);
  store(&out[24], uint64_t{0});
}

bool parse(std::span<const std::byte, greeting_bytes> bytes, Greeting& out) {
  if (std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) return false;
  if (load<uint8_t>(&bytes[8]) != version) return false;
  if (!is_zero(bytes.subspan(12, 4)) || !is_zero(bytes.subspan(36))) return false;
  const auto role = load<uint8_t>(&bytes[9]);
  if (role != static_cast<uint8_t>(Role::control) && role != static_cast<uint8_t>(Role::data)) {
    return false;
  }
  out.role = static_cast<Role>(role);
  out.lane = load<uint8_t>(&bytes[10]);
  out.lanes = load<uint8_t>(&bytes[11]);
  std::copy(&bytes[16], &bytes[16] + out.token.size(), out.token.begin());
  out.write_bytes_max = load<uint32_t>(&bytes[32]);
  if (out.lanes == 0 || out.lanes > lanes_max || out.lane >= out.lanes) return false;
  return out.role == Role::data || out.lane == 0;
}

bool parse(std::span<const std::byte, header_bytes> bytes, Role role, Header& out) {
  const auto kind = load<uint32_t>(&bytes[0]);
  const Kind expected = role == Role::control ? Kind::frame : Kind::write;
  if (kind != static_cast<uint32_t>(expected)) return false;
  if (load<uint64_t>(&bytes[24]) != 0) return false;
  out.kind = expected;
  out.length_bytes = load<uint32_t>(&bytes[4]);
  out.address = load<uint64_t>(&bytes[8]);
  out.key = load<uint32_t>(&bytes[16]);
  out.immediate = load<uint32_t>(&bytes[20]);
  if (out.kind == Kind::write) return out.length_bytes > 0;
  return out.length_bytes == replica::frame_bytes && out.address == 0 && out.key == 0 &&
         out.immediate == 0;
}

}  // namespace sluice::stream
