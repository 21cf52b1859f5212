// One line of text per frame, in the manner of tcpdump. For traces, tests and failure reports; any
// bytes may be given.
#pragma once

#include <span>
#include <string_view>

#include "base/bytes.h"

namespace sluice::wire {

/// A buffer that any line fits in; longer lines (many options) are cut.
inline constexpr size_t dump_line_bytes = 512;

/// Describes a frame, from the Ethernet header on, into `out`:
///   "02:..:01 > 02:..:02 vlan 7 192.0.2.1.80 > 192.0.2.9.4711 [PA] seq 1 ack 9 win 65535 <ts 1 2>
///   len 100"
/// Returns: the text, without a line end; it lives in `out`.
[[nodiscard]] std::string_view dump_frame(Bytes frame, std::span<char> out);

}  // namespace sluice::wire
