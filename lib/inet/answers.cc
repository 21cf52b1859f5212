// Frames of our own: ARP, NDP and ICMP. Answers are queued when a frame asks for one, with their
// data copied to head slots; questions come from the neighbour table, announcements from time.

#include <algorithm>

#include "inet/inet.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ndp.h"

namespace sluice::inet {
namespace {

using stats::Counter;

constexpr Duration announce_interval = Duration::from_s(2);         // RFC 5227 section 1.1
constexpr Duration router_question_interval = Duration::from_s(4);  // RFC 4861 section 10

MutableBytes room_of(wire::TxFrame& frame) {
  return {frame.header.data() + frame.header_length,
          wire::TxFrame::header_capacity - frame.header_length};
}

void grow(wire::TxFrame& frame, size_t bytes) {
  frame.header_length = static_cast<uint16_t>(frame.header_length + bytes);
}

// The sum of the ICMPv6 pseudo-header (RFC 4443 section 2.3).
struct Ends6 {
  const Address& source;
  const Address& destination;
};
uint64_t pseudo_sum6(const Ends6& ends, size_t message_bytes) {
  return wire::ipv6_pseudo_sum({.source = ends.source.data(),
                                .destination = ends.destination.data(),
                                .protocol = wire::protocol_icmpv6,
                                .length = static_cast<uint32_t>(message_bytes)});
}

}  // namespace

// Answers to what was received
// ------------------------------------------------------------------------------------------------

void Inet::drop_slots(Slots& slots) {
  for (const content::Extent& extent : slots) pins_.unpin(extent.chunk);
  slots.clear();
}

// Returns false, with nothing kept, when head slots run out.
bool Inet::copy_to_slots(Bytes data, Answer& answer, uint16_t& sum) {
  ASSERT(data.size() <= Slots::capacity() * content::head_slot_bytes);
  wire::Checksum checksum;
  answer.data_bytes = static_cast<uint16_t>(data.size());
  while (!data.empty()) {
    const content::ChunkIndex slot = slots_.take();
    if (slot.is_none()) {
      drop_slots(answer.data);
      counters_.add(Counter::inet_drop_answer_slots);
      return false;
    }
    const size_t part = std::min<size_t>(data.size(), content::head_slot_bytes);
    const uint16_t part_sum = wire::copy_and_sum(slots_.bytes(slot).first(part), data.first(part));
    checksum.add_sum(part_sum, part);
    ASSERT(answer.data.push_back({slot, 0, static_cast<uint32_t>(part)}));
    data = data.subspan(part);
  }
  sum = checksum.sum();
  return true;
}

void Inet::push_answer(Answer& answer) {
  if (answers_.push(answer)) return;
  drop_slots(answer.data);
  counters_.add(Counter::inet_drop_answer_queue);
}

// Completes the ICMP checksum over header, data and, for IPv6, the pseudo-header.
void Inet::complete_icmp(Answer& answer, uint16_t data_sum) const {
  wire::IcmpEmit& icmp = answer.icmp;
  wire::Checksum checksum;
  checksum.add_u16(static_cast<uint16_t>(icmp.type << 8 | icmp.code));
  checksum.add_u32(icmp.rest);
  uint64_t sum = uint64_t{checksum.sum()} + data_sum;
  if (!answer.remote.is_v4()) {
    const Ends6 ends{locals_[answer.local].address, answer.remote};
    sum += pseudo_sum6(ends, wire::icmp_header_bytes + size_t{answer.data_bytes});
  }
  icmp.checksum = static_cast<uint16_t>(~wire::fold_sum(sum));
}

Nothing Inet::answer_echo(Instant now, const Packet& packet, const wire::IcmpView& icmp) {
  const bool is_v4 = packet.source.is_v4();
  const size_t headers =
      (is_v4 ? wire::ipv4_header_bytes : wire::ipv6_header_bytes) + wire::icmp_header_bytes;
  if (headers + icmp.data.size() > mtu(packet.source) ||
      icmp.data.size() > Slots::capacity() * content::head_slot_bytes) {
    return drop(Counter::inet_drop_echo_size);
  }
  if (!echo_rate_.take(now)) return drop(Counter::inet_drop_echo_rate);
  Answer answer;
  answer.kind = Answer::Kind::echo;
  answer.local = packet.local;
  answer.mac = packet.source_mac();
  answer.remote = packet.source;
  answer.icmp.type = is_v4 ? wire::icmpv4::echo_reply : wire::icmpv6::echo_reply;
  answer.icmp.rest = icmp.rest;
  uint16_t sum = 0;
  if (!copy_to_slots(icmp.data, answer, sum)) return {};
  complete_icmp(answer, sum);
  push_answer(answer);
  return {};
}

void Inet::answer_with_quote(Instant now, Answer& answer, Bytes quote) {
  if (!answer.mac.is_station()) return;
  if (!error_rate_.take(now)) {
    counters_.add(Counter::inet_drop_error_rate);
    return;
  }
  uint16_t sum = 0;
  if (!copy_to_slots(quote, answer, sum)) return;
  complete_icmp(answer, sum);
  push_answer(answer);
}

// Frames
// ------------------------------------------------------------------------------------------------

void Inet::begin_frame(const LinkHeader& link, wire::TxFrame& out) const {
  out.clear();
  std::memcpy(out.header.data(), link_header_.data(), link_header_.size());
  link.destination.store(out.header.data());
  store_be16(out.header.data() + link_header_length_ - 2, link.ether_type);
  out.header_length = link_header_length_;
  out.l2_length = link_header_length_;
}

void Inet::emit_arp_frame(const ArpOut& arp, wire::TxFrame& out) {
  begin_frame({.destination = arp.link_destination, .ether_type = wire::ether_type_arp}, out);
  grow(out, wire::emit_arp({.operation = arp.operation,
                            .sender_mac = config_.mac,
                            .sender_ip = locals_[arp.local].address.v4_bits(),
                            .target_mac = arp.target_mac,
                            .target_ip = arp.target_ip},
                           room_of(out)));
  counters_.add(Counter::inet_arp_sent);
}

// `message` begins at the ICMPv6 type, its checksum zero.
void Inet::emit_ndp_frame(const NdpOut& ndp, MutableBytes message, wire::TxFrame& out) {
  const Address& source = locals_[ndp.local].address;
  const uint64_t sum =
      pseudo_sum6({source, ndp.destination}, message.size()) + wire::sum_bytes(message);
  store_be16(message.data() + 2, static_cast<uint16_t>(~wire::fold_sum(sum)));
  begin_frame({.destination = ndp.mac, .ether_type = wire::ether_type_ipv6}, out);
  grow(out, wire::emit_ipv6({.next_header = wire::protocol_icmpv6,
                             .hop_limit = wire::ndp_hop_limit,
                             .payload_length = static_cast<uint16_t>(message.size()),
                             .source = source.data(),
                             .destination = ndp.destination.data()},
                            room_of(out)));
  std::memcpy(room_of(out).data(), message.data(), message.size());
  grow(out, message.size());
  out.l3_length = wire::ipv6_header_bytes;
  out.is_ipv6 = true;
  counters_.add(Counter::inet_ndp_sent);
}

void Inet::emit_icmp_frame(const Answer& answer, wire::TxFrame& out) {
  const Address& source = locals_[answer.local].address;
  const bool is_v4 = answer.remote.is_v4();
  const size_t message_bytes = wire::icmp_header_bytes + size_t{answer.data_bytes};
  begin_frame({.destination = answer.mac,
               .ether_type = is_v4 ? wire::ether_type_ipv4 : wire::ether_type_ipv6},
              out);
  if (is_v4) {
    out.l3_length = wire::ipv4_header_bytes;
    grow(out, wire::emit_ipv4(
                  {.protocol = wire::protocol_icmp,
                   .total_length = static_cast<uint16_t>(wire::ipv4_header_bytes + message_bytes),
                   .source = source.v4_bits(),
                   .destination = answer.remote.v4_bits()},
                  room_of(out)));
  } else {
    out.l3_length = wire::ipv6_header_bytes;
    out.is_ipv6 = true;
    grow(out, wire::emit_ipv6({.next_header = wire::protocol_icmpv6,
                               .payload_length = static_cast<uint16_t>(message_bytes),
                               .source = source.data(),
                               .destination = answer.remote.data()},
                              room_of(out)));
  }
  grow(out, wire::emit_icmp(answer.icmp, room_of(out)));
  out.payload = answer.data;
  out.payload_length = answer.data_bytes;
  out.segment_size = answer.data_bytes;
  spent_ = answer.data;
  counters_.add(answer.kind == Answer::Kind::echo ? Counter::inet_echo_answered
                                                  : Counter::inet_errors_sent);
}

void Inet::emit_advertisement(const Answer& answer, wire::TxFrame& out) {
  std::array<std::byte, wire::neighbor_message_max_bytes> message;
  const size_t length =
      wire::emit_neighbor_advertisement({.solicited = answer.solicited,
                                         .override = true,
                                         .target = locals_[answer.local].address.data(),
                                         .target_mac = config_.mac},
                                        message);
  emit_ndp_frame({.mac = answer.mac, .destination = answer.remote, .local = answer.local},
                 MutableBytes(message).first(length), out);
}

void Inet::emit_answer(const Answer& answer, wire::TxFrame& out) {
  switch (answer.kind) {
    case Answer::Kind::arp:
      emit_arp_frame({.operation = wire::arp_reply,
                      .link_destination = answer.mac,
                      .target_mac = answer.mac,
                      .target_ip = answer.remote.v4_bits(),
                      .local = answer.local},
                     out);
      return;
    case Answer::Kind::advertisement:
      emit_advertisement(answer, out);
      return;
    default:
      emit_icmp_frame(answer, out);
      return;
  }
}

// Returns false when we have no address to ask with.
bool Inet::emit_solicitation(const NeighborTable::Solicitation& question, wire::TxFrame& out) {
  const uint8_t local = source_for(question.target);
  if (local == no_local) return false;
  if (question.target.is_v4()) {
    emit_arp_frame(
        {.operation = wire::arp_request,
         .link_destination = question.unicast ? question.mac : wire::MacAddress::broadcast(),
         .target_mac = {},
         .target_ip = question.target.v4_bits(),
         .local = local},
        out);
    return true;
  }
  const Address group = question.target.solicited_node();
  std::array<std::byte, wire::neighbor_message_max_bytes> message;
  const size_t length = wire::emit_neighbor_solicitation(
      {.target = question.target.data(), .source_mac = config_.mac}, message);
  emit_ndp_frame({.mac = question.unicast ? question.mac : multicast_mac_of(group),
                  .destination = question.unicast ? question.target : group,
                  .local = local},
                 MutableBytes(message).first(length), out);
  return true;
}

void Inet::emit_router_solicitation(wire::TxFrame& out) {
  std::array<std::byte, wire::router_solicitation_max_bytes> message;
  const size_t length = wire::emit_router_solicitation(config_.mac, message);
  emit_ndp_frame(
      {.mac = multicast_mac_of(all_routers), .destination = all_routers, .local = link_local_},
      MutableBytes(message).first(length), out);
}

// One of our addresses, as an ARP announcement (RFC 5227 section 2.3) or an unsolicited neighbour
// advertisement (RFC 4861 section 7.2.6).
bool Inet::poll_announcement(Instant now, wire::TxFrame& out) {
  if (announcements_left_ == 0 || now < announce_at_) return false;
  if (announce_next_ == locals_.size()) {
    --announcements_left_;
    announce_next_ = 0;
    announce_at_ = now + announce_interval;
    return false;
  }
  const uint8_t local = announce_next_;
  const Address& address = locals_[local].address;
  if (!address.is_v4() && !announce_joined_) {
    // Switches must know the group before the neighbours hear of the address.
    announce_joined_ = true;
    emit_listener_report(local, true, out);
    return true;
  }
  announce_joined_ = false;
  ++announce_next_;
  if (address.is_v4()) {
    emit_arp_frame({.operation = wire::arp_request,
                    .link_destination = wire::MacAddress::broadcast(),
                    .target_mac = {},
                    .target_ip = address.v4_bits(),
                    .local = local},
                   out);
    return true;
  }
  Answer announcement;
  announcement.kind = Answer::Kind::advertisement;
  announcement.local = local;
  announcement.remote = all_nodes;
  announcement.mac = multicast_mac_of(all_nodes);
  emit_advertisement(announcement, out);
  return true;
}

bool Inet::poll_frame(Instant now, wire::TxFrame& out) {
  drop_slots(spent_);
  Answer answer;
  if (answers_.pop(answer)) {
    emit_answer(answer, out);
    return true;
  }
  NeighborTable::Solicitation question;
  while (neighbors_.poll_solicitation(question)) {  // bounded by the neighbour table
    if (!neighbor_rate_.take(now)) {
      counters_.add(Counter::inet_drop_neighbor_rate);  // asked again in a second
      continue;
    }
    if (emit_solicitation(question, out)) return true;
  }
  if (poll_announcement(now, out) || poll_listener_report(out)) return true;
  if (router_questions_left_ > 0 && now >= router_question_at_) {
    --router_questions_left_;
    router_question_at_ = now + router_question_interval;
    emit_router_solicitation(out);
    return true;
  }
  return false;
}

}  // namespace sluice::inet
