// A link with one Inet at its end, and the frames that others send to it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "inet/inet.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/dump.h"
#include "wire/ndp.h"
#include "wire/segmentation.h"
#include "wire/tcp.h"

namespace sluice::inet {

using Frame = std::vector<std::byte>;
using stats::Counter;
using wire::MacAddress;

inline constexpr MacAddress our_mac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddress peer_mac{{2, 0, 0, 0, 0, 2}};
inline constexpr MacAddress router_mac{{2, 0, 0, 0, 0, 3}};

inline Address address(std::string_view text) {
  Address parsed;
  EXPECT_TRUE(parse_address(text, parsed)) << text;
  return parsed;
}
inline Prefix prefix(std::string_view text) {
  Prefix parsed;
  EXPECT_TRUE(parse_prefix(text, parsed)) << text;
  return parsed;
}

inline Config default_config() {
  Config config;
  config.mac = our_mac;
  for (const std::string_view text : {"192.0.2.1/24", "198.51.100.1/28", "2001:db8::1/64"}) {
    EXPECT_TRUE(config.addresses.push_back(prefix(text)));
  }
  config.gateway4 = address("192.0.2.254");
  config.neighbors_max = 16;
  config.key = {1, 2};
  return config;
}

inline Frame operator+(Frame a, const Frame& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Ethernet {
  MacAddress to = our_mac;
  MacAddress from = peer_mac;
  uint16_t vlan_id = 0;
  bool tagged = false;
};
inline Frame ethernet(const Ethernet& link, uint16_t type, const Frame& packet) {
  Frame header(18);
  header.resize(wire::emit_ethernet({.destination = link.to,
                                     .source = link.from,
                                     .ether_type = type,
                                     .vlan_id = link.vlan_id,
                                     .tagged = link.tagged},
                                    header));
  return header + packet;
}

struct Ip {
  std::string from = "192.0.2.2";
  std::string to = "192.0.2.1";
  uint8_t protocol = wire::protocol_tcp;
  uint8_t hop_limit = 64;
  uint8_t ecn = 0;
  Ethernet link;
};
/// An IPv4 or IPv6 frame, as the addresses say.
inline Frame ip(const Ip& ip, const Frame& payload) {
  const Address from = address(ip.from);
  const Address to = address(ip.to);
  if (from.is_v4()) {
    Frame header(20);
    wire::emit_ipv4({.protocol = ip.protocol,
                     .ecn = ip.ecn,
                     .ttl = ip.hop_limit,
                     .total_length = static_cast<uint16_t>(20 + payload.size()),
                     .source = from.v4_bits(),
                     .destination = to.v4_bits()},
                    header);
    return ethernet(ip.link, wire::ether_type_ipv4, header + payload);
  }
  Frame header(40);
  wire::emit_ipv6({.next_header = ip.protocol,
                   .ecn = ip.ecn,
                   .hop_limit = ip.hop_limit,
                   .payload_length = static_cast<uint16_t>(payload.size()),
                   .source = from.data(),
                   .destination = to.data()},
                  header);
  return ethernet(ip.link, wire::ether_type_ipv6, header + payload);
}

/// The sum of pseudo-header and payload, checksum field included.
inline uint16_t sum_with_pseudo_header(const Ip& ip, const Frame& payload) {
  const Address from = address(ip.from);
  const Address to = address(ip.to);
  wire::Checksum checksum;
  checksum.add(from.is_v4() ? from.bytes().last(4) : from.bytes());
  checksum.add(to.is_v4() ? to.bytes().last(4) : to.bytes());
  checksum.add_u16(ip.protocol);
  checksum.add_u32(static_cast<uint32_t>(payload.size()));
  checksum.add(payload);
  return checksum.sum();
}

inline Frame tcp_segment(const Ip& addresses, size_t payload_bytes = 0) {
  Frame segment(20 + payload_bytes);
  wire::emit_tcp({.source_port = 50'000, .destination_port = 80, .sequence = 1}, {}, segment);
  store_be16(segment.data() + 16,
             static_cast<uint16_t>(~sum_with_pseudo_header(addresses, segment)));
  return segment;
}

/// An ICMP message with a right checksum for these addresses.
inline Frame icmp(const Ip& addresses, const wire::IcmpEmit& emit, const Frame& data = {}) {
  Frame message(8);
  wire::emit_icmp(emit, message);
  message = message + data;
  const uint16_t sum = address(addresses.from).is_v4() ? wire::sum_bytes(message)
                                                       : sum_with_pseudo_header(addresses, message);
  store_be16(message.data() + 2, static_cast<uint16_t>(~sum));
  return message;
}

class Link {
 public:
  explicit Link(const Config& config = default_config(), uint32_t slots = 8)
      : memory_(slots * content::head_slot_bytes),
        view_{nullptr, 0, 0, memory_.data(), slots},
        pins_(0, slots),
        slots_(view_, pins_),
        inet(config, slots_, pins_, counters) {}

  /// Past the frames that every start brings.
  void settle() {
    for (int i = 0; i < 40; ++i) {
      while (!poll().empty()) {
      }
      now = now + 1_s;
      inet.handle_timeout(now);
    }
  }

  Delivery receive(const Frame& frame, wire::RxChecksum l4 = wire::RxChecksum::unknown) {
    received_ = frame;  // an allocation of just that size: reads beyond it are seen by ASan
    received_.shrink_to_fit();
    return inet.handle_frame(now, {.bytes = received_, .l4_checksum = l4});
  }
  /// Expects that `frame` is dropped and that only `reason` counts it.
  void expect_dropped(const Frame& frame, Counter reason, uint64_t times = 1) {
    const uint64_t before = counters.get(reason);
    EXPECT_TRUE(std::holds_alternative<Nothing>(receive(frame)));
    EXPECT_EQ(counters.get(reason) - before, times) << stats::row(reason).name;
  }

  /// The next frame of its own, whole; empty when there is none.
  Frame poll() {
    wire::TxFrame out;
    const bool polled = inet.poll_frame(now, out);
    Frame bytes;
    if (polled) {
      const Bytes header = out.header_bytes();
      bytes.assign(header.begin(), header.end());
      for (const content::Extent& extent : out.payload) {
        const MutableBytes part = view_.bytes(extent);
        bytes.insert(bytes.end(), part.begin(), part.end());
      }
      EXPECT_EQ(bytes.size(), size_t{out.header_length} + out.payload_length);
    }
    content::ChunkIndex released;
    while (pins_.poll_released(released)) slots_.give_back(released);
    return bytes;
  }
  std::string poll_line() { return line(poll()); }
  static std::string line(const Frame& frame) {
    if (frame.empty()) return "";
    std::array<char, wire::dump_line_bytes> text;
    return std::string(wire::dump_frame(frame, text));
  }
  void advance(Duration by) {
    now = now + by;
    inet.handle_timeout(now);
  }

  /// A connection's way to `remote`.
  PathState resolve(std::string_view remote, PathRef& path) {
    return inet.resolve(now, address(remote), path);
  }
  PathState resolve(std::string_view remote) {
    PathRef path;
    return resolve(remote, path);
  }
  void learn(std::string_view ip, const MacAddress& mac) {
    if (address(ip).is_v4()) {
      receive(arp({.operation = wire::arp_reply, .from_ip = ip, .from = mac}));
    } else {
      receive(advertisement(ip, mac));
    }
  }

  struct Arp {
    uint16_t operation = wire::arp_request;
    std::string_view from_ip = "192.0.2.2";
    MacAddress from = peer_mac;
    std::string_view target_ip = "192.0.2.1";
    MacAddress link_to = our_mac;
  };
  static Frame arp(const Arp& arp) {
    Frame packet(28);
    wire::emit_arp({.operation = arp.operation,
                    .sender_mac = arp.from,
                    .sender_ip = address(arp.from_ip).v4_bits(),
                    .target_mac = {},
                    .target_ip = address(arp.target_ip).v4_bits()},
                   packet);
    return ethernet({.to = arp.link_to, .from = arp.from}, wire::ether_type_arp, packet);
  }
  struct AdvertisementFlags {
    bool solicited = true;
    bool override = true;
    bool router = false;
  };
  static Frame advertisement(std::string_view target, const MacAddress& mac,
                             const AdvertisementFlags& flags = {true, true, false}) {
    Frame message(32);
    wire::emit_neighbor_advertisement({.solicited = flags.solicited,
                                       .override = flags.override,
                                       .target = address(target).data(),
                                       .target_mac = mac},
                                      message);
    if (flags.router) message[4] |= std::byte{0x80};
    Ip addresses{.from = std::string(target),
                 .to = "2001:db8::1",
                 .protocol = wire::protocol_icmpv6,
                 .hop_limit = 255,
                 .link = {.from = mac}};
    store_be16(message.data() + 2,
               static_cast<uint16_t>(~sum_with_pseudo_header(addresses, message)));
    return ip(addresses, message);
  }

  uint32_t slots_in_use() const { return slots_.in_use(); }

 private:
  std::vector<std::byte> memory_;
  content::ArenaView view_;
  content::ChunkPins pins_;
  content::HeadSlots slots_;
  Frame received_;

 public:
  stats::Counters counters;
  Inet inet;
  Instant now = Instant() + 100_s;
};

}  // namespace sluice::inet
