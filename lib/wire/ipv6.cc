#include "wire/ipv6.h"

namespace sluice::wire {
namespace {

enum class OptionWalk : uint8_t { ok, truncated, discard, answer, answer_unless_multicast };

struct OptionResult {
  OptionWalk outcome = OptionWalk::ok;
  size_t offset_bytes = 0;  // of the offending option
};

constexpr uint8_t option_pad1 = 0;
constexpr uint8_t option_padn = 1;

// RFC 8200 section 4.2. `options` is what follows next header and length.
OptionResult walk_options(Bytes options) {
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t type = load_u8(options.data() + at);
    if (type == option_pad1) {
      ++at;
      continue;
    }
    if (options.size() - at < 2) return {OptionWalk::truncated, at};
    const size_t length = 2 + size_t{load_u8(options.data() + at + 1)};
    if (options.size() - at < length) return {OptionWalk::truncated, at};
    if (type != option_padn) {
      // The highest two bits say what to do with an option that is not known.
      switch (type >> 6) {
        case 0:
          break;
        case 1:
          return {OptionWalk::discard, at};
        case 2:
          return {OptionWalk::answer, at};
        default:
          return {OptionWalk::answer_unless_multicast, at};
      }
    }
    at += length;
  }
  return {};
}

ExtensionResult fault(ExtensionWalk outcome, size_t pointer_bytes = 0) {
  ExtensionResult result;
  result.outcome = outcome;
  result.pointer_bytes = static_cast<uint16_t>(pointer_bytes);
  return result;
}

ExtensionResult option_fault(const OptionResult& options, size_t pointer_bytes) {
  switch (options.outcome) {
    case OptionWalk::discard:
      return fault(ExtensionWalk::discard);
    case OptionWalk::answer:
      return fault(ExtensionWalk::bad_option, pointer_bytes);
    case OptionWalk::answer_unless_multicast:
      return fault(ExtensionWalk::bad_option_quiet, pointer_bytes);
    default:
      return fault(ExtensionWalk::truncated);
  }
}

}  // namespace

ExtensionResult walk_extensions(Bytes packet) {
  uint8_t next = load_u8(packet.data() + 6);
  size_t next_at = 6;  // where `next` was read
  size_t at = ipv6_header_bytes;
  for (size_t headers = 0; headers <= extension_headers_max; ++headers) {
    switch (next) {
      case next_header_none:
        return fault(ExtensionWalk::no_next_header);
      case next_header_fragment:
        return fault(ExtensionWalk::fragment);
      case next_header_hop_by_hop:
        if (at != ipv6_header_bytes) return fault(ExtensionWalk::misplaced, next_at);
        break;
      case next_header_routing:
      case next_header_destination:
        break;
      default: {
        ExtensionResult result;
        result.outcome = ExtensionWalk::upper_layer;
        result.protocol = next;
        result.offset_bytes = static_cast<uint16_t>(at);
        result.protocol_pointer = static_cast<uint16_t>(next_at);
        return result;
      }
    }
    if (packet.size() - at < 8) return fault(ExtensionWalk::truncated);
    const size_t length = 8 + 8 * size_t{load_u8(packet.data() + at + 1)};
    if (length > packet.size() - at) return fault(ExtensionWalk::truncated);
    if (at + length > ipv6_header_bytes + extension_bytes_max) {
      return fault(ExtensionWalk::too_many);
    }
    if (next == next_header_routing) {
      // Section 4.4: an unknown routing type is skipped when no segments are left. We know none.
      if (load_u8(packet.data() + at + 3) != 0) return fault(ExtensionWalk::bad_routing, at + 2);
    } else {
      const OptionResult options = walk_options(packet.subspan(at + 2, length - 2));
      if (options.outcome != OptionWalk::ok) {
        return option_fault(options, at + 2 + options.offset_bytes);
      }
    }
    next = load_u8(packet.data() + at);
    next_at = at;
    at += length;
  }
  return fault(ExtensionWalk::too_many);
}

}  // namespace sluice::wire
