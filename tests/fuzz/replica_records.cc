// Any bytes as a record of another node: what is taken is whole and within bounds, and emitting it
// gives the same bytes again.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "replica/record.h"

namespace {

using namespace sluice;
using namespace sluice::replica;

void check(bool holds) {
  if (!holds) std::abort();
}

// A weak digest, so that the fuzzer gets past it: the length and a sum.
Sha256 easy_digest(Bytes data) {
  Sha256 out{};
  uint8_t sum = 0;
  for (const std::byte byte : data) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
  out[0] = static_cast<std::byte>(sum);
  return out;
}

void check_whole(GenerationId generation) {
  check(generation.number != 0 && generation.publisher.value != 0);
}

void check_values(const Manifest& manifest) {
  check_whole(manifest.generation);
  check(is_published_path(manifest.path));
  check(manifest.pieces() <= pieces_max && manifest.piece_bytes > 0);
  check(pieces_of(manifest.size_bytes, manifest.piece_bytes) == manifest.pieces());
}

void check_values(const Assignment& assignment) {
  check_whole(assignment.generation);
  check(assignment.copies >= 1 && assignment.copies <= holders_max);
  check(!assignment.holders.empty());
  for (size_t i = 0; i < assignment.holders.size(); ++i) {
    check(!assignment.holders[i].is_none());
    for (size_t k = 0; k < i; ++k) check(assignment.holders[i] != assignment.holders[k]);
  }
}

void check_values(const Mark& mark) {
  check_whole(mark.generation);
  check(!mark.node.is_none());
}

void check_values(const Current& current) {
  check(is_published_path(current.path));
  if (!current.generation.is_none()) check_whole(current.generation);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Digests digests{.crc32c = nullptr, .sha256 = easy_digest, .hmac_sha256 = nullptr};
  // Memory of its own: a byte read beyond it is found.
  const std::vector<uint8_t> input(data, data + size);
  const Bytes bytes = std::as_bytes(std::span(input));
  Record record;
  if (parse(bytes, digests, record) != RecordError::none) return 0;
  std::visit([](const auto& one) { check_values(one); }, record);
  std::vector<std::byte> again;
  emit(record, again);
  check(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  return 0;
}
