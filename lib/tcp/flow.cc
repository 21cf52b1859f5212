#include "tcp/flow.h"

#include <array>

namespace sluice::tcp {

uint64_t flow_hash(const SipKey& key, const Flow& flow) {
  // Packed by hand: the struct has a byte of padding. SipHash takes it in three words.
  std::array<std::byte, 21> packed;
  std::memcpy(packed.data(), flow.remote.data(), 16);
  store_be16(&packed[16], flow.remote_port);
  store_be16(&packed[18], flow.local_port);
  store_u8(&packed[20], flow.local);
  return siphash24(key, packed);
}

}  // namespace sluice::tcp
