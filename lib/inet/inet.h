// Inet: one engine's end of the link. Ethernet, 802.1Q, ARP, NDP, IPv4, IPv6, ICMPv4 and ICMPv6 in
// and out; TCP segments and what concerns them are handed up.
//
// Read first: RFC 1122 section 3, RFC 8200, RFC 4443, RFC 4861.
//
// Invariants: nothing of a received frame is kept but what an answer needs (in head slots,
// bounded); every frame that is not delivered is counted by cause; frames of our own are
// rate-limited. Runs on its worker.
//
// Several engines share one wire. All of them learn from neighbour frames, which the port hands to
// each; only the one with `answers_neighbors` answers them, announces the addresses and asks for
// routers. Everything else (ICMP included) reaches exactly one engine, and that one answers.
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include "base/bounded_queue.h"
#include "base/fixed_vector.h"
#include "base/siphash.h"
#include "base/time.h"
#include "content/chunk_pins.h"
#include "content/head_slots.h"
#include "inet/address.h"
#include "inet/neighbors.h"
#include "inet/rate_limit.h"
#include "inet/routers.h"
#include "stats/counters.h"
#include "wire/ethernet.h"
#include "wire/frame.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace sluice::inet {

inline constexpr size_t addresses_max = 16;  // configured
inline constexpr size_t locals_max = addresses_max + 1;

struct Config {
  wire::MacAddress mac;
  uint16_t mtu = 1500;   // of the IP packet; at least 1280
  uint16_t vlan_id = 0;  // 0: untagged frames; 1 to 4094: only that tag
  FixedVector<Prefix, addresses_max> addresses;
  Address gateway4;  // unspecified: none
  Address gateway6;  // unspecified: routers are learned from advertisements
  bool ipv6 = true;  // false: IPv6 addresses and frames are ignored
  bool answers_neighbors = true;
  uint32_t neighbors_max = 1024;
  SipKey key;
};

struct Nothing {};

/// A TCP segment for one of our addresses, its checksum verified, cut to its length.
struct TcpSegment {
  Address source;
  Bytes segment;  // header and payload: at least 20 bytes; borrowed from the frame
  uint8_t local = 0;
  bool congestion_experienced = false;
};

/// A router says that a packet of ours was too big. To be validated against the connection
/// (RFC 5927, RFC 8201 section 4).
struct PathMtu {
  Address remote;
  Bytes quoted_tcp;  // at least the first 8 bytes of our TCP header; borrowed
  uint16_t mtu = 0;  // of the IP packet, below our own
  uint8_t local = 0;
};

/// A packet of ours did not arrive. A hint, never proof (RFC 5927).
struct Unreachable {
  enum class Reason : uint8_t {
    network,
    host,
    protocol,
    port,
    prohibited,
    time_exceeded,
    parameter_problem,
  };
  Address remote;
  Bytes quoted_tcp;  // at least the first 8 bytes of our TCP header; borrowed
  uint8_t local = 0;
  Reason reason = Reason::network;
};

using Delivery = std::variant<Nothing, TcpSegment, PathMtu, Unreachable>;

/// What emit() cannot know.
struct EmitOptions {
  uint8_t protocol = wire::protocol_tcp;
  uint8_t ecn = wire::ecn_not_capable;
  uint32_t l4_bytes = 0;  // header and payload, of the whole train
};

class Inet {
 public:
  /// Requires: a station MAC, mtu >= 1280, neighbors_max > 0.
  Inet(const Config& config, content::HeadSlots& slots, content::ChunkPins& pins,
       stats::Counters& counters);

  // Input.
  [[nodiscard]] Delivery handle_frame(Instant now, const wire::RxFrame& frame);
  void handle_timeout(Instant now);
  [[nodiscard]] Instant next_timeout() const;

  // For the layer above.
  /// How does one send to `remote` now? `cached` is the caller's memory of it, kept per connection
  /// (for one remote only): where it is still good, this costs a compare.
  [[nodiscard]] PathState resolve(Instant now, const Address& remote, PathRef& cached) {
    if (neighbors_.is_ready(now, cached)) return PathState::ready;
    return resolve_slowly(now, remote, cached);
  }
  /// The upper layer makes forward progress through this neighbour.
  void confirm(Instant now, const PathRef& path) { neighbors_.confirm(now, path); }
  /// The largest IP packet towards `remote`, path MTU apart.
  [[nodiscard]] uint16_t mtu(const Address& remote) const {
    return remote.is_v4() ? config_.mtu : mtu6_;
  }
  /// Begins a frame: clears `out`, writes Ethernet, tag and IP (IPv4 checksum zero), and sets
  /// l2_length, l3_length, is_ipv6 and header_length. The caller appends its header and payload.
  /// Requires: resolve() said ready for `path` in this turn; `remote` and local address are of one
  /// family.
  void emit(const PathRef& path, const Address& remote, uint8_t local, const EmitOptions& options,
            wire::TxFrame& out) const;
  /// True once after some neighbour became ready, failed, or may be asked for again, or a router
  /// was found: what resolve() did not call ready is worth another try.
  [[nodiscard]] bool take_path_changes() {
    const bool found_router = found_router_;
    found_router_ = false;
    return neighbors_.take_changes() || found_router;
  }

