// Multicast Listener Discovery: a node tells snooping switches which groups it wants. Read first:
// RFC 3810 (version 2), RFC 2710 (version 1).
//
//   IPv6, hop limit 1 | hop-by-hop options: router alert | ICMPv6 query or report
//
// Without it a snooping switch does not pass on the solicitations sent to our solicited-node
// groups, and no IPv6 neighbour finds us.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sluice::wire {

inline constexpr uint8_t mld_hop_limit = 1;
// Hop-by-hop header with router alert (RFC 2711) and padding.
inline constexpr size_t mld_hop_by_hop_bytes = 8;

struct MldQuery {
  bool version1 = false;             // of RFC 2710: its reports are the only ones understood
  const std::byte* group = nullptr;  // 16 bytes; all zero: every group
};
/// Requires: `message` begins at the ICMPv6 type, which is mld_query.
/// Returns false when it is too short.
[[nodiscard]] bool parse_mld_query(Bytes message, MldQuery& out);

struct MldReport {
  const std::byte* group = nullptr;        // 16 bytes
  const std::byte* source = nullptr;       // 16 bytes: of the packet, for the checksum
  const std::byte* destination = nullptr;  // 16 bytes: likewise
  bool version1 = false;
  bool joining = false;  // a change of ours, rather than an answer to a query
};
inline constexpr size_t mld_report_max_bytes = mld_hop_by_hop_bytes + 28;

/// Writes the hop-by-hop header and a report about one group, checksum complete.
/// Returns: bytes written. Requires: mld_report_max_bytes of room.
size_t emit_mld_report(const MldReport& report, MutableBytes out);

}  // namespace sluice::wire
