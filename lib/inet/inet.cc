#include "inet/inet.h"

#include <algorithm>

#include "wire/checksum.h"
#include "wire/tcp.h"

namespace sluice::inet {
namespace {

using stats::Counter;

constexpr uint64_t mac_word_mask = 0x0000'ffff'ffff'ffff;
constexpr uint64_t group_bit = 1;  // of the first byte on the wire, loaded as the lowest

// RFC 4443 section 2.4 (f) and RFC 1812 section 4.3.2.8 ask for a limit; the figures are ours.
constexpr RateLimit::Options echo_limit{.per_second = 5'000, .burst = 256};
constexpr RateLimit::Options error_limit{.per_second = 100, .burst = 50};
constexpr RateLimit::Options neighbor_limit{.per_second = 1'000, .burst = 256};

constexpr uint8_t announcements = 2;             // RFC 5227 section 1.1: ANNOUNCE_NUM
constexpr uint8_t router_solicitations_max = 3;  // RFC 4861 section 10: MAX_RTR_SOLICITATIONS

uint32_t broadcast_of(const Prefix& prefix) {
  const uint32_t bits = prefix.address.v4_bits();
  if (prefix.length > 30) return bits;
  return bits | static_cast<uint32_t>(uint64_t{0xffff'ffff} >> prefix.length);
}

}  // namespace

Inet::Inet(const Config& config, content::HeadSlots& slots, content::ChunkPins& pins,
           stats::Counters& counters)
    : config_(config),
      counters_(counters),
      slots_(slots),
      pins_(pins),
      mtu6_(config.mtu),
      locals_(),
      neighbors_({.capacity = config.neighbors_max, .key = config.key}, counters),
      answers_(answers_max),
      echo_rate_(echo_limit),
      error_rate_(error_limit),
      neighbor_rate_(neighbor_limit) {
  ASSERT(config.mac.is_station() && config.mtu >= wire::ipv6_minimum_mtu);
  for (const Prefix& prefix : config.addresses) {
    if (!prefix.address.is_v4() && !config.ipv6) continue;
    const auto local = static_cast<uint8_t>(locals_.size());
    const bool added = locals_.push_back(prefix);
    ASSERT(added);
    if (!prefix.address.is_v4()) continue;
    ASSERT(locals4_.push_back({prefix.address.v4_bits(), broadcast_of(prefix), local}));
  }
  if (config.ipv6) {
    const Address derived = link_local_of(config.mac);
    link_local_ = find_local(derived);
    if (link_local_ == no_local) {
      link_local_ = static_cast<uint8_t>(locals_.size());
      ASSERT(locals_.push_back({derived, 64}));
    }
  }

  std::array<std::byte, wire::mac_bytes> mac_bytes;
  config.mac.store(mac_bytes.data());
  std::memcpy(&mac_word_, mac_bytes.data(), mac_bytes.size());
  link_header_length_ = static_cast<uint8_t>(wire::emit_ethernet({.destination = {},
                                                                  .source = config.mac,
                                                                  .ether_type = 0,
                                                                  .vlan_id = config.vlan_id,
                                                                  .tagged = config.vlan_id != 0},
                                                                 link_header_));

  if (config.answers_neighbors) {
    announcements_left_ = announcements;
    if (config.ipv6 && config.gateway6.is_unspecified()) {
      router_questions_left_ = router_solicitations_max;
    }
  }
}

uint64_t Inet::memory_bytes(const Config& config) {
  return sizeof(Inet) + answers_max * sizeof(Answer) +
         NeighborTable::memory_bytes({.capacity = config.neighbors_max, .key = {}});
}

// Input
// ------------------------------------------------------------------------------------------------

Delivery Inet::handle_frame(Instant now, const wire::RxFrame& frame) {
  const Bytes bytes = frame.bytes;
  if (bytes.size() < wire::ethernet_header_bytes) return drop(Counter::inet_drop_frame_short);
  uint64_t first;
  std::memcpy(&first, bytes.data(), sizeof first);
  Packet packet;
  packet.group_frame = (first & group_bit) != 0;
  if (!packet.group_frame && (first & mac_word_mask) != mac_word_) {
    return drop(Counter::inet_drop_frame_foreign);
  }
  uint16_t ether_type = load_be16(bytes.data() + 12);
  size_t header_length = wire::ethernet_header_bytes;
  if (ether_type == wire::ether_type_vlan || config_.vlan_id != 0) {
    // Without a tag configured, one with VLAN 0 only carries a priority (IEEE 802.1Q).
    header_length += wire::vlan_tag_bytes;
    if (ether_type != wire::ether_type_vlan || bytes.size() < header_length ||
        (load_be16(bytes.data() + 14) & wire::vlan_id_mask) != config_.vlan_id) {
      return drop(Counter::inet_drop_vlan);
    }
    ether_type = load_be16(bytes.data() + 16);
  }
  packet.ethernet = bytes.data();
  packet.bytes = bytes.subspan(header_length);
  packet.l4_checksum = frame.l4_checksum;
  switch (ether_type) {
    case wire::ether_type_ipv4:
      return handle_ipv4(now, packet, frame.ip_checksum);
    case wire::ether_type_ipv6:
      if (config_.ipv6) return handle_ipv6(now, packet);
      return drop(Counter::inet_drop_ether_type);
    case wire::ether_type_arp:
      return handle_arp(now, packet);
    default:
      return drop(Counter::inet_drop_ether_type);
  }
}

Delivery Inet::deliver_tcp(const Packet& packet, uint64_t pseudo_sum, uint8_t ecn) {
  if (packet.upper.size() < wire::tcp_header_bytes) return drop(Counter::inet_drop_tcp_short);
  // What the NIC calls bad is looked at again: some call segments bad that they did not look at.
  if (packet.l4_checksum != wire::RxChecksum::good &&
      wire::fold_sum(pseudo_sum + wire::sum_bytes(packet.upper)) != 0xffff) {
    return drop(Counter::inet_drop_tcp_checksum);
  }
  return TcpSegment{packet.source, packet.upper, packet.local,
                    ecn == wire::ecn_congestion_experienced};
}

uint8_t Inet::find_local(const Address& address) const {
  for (size_t i = 0; i < locals_.size(); ++i) {
    if (locals_[i].address == address) return static_cast<uint8_t>(i);
  }
  return no_local;
}

uint8_t Inet::find_local4(uint32_t address) const {
  for (const Local4& local : locals4_) {
    if (local.address == address) return local.local;
  }
  return no_local;
}

// Time
// ------------------------------------------------------------------------------------------------

void Inet::handle_timeout(Instant now) {
  neighbors_.handle_timeout(now);
  routers_.handle_timeout(now);
}

Instant Inet::next_timeout() const {
  Instant next = std::min(neighbors_.next_timeout(), routers_.next_timeout());
  if (announcements_left_ > 0) next = std::min(next, announce_at_);
  if (router_questions_left_ > 0) next = std::min(next, router_question_at_);
  return next;
}

// Routes
// ------------------------------------------------------------------------------------------------

bool Inet::is_on_link(const Address& address) const {
  if (address.is_link_local()) return link_local_ != no_local;
  for (const Prefix& prefix : locals_) {
    if (prefix.contains(address)) return true;
  }
  return false;
}

PathState Inet::resolve_slowly(Instant now, const Address& remote, PathRef& cached) {
  // What cannot send to us cannot be sent to.
  const bool is_host = remote.is_v4() ? is_possible_source4(remote.v4_bits())
                                      : is_possible_source6(remote) && !remote.is_unspecified();
  if (!is_host || (!remote.is_v4() && link_local_ == no_local)) return PathState::unreachable;
  if (is_on_link(remote)) return neighbors_.resolve(now, remote, cached);
  const Address& gateway = remote.is_v4() ? config_.gateway4 : config_.gateway6;
  if (!gateway.is_unspecified()) return neighbors_.resolve(now, gateway, cached);
  if (remote.is_v4()) return PathState::unreachable;
  // RFC 4861 section 6.3.6: routers that do not answer are passed over.
  for (size_t i = 0; i < routers_.size(); ++i) {
    const PathState state = neighbors_.resolve(now, routers_.router(i), cached);
    if (state != PathState::unreachable) return state;
  }
  return PathState::unreachable;
}

// The address of ours to ask for `target` with.
uint8_t Inet::source_for(const Address& target) const {
  uint8_t of_family = no_local;
  for (size_t i = 0; i < locals_.size(); ++i) {
    const auto local = static_cast<uint8_t>(i);
    if (locals_[i].contains(target)) return local;
    if (of_family == no_local && locals_[i].address.is_v4() == target.is_v4()) of_family = local;
  }
  return target.is_v4() ? of_family : link_local_;
}

void Inet::emit(const PathRef& path, const Address& remote, uint8_t local,
                const EmitOptions& options, wire::TxFrame& out) const {
  const Address& source = locals_[local].address;
  const bool is_v4 = remote.is_v4();
  begin_frame({.destination = neighbors_.mac(path),
               .ether_type = is_v4 ? wire::ether_type_ipv4 : wire::ether_type_ipv6},
              out);
  const MutableBytes room{out.header.data() + out.header_length,
                          wire::TxFrame::header_capacity - out.header_length};
  if (is_v4) {
    out.l3_length = wire::ipv4_header_bytes;
    wire::emit_ipv4(
        {.protocol = options.protocol,
         .ecn = options.ecn,
         .total_length = static_cast<uint16_t>(options.l4_bytes + wire::ipv4_header_bytes),
         .source = source.v4_bits(),
         .destination = remote.v4_bits(),
         .with_checksum = false},
        room);
  } else {
    out.l3_length = wire::ipv6_header_bytes;
    out.is_ipv6 = true;
    wire::emit_ipv6({.next_header = options.protocol,
                     .ecn = options.ecn,
                     .payload_length = static_cast<uint16_t>(options.l4_bytes),
                     .source = source.data(),
                     .destination = remote.data()},
                    room);
  }
  out.header_length = static_cast<uint16_t>(out.header_length + out.l3_length);
}

}  // namespace sluice::inet
