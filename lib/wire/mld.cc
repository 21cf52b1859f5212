#include "wire/mld.h"

#include <cstring>

#include "base/assert.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv6.h"

namespace sluice::wire {
namespace {

constexpr size_t version1_bytes = 24;  // RFC 3810 section 8.1: exactly this long means version 1
constexpr size_t version2_query_bytes = 28;
constexpr size_t version2_report_bytes = 28;

// RFC 3810 section 5.2.12. Listening to a group from anywhere is "exclude nothing".
constexpr uint8_t mode_is_exclude = 2;
constexpr uint8_t change_to_exclude = 4;

// Next header ICMPv6, length 0; router alert with value 0 (MLD); PadN of no bytes.
constexpr uint64_t hop_by_hop = 0x3a00'0502'0000'0100;

}  // namespace

bool parse_mld_query(Bytes message, MldQuery& out) {
  out.version1 = message.size() == version1_bytes;
  if (!out.version1 && message.size() < version2_query_bytes) return false;
  out.group = message.data() + icmp_header_bytes;
  return true;
}

size_t emit_mld_report(const MldReport& report, MutableBytes out) {
  ASSERT(out.size() >= mld_report_max_bytes);
  store_be64(out.data(), hop_by_hop);
  MutableBytes message = out.subspan(mld_hop_by_hop_bytes);
  std::byte* group_at = nullptr;
  if (report.version1) {
    message = message.first(version1_bytes);
    emit_icmp({.type = icmpv6::mld_report_v1}, message);
    group_at = message.data() + icmp_header_bytes;
  } else {
    message = message.first(version2_report_bytes);
    emit_icmp({.type = icmpv6::mld_report_v2, .rest = 1}, message);  // one record
    std::byte* record = message.data() + icmp_header_bytes;
    store_be32(record, 0);  // no auxiliary data, no sources
    store_u8(record, report.joining ? change_to_exclude : mode_is_exclude);
    group_at = record + 4;
  }
  std::memcpy(group_at, report.group, ipv6_address_bytes);
  const uint64_t sum = ipv6_pseudo_sum({.source = report.source,
                                        .destination = report.destination,
                                        .protocol = protocol_icmpv6,
                                        .length = static_cast<uint32_t>(message.size())}) +
                       sum_bytes(message);
  store_be16(message.data() + 2, static_cast<uint16_t>(~fold_sum(sum)));
  return mld_hop_by_hop_bytes + message.size();
}

}  // namespace sluice::wire
