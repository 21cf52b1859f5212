// Any bytes as what a peer says on a connection of the stand-in, in any portions, with grants that
// come and go between them. Nothing may be written but inside a grant that is open at that moment.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "input.h"
#include "stream/reader.h"

namespace {

using namespace sluice;
using namespace sluice::stream;

constexpr uint32_t slots = 4;
constexpr uint32_t slot_bytes = 512;

void check(bool holds) {
  if (!holds) std::abort();
}

using fuzz::Input;

struct World {
  // Each slot may be granted as a whole; its copy is what must not have changed while it is not.
  std::vector<std::byte> memory = std::vector<std::byte>(slots * slot_bytes);
  std::vector<std::byte> copy = memory;
  std::array<std::byte, 64> trash{};
  Grants grants;
  Reader reader;

  MutableBytes slot(uint32_t i) {
    return MutableBytes(memory).subspan(size_t{i} * slot_bytes, slot_bytes);
  }
  void toggle(uint32_t i) {
    if (grants.is_open(i)) {
      reader.revoke(i);
      grants.close(i);
      std::memcpy(&copy[size_t{i} * slot_bytes], slot(i).data(), slot_bytes);
    } else {
      // A key that the corpus can know.
      static_cast<void>(grants.open(i, slot(i), uint64_t{i} * slot_bytes, 0, 1));
    }
  }
  void check_ungranted() {
    for (uint32_t i = 0; i < slots; ++i) {
      if (grants.is_open(i)) continue;
      check(std::memcmp(&copy[size_t{i} * slot_bytes], slot(i).data(), slot_bytes) == 0);
    }
  }
};

}  // namespace

// The first byte: the connection's role. Then portions: a byte that says how many follow (0 to
// 127), or (128 and more) which grant is opened or revoked.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const Role role = (input.byte() & 1) != 0 ? Role::control : Role::data;
  World world;
  while (!input.empty()) {
    const uint8_t what = input.byte();
    if (what >= 128) {
      world.toggle(what % slots);
      continue;
    }
    for (uint32_t left = std::min<uint32_t>(what, static_cast<uint32_t>(input.size())); left > 0;) {
      const MutableBytes space = world.reader.want(world.trash);
      check(!space.empty());
      const uint32_t count = std::min<uint32_t>(left, static_cast<uint32_t>(space.size()));
      std::ranges::copy(input.take(count), space.begin());
      left -= count;
      const Reader::Outcome outcome = world.reader.advance(count, world.grants);
      world.check_ungranted();
      switch (outcome) {
        case Reader::Outcome::malformed:
        case Reader::Outcome::forbidden:
          return 0;
        case Reader::Outcome::greeting:
          world.reader.begin(role, 0);
          break;
        case Reader::Outcome::landed:
          check(role == Role::data && world.reader.header().length_bytes <= slot_bytes);
          break;
        case Reader::Outcome::frame:
          check(role == Role::control);
          break;
        case Reader::Outcome::drained:
          check(role == Role::data && world.reader.take_drained_bytes() > 0);
          break;
        case Reader::Outcome::more:
          break;
      }
    }
  }
  return 0;
}
