// Multicast listening: reports of the solicited-node groups of our addresses. Read first: RFC 3810.
//
// A round of reports goes out at start (with each announcement of an address) and after a query.
// Queries for one group are answered with a round, too: there are few groups.

#include "inet/inet.h"
#include "wire/mld.h"

namespace sluice::inet {
namespace {

using stats::Counter;

/// ff02::16, all MLDv2-capable routers (RFC 3810 section 5.2.14).
constexpr Address mld_routers = Address::words(0xff02'0000'0000'0000, 0x16);

}  // namespace

Nothing Inet::handle_listener_query(Instant now, const Packet& packet) {
  wire::MldQuery query;
  // RFC 3810 section 6.2 (and 5.1.14): from a neighbour.
  if (!wire::parse_mld_query(packet.upper, query) || packet.hop_limit != wire::mld_hop_limit ||
      !packet.source.is_link_local()) {
    return drop(Counter::inet_drop_mld_malformed);
  }
  if (!config_.answers_neighbors || is_reporting_) return {};
  if (!neighbor_rate_.take(now)) return drop(Counter::inet_drop_neighbor_rate);
  is_reporting_ = true;
  report_version1_ = query.version1;
  report_next_ = 0;
  return {};
}

// The report about the solicited-node group of one address.
void Inet::emit_listener_report(uint8_t local, bool joining, wire::TxFrame& out) {
  const Address group = locals_[local].address.solicited_node();
  // RFC 2710 section 4: a version 1 report goes to the group itself.
  const bool version1 = !joining && report_version1_;
  const Address& destination = version1 ? group : mld_routers;
  const Address& source = locals_[link_local_].address;
  std::array<std::byte, wire::mld_report_max_bytes> payload;
  const size_t length = wire::emit_mld_report({.group = group.data(),
                                               .source = source.data(),
                                               .destination = destination.data(),
                                               .version1 = version1,
                                               .joining = joining},
                                              payload);
  begin_frame({.destination = multicast_mac_of(destination), .ether_type = wire::ether_type_ipv6},
              out);
  const MutableBytes room = MutableBytes(out.header).subspan(out.header_length);
  wire::emit_ipv6({.next_header = wire::next_header_hop_by_hop,
                   .hop_limit = wire::mld_hop_limit,
                   .payload_length = static_cast<uint16_t>(length),
                   .source = source.data(),
                   .destination = destination.data()},
                  room);
  std::memcpy(room.data() + wire::ipv6_header_bytes, payload.data(), length);
  out.header_length = static_cast<uint16_t>(out.header_length + wire::ipv6_header_bytes + length);
  out.l3_length = wire::ipv6_header_bytes;
  out.is_ipv6 = true;
  counters_.add(Counter::inet_mld_sent);
}

bool Inet::poll_listener_report(wire::TxFrame& out) {
  if (!is_reporting_) return false;
  while (report_next_ < locals_.size()) {
    const uint8_t local = report_next_++;
    if (locals_[local].address.is_v4()) continue;
    emit_listener_report(local, false, out);
    return true;
  }
  is_reporting_ = false;
  return false;
}

}  // namespace sluice::inet
