// ARP and NDP on their way in. Read first: RFC 826, RFC 5227, RFC 4861 sections 6.3 and 7.2.

#include "inet/inet.h"
#include "wire/arp.h"
#include "wire/ndp.h"

namespace sluice::inet {
namespace {

using stats::Counter;

constexpr Duration defend_interval = Duration::from_s(10);  // RFC 5227 section 1.1

}  // namespace

void Inet::answer_neighbor(Instant now, Answer& answer) {
  if (!config_.answers_neighbors) return;
  if (!neighbor_rate_.take(now)) {
    counters_.add(Counter::inet_drop_neighbor_rate);
    return;
  }
  push_answer(answer);
}

// Somebody else says that an address of ours is his: say once more that it is ours, but not in a
// war of announcements (RFC 5227 section 2.4 (c)).
void Inet::handle_conflict(Instant now) {
  counters_.add(Counter::inet_address_conflicts);
  if (!config_.answers_neighbors || now < defend_from_) return;
  defend_from_ = now + defend_interval;
  if (announcements_left_ > 0) return;
  announcements_left_ = 1;
  announce_next_ = 0;
  announce_at_ = now;
}

Nothing Inet::handle_arp(Instant now, const Packet& packet) {
  wire::ArpPacket arp;
  if (!wire::parse_arp(packet.bytes, arp) || !arp.sender_mac.is_station() ||
      (arp.operation != wire::arp_request && arp.operation != wire::arp_reply)) {
    return drop(Counter::inet_drop_arp_malformed);
  }
  const uint8_t target = find_local4(arp.target_ip);
  if (find_local4(arp.sender_ip) != no_local) {
    // Our own MAC: an announcement that came back, or a port whose two ends share one MAC.
    if (arp.sender_mac != config_.mac) handle_conflict(now);
    return {};
  }
  const bool is_probe = arp.sender_ip == 0;  // RFC 5227 section 1.1: teaches nothing
  if (!is_probe) {
    if (!is_possible_source4(arp.sender_ip)) return drop(Counter::inet_drop_arp_malformed);
    const Address sender = Address::v4(arp.sender_ip);
    const bool is_link_peer = is_on_link(sender) || sender == config_.gateway4;
    neighbors_.handle_heard(now,
                            {.address = sender,
                             .mac = arp.sender_mac,
                             .solicited = arp.operation == wire::arp_reply && !packet.group_frame,
                             .may_create = target != no_local && is_link_peer});
  }
  if (arp.operation != wire::arp_request || target == no_local) return {};
  Answer answer;
  answer.kind = Answer::Kind::arp;
  answer.local = target;
  answer.mac = arp.sender_mac;
  answer.remote = Address::v4(arp.sender_ip);
  answer_neighbor(now, answer);
  return {};
}

Nothing Inet::handle_ndp(Instant now, const Packet& packet, uint8_t type) {
  // RFC 4861 sections 6.1 and 7.1: a hop limit of 255 proves that no router forwarded it.
  if (packet.hop_limit != wire::ndp_hop_limit) return drop(Counter::inet_drop_ndp_malformed);
  switch (type) {
    case wire::icmpv6::neighbor_solicitation:
      return handle_solicitation(now, packet);
    case wire::icmpv6::neighbor_advertisement:
      return handle_advertisement(now, packet);
    case wire::icmpv6::router_advertisement:
      return handle_router(now, packet);
    default:
      return drop(Counter::inet_drop_ndp_ignored);
  }
}

Nothing Inet::handle_solicitation(Instant now, const Packet& packet) {
  wire::NeighborSolicitation message;
  if (!wire::parse_neighbor_solicitation(packet.upper, message)) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  const bool is_probe = packet.source.is_unspecified();  // of duplicate address detection
  if (is_probe && (message.options.has_source_mac || !packet.group_packet)) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  const uint8_t target = find_local(Address::v6(message.target));
  if (target == no_local) return drop(Counter::inet_drop_ndp_ignored);
  Answer answer;
  answer.kind = Answer::Kind::advertisement;
  answer.local = target;
  if (is_probe) {
    // Section 7.2.4: to all nodes, for the asker has no address yet.
    answer.remote = all_nodes;
    answer.mac = multicast_mac_of(all_nodes);
  } else {
    answer.solicited = true;
    answer.remote = packet.source;
    answer.mac = packet.source_mac();
    if (message.options.has_source_mac) {
      answer.mac = message.options.source_mac;
      if (!answer.mac.is_station()) return drop(Counter::inet_drop_ndp_malformed);
      neighbors_.handle_heard(
          now,
          {.address = packet.source, .mac = answer.mac, .may_create = is_on_link(packet.source)});
    } else if (!answer.mac.is_station()) {
      return drop(Counter::inet_drop_ndp_malformed);
    }
  }
  answer_neighbor(now, answer);
  return {};
}

Nothing Inet::handle_advertisement(Instant now, const Packet& packet) {
  wire::NeighborAdvertisement message;
  const bool parsed = wire::parse_neighbor_advertisement(packet.upper, message);
  // Section 7.1.2: an answer is not sent to a group.
  if (!parsed || (packet.group_packet && message.solicited) || packet.source.is_unspecified()) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  const wire::NdpOptions& options = message.options;
  if (options.has_target_mac && !options.target_mac.is_station()) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  const Address target = Address::v6(message.target);
  if (find_local(target) != no_local) {
    if (options.has_target_mac && options.target_mac != config_.mac) handle_conflict(now);
    return {};
  }
  neighbors_.handle_heard(now, {.address = target,
                                .mac = options.target_mac,
                                .has_mac = options.has_target_mac,
                                .solicited = message.solicited,
                                .replaces = message.override});
  // Section 7.2.5: one that is a router no more is no default router either.
  if (!message.router) routers_.remove(target);
  return {};
}

Nothing Inet::handle_router(Instant now, const Packet& packet) {
  wire::RouterAdvertisement message;
  if (!packet.source.is_link_local() || !wire::parse_router_advertisement(packet.upper, message)) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  const wire::NdpOptions& options = message.options;
  if (options.has_source_mac && !options.source_mac.is_station()) {
    return drop(Counter::inet_drop_ndp_malformed);
  }
  router_questions_left_ = 0;
  if (options.has_source_mac) {
    neighbors_.handle_heard(
        now, {.address = packet.source, .mac = options.source_mac, .may_create = true});
  }
  // Section 6.3.4: between the minimum and what the link can carry; else ignored.
  if (options.has_mtu && options.mtu >= wire::ipv6_minimum_mtu && options.mtu <= config_.mtu) {
    mtu6_ = static_cast<uint16_t>(options.mtu);
  }
  const size_t routers_before = routers_.size();
  const bool listed =
      routers_.handle_advertisement(now, {.router = packet.source,
                                          .lifetime = Duration::from_s(message.lifetime_s),
                                          .preference = message.preference});
  found_router_ |= routers_.size() > routers_before;
  if (!listed) return drop(Counter::inet_routers_ignored);
  return {};
}

}  // namespace sluice::inet