  // Output.
  /// Frames of our own: ARP, NDP, ICMP. Returns false when there is none. The head slots of `out`
  /// must be pinned (or its bytes copied) before the next call of anything here.
  [[nodiscard]] bool poll_frame(Instant now, wire::TxFrame& out);

  // Getters.
  /// Our addresses: those configured, in their order, then the link-local one.
  [[nodiscard]] size_t local_count() const { return locals_.size(); }
  [[nodiscard]] const Address& local_address(uint8_t local) const { return locals_[local].address; }
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] uint32_t neighbor_count() const { return neighbors_.size(); }
  [[nodiscard]] static uint64_t memory_bytes(const Config& config);

 private:
  // A received IP packet on its way in.
  struct Packet {
    Bytes bytes;                          // from the IP header on; cut to its length once known
    const std::byte* ethernet = nullptr;  // the frame's header
    wire::RxChecksum l4_checksum = wire::RxChecksum::unknown;
    bool group_frame = false;   // sent to a broadcast or multicast MAC
    bool group_packet = false;  // sent to a broadcast or multicast IP address
    uint8_t local = 0;          // destination, where it is one of ours
    Address source;
    Bytes upper;                    // from the upper layer's header on
    uint8_t protocol = 0;           // IPv6: the upper layer's
    uint16_t protocol_pointer = 0;  // IPv6: where that was read
    uint8_t hop_limit = 0;
    [[nodiscard]] wire::MacAddress source_mac() const {
      return wire::MacAddress::load(ethernet + wire::mac_bytes);
    }
  };
  using Slots = FixedVector<content::Extent, wire::TxFrame::extents_max>;
  // A frame to be sent in answer to one received: all but Ethernet and IP header is done.
  struct Answer {
    enum class Kind : uint8_t { arp, advertisement, echo, error };
    Kind kind = Kind::arp;
    bool solicited = false;  // advertisement
    uint8_t local = 0;
    wire::MacAddress mac;  // to
    Address remote;        // to
    wire::IcmpEmit icmp;   // echo, error: with checksum
    Slots data;            // echo, error
    uint16_t data_bytes = 0;
  };
  struct Local4 {
    uint32_t address = 0;
    uint32_t broadcast = 0;  // of its prefix; the address itself where there is none
    uint8_t local = 0;
  };
  static constexpr size_t answers_max = 64;
  static constexpr uint8_t no_local = 0xff;

  // Input: inet.cc
  [[nodiscard]] Nothing drop(stats::Counter reason) {
    counters_.add(reason);
    return {};
  }
  [[nodiscard]] PathState resolve_slowly(Instant now, const Address& remote, PathRef& cached);
  [[nodiscard]] bool is_on_link(const Address& address) const;
  [[nodiscard]] uint8_t find_local(const Address& address) const;
  [[nodiscard]] uint8_t find_local4(uint32_t address) const;
  [[nodiscard]] uint8_t source_for(const Address& target) const;
  [[nodiscard]] Delivery deliver_tcp(const Packet& packet, uint64_t pseudo_sum, uint8_t ecn);
  // ipv4_input.cc
  [[nodiscard]] Delivery handle_ipv4(Instant now, Packet& packet, wire::RxChecksum checksum);
  [[nodiscard]] bool is_possible_source4(uint32_t source) const;
  [[nodiscard]] Nothing drop_foreign4(uint32_t destination);
  [[nodiscard]] Delivery handle_icmpv4(Instant now, const Packet& packet);
  [[nodiscard]] Delivery handle_icmpv4_error(const Packet& packet, const wire::IcmpView& icmp);
  void answer_error4(Instant now, const Packet& packet, wire::IcmpEmit icmp);
  // ipv6_input.cc
  [[nodiscard]] Delivery handle_ipv6(Instant now, Packet& packet);
  [[nodiscard]] Nothing handle_extension_fault(Instant now, const Packet& packet,
                                               const wire::ExtensionResult& walk);
  [[nodiscard]] bool is_our_group(const Address& group) const;
  [[nodiscard]] bool is_possible_source6(const Address& source) const;
  [[nodiscard]] Delivery handle_icmpv6(Instant now, const Packet& packet);
  [[nodiscard]] Delivery handle_icmpv6_error(const Packet& packet, const wire::IcmpView& icmp);
  void answer_error6(Instant now, const Packet& packet, wire::IcmpEmit icmp);
  // neighbor_input.cc
  [[nodiscard]] Nothing handle_arp(Instant now, const Packet& packet);
  [[nodiscard]] Nothing handle_ndp(Instant now, const Packet& packet, uint8_t type);
  [[nodiscard]] Nothing handle_solicitation(Instant now, const Packet& packet);
  [[nodiscard]] Nothing handle_advertisement(Instant now, const Packet& packet);
  [[nodiscard]] Nothing handle_router(Instant now, const Packet& packet);
  void answer_neighbor(Instant now, Answer& answer);
  void handle_conflict(Instant now);
  // listening.cc
  [[nodiscard]] Nothing handle_listener_query(Instant now, const Packet& packet);
  void emit_listener_report(uint8_t local, bool joining, wire::TxFrame& out);
  [[nodiscard]] bool poll_listener_report(wire::TxFrame& out);
  // answers.cc
  [[nodiscard]] Nothing answer_echo(Instant now, const Packet& packet, const wire::IcmpView& icmp);
  [[nodiscard]] bool copy_to_slots(Bytes data, Answer& answer, uint16_t& sum);
  void drop_slots(Slots& slots);
  void push_answer(Answer& answer);
  void complete_icmp(Answer& answer, uint16_t data_sum) const;
  void answer_with_quote(Instant now, Answer& answer, Bytes quote);
  void emit_answer(const Answer& answer, wire::TxFrame& out);
  void emit_icmp_frame(const Answer& answer, wire::TxFrame& out);
  void emit_advertisement(const Answer& answer, wire::TxFrame& out);
  [[nodiscard]] bool emit_solicitation(const NeighborTable::Solicitation& question,
                                       wire::TxFrame& out);
  void emit_router_solicitation(wire::TxFrame& out);
  [[nodiscard]] bool poll_announcement(Instant now, wire::TxFrame& out);
  struct LinkHeader {
    wire::MacAddress destination;
    uint16_t ether_type = 0;
  };
  void begin_frame(const LinkHeader& link, wire::TxFrame& out) const;
  struct ArpOut {
    uint16_t operation = 0;
    wire::MacAddress link_destination;
    wire::MacAddress target_mac;
    uint32_t target_ip = 0;
    uint8_t local = 0;
  };
  void emit_arp_frame(const ArpOut& arp, wire::TxFrame& out);
  struct NdpOut {
    wire::MacAddress mac;
    Address destination;
    uint8_t local = 0;
  };
  void emit_ndp_frame(const NdpOut& ndp, MutableBytes message, wire::TxFrame& out);

  Config config_;
  stats::Counters& counters_;
  content::HeadSlots& slots_;
  content::ChunkPins& pins_;
  // The Ethernet header of every frame we send, destination and type apart.
  std::array<std::byte, wire::ethernet_header_bytes + wire::vlan_tag_bytes> link_header_{};
  uint8_t link_header_length_ = 0;
  uint16_t mtu6_ = 0;
  uint64_t mac_word_ = 0;  // our MAC as the first 6 bytes of a frame, loaded as a word
  FixedVector<Local4, addresses_max> locals4_;
  FixedVector<Prefix, locals_max> locals_;
  uint8_t link_local_ = no_local;
  NeighborTable neighbors_;
  RouterList routers_;
  bool found_router_ = false;
  BoundedQueue<Answer> answers_;
  Slots spent_;  // head slots of the frame given out last: unpinned at the next poll_frame()
  RateLimit echo_rate_;
  RateLimit error_rate_;
  RateLimit neighbor_rate_;
  // Announcements and router solicitations (RFC 5227 section 2.3, RFC 4861 section 6.3.7).
  uint8_t announcements_left_ = 0;
  uint8_t announce_next_ = 0;     // local to be announced next in this round
  bool announce_joined_ = false;  // its group was reported, the address itself comes next
  Instant announce_at_;
  // A round of multicast listener reports in answer to a query.
  bool is_reporting_ = false;
  bool report_version1_ = false;
  uint8_t report_next_ = 0;
  uint8_t router_questions_left_ = 0;
  Instant router_question_at_;
  Instant defend_from_;  // when a conflict is next worth an announcement (RFC 5227 section 2.4)
};

}  // namespace sluice::inet
