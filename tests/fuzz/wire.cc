// Fuzz target: every parser of wire, and inet::Inet. The input is a list of operations; whatever
// they are, no ASSERT fails, no read leaves the frame, what is delivered lies in the frame and is
// steered to the worker that would get its flow, and no head slot is lost.
//
// An operation is one byte (modulo 6), and what it needs:
//   0  a frame as it is                     length (2 bytes), bytes
//   1  a frame to our MAC, checksums right   length (2 bytes), bytes
//   2  time passes                           250 ms x one byte
//   3  a neighbour is resolved, and used     one byte: family and host
//   4  frames of our own are taken
//   5  the upper layer confirms the last path
//
// Seeds: tests/fuzz/make_wire_corpus.py writes corpus/wire.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "inet/inet.h"
#include "input.h"
#include "wire/address_text.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/dump.h"
#include "wire/flow_key.h"
#include "wire/icmp.h"
#include "wire/ndp.h"
#include "wire/segmentation.h"
#include "wire/tcp.h"

namespace {

using namespace sluice;

using fuzz::Input;

// A copy of just that size, so that a read beyond it is seen.
std::vector<std::byte> frame_of(Input& input) {
  const size_t low = input.byte();
  const Bytes part = input.take(std::min(low | size_t{input.byte()} << 8, size_t{9216}));
  std::vector<std::byte> copy(part.begin(), part.end());
  copy.shrink_to_fit();
  return copy;
}

constexpr uint32_t slots = 6;
constexpr wire::MacAddress our_mac{{2, 0, 0, 0, 0, 1}};

inet::Config config_of(uint8_t options) {
  inet::Config config;
  config.mac = our_mac;
  for (const std::string_view text : {"192.0.2.1/24", "198.51.100.1/28", "2001:db8::1/64"}) {
    inet::Prefix prefix;
    ASSERT(inet::parse_prefix(text, prefix) && config.addresses.push_back(prefix));
  }
  ASSERT(inet::parse_address("192.0.2.254", config.gateway4));
  config.neighbors_max = 4;
  config.vlan_id = (options & 1) != 0 ? 7 : 0;
  config.ipv6 = (options & 2) == 0;
  config.answers_neighbors = (options & 4) == 0;
  config.mtu = (options & 8) != 0 ? 9000 : 1500;
  return config;
}

// Makes the checksum right at `offset` of `bytes`, given the pseudo-header's sum.
void mend(MutableBytes bytes, size_t offset, uint64_t pseudo_sum) {
  if (bytes.size() < offset + 2) return;
  store_be16(bytes.data() + offset, 0);
  const uint64_t sum = pseudo_sum + wire::sum_bytes(bytes);
  store_be16(bytes.data() + offset, static_cast<uint16_t>(~wire::fold_sum(sum)));
}

size_t checksum_offset_of(uint8_t protocol) {
  return protocol == wire::protocol_tcp ? wire::tcp_checksum_offset : 2;
}

void mend_ipv4(MutableBytes packet) {
  wire::Ipv4Header header;
  if (wire::parse_ipv4(packet, header) != wire::Ipv4Parse::ok) return;
  mend(packet.first(header.header_length), wire::ipv4_checksum_offset, 0);
  const MutableBytes upper = packet.first(header.total_length).subspan(header.header_length);
  const auto length = static_cast<uint16_t>(upper.size());
  const uint64_t pseudo =
      wire::ipv4_pseudo_sum({header.source, header.destination, header.protocol, length});
  mend(upper, checksum_offset_of(header.protocol),
       header.protocol == wire::protocol_icmp ? 0 : pseudo);
}

void mend_ipv6(MutableBytes packet) {
  wire::Ipv6Header header;
  if (wire::parse_ipv6(packet, header) != wire::Ipv6Parse::ok) return;
  packet = packet.first(wire::ipv6_header_bytes + header.payload_length);
  const wire::ExtensionResult walk = wire::walk_extensions(packet);
  if (walk.outcome != wire::ExtensionWalk::upper_layer) return;
  const MutableBytes upper = packet.subspan(walk.offset_bytes);
  const auto length = static_cast<uint32_t>(upper.size());
  mend(upper, checksum_offset_of(walk.protocol),
       wire::ipv6_pseudo_sum({header.source, header.destination, walk.protocol, length}));
}

void make_acceptable(MutableBytes frame) {
  wire::EthernetHeader ethernet;
  if (!wire::parse_ethernet(frame, ethernet)) return;
  if (!ethernet.destination.is_group()) our_mac.store(frame.data());
  const MutableBytes packet = frame.subspan(ethernet.length());
  if (ethernet.ether_type == wire::ether_type_ipv4) mend_ipv4(packet);
  if (ethernet.ether_type == wire::ether_type_ipv6) mend_ipv6(packet);
}

void parse_everything(Bytes bytes) {
  wire::TcpSegmentView tcp;
  wire::TcpOptions options;
  if (wire::parse_tcp(bytes, tcp) && wire::parse_tcp_options(tcp.options, options)) {
    std::array<std::byte, wire::tcp_header_max_bytes> out;
    const size_t length = wire::emit_tcp(tcp.header, options, out);
    wire::TcpSegmentView again;
    wire::TcpOptions options_again;
    ASSERT(wire::parse_tcp(Bytes(out).first(length), again));
    ASSERT(wire::parse_tcp_options(again.options, options_again));
    ASSERT(options_again.has_mss == options.has_mss && options_again.mss == options.mss);
    ASSERT(options_again.timestamp_echo == options.timestamp_echo);
    ASSERT(options_again.window_scale == options.window_scale);
  }
  static_cast<void>(wire::parse_tcp_options(bytes, options));
  wire::NeighborSolicitation solicitation;
  static_cast<void>(wire::parse_neighbor_solicitation(bytes, solicitation));
  wire::NeighborAdvertisement advertisement;
  static_cast<void>(wire::parse_neighbor_advertisement(bytes, advertisement));
  wire::RouterAdvertisement router;
  static_cast<void>(wire::parse_router_advertisement(bytes, router));
  inet::Prefix prefix;
  if (inet::parse_prefix(as_text(bytes), prefix)) {
    inet::Prefix again;
    ASSERT(inet::parse_prefix(inet::format(prefix), again) && again == prefix);
  }
}

class World {
 public:
  explicit World(uint8_t options)
      : memory_(slots * content::head_slot_bytes),
        view_{nullptr, 0, 0, memory_.data(), slots},
        pins_(0, slots),
        slots_(view_, pins_),
        inet_(config_of(options), slots_, pins_, counters_) {}

  void receive(const std::vector<std::byte>& frame) {
    parse_everything(frame);
    std::array<char, wire::dump_line_bytes> line;
    static_cast<void>(wire::dump_frame(frame, line));
    const wire::FlowKey key = wire::flow_key(frame, 1);
    const inet::Delivery delivery = inet_.handle_frame(now_, {.bytes = frame});
    if (const auto* segment = std::get_if<inet::TcpSegment>(&delivery)) {
      ASSERT(key.kind == wire::FlowKind::tcp);
      check_within(segment->segment, frame, wire::tcp_header_bytes);
      check_local(segment->local, segment->source);
    } else if (const auto* path_mtu = std::get_if<inet::PathMtu>(&delivery)) {
      ASSERT(key.kind == wire::FlowKind::icmp_error);
      check_within(path_mtu->quoted_tcp, frame, 8);
      check_local(path_mtu->local, path_mtu->remote);
    } else if (const auto* unreachable = std::get_if<inet::Unreachable>(&delivery)) {
      ASSERT(key.kind == wire::FlowKind::icmp_error);
      check_within(unreachable->quoted_tcp, frame, 8);
      check_local(unreachable->local, unreachable->remote);
    }
  }
  void pass(Duration by) {
    now_ = now_ + by;
    inet_.handle_timeout(now_);
    static_cast<void>(inet_.take_path_changes());
  }
  void resolve(uint8_t choice) {
    const bool is_v4 = (choice & 1) != 0;
    const inet::Address remote =
        is_v4 ? inet::Address::v4((choice & 2) != 0 ? 0xc0000200u + choice : 0xcb007100u + choice)
              : inet::Address::words((choice & 2) != 0 ? 0x20010db8'00000000 : 0xfe800000'00000000,
                                     choice);
    path_ = {};
    const inet::PathState state = inet_.resolve(now_, remote, path_);
    if (state != inet::PathState::ready) return;
    ASSERT(inet_.resolve(now_, remote, path_) == inet::PathState::ready);
    wire::TxFrame out;
    inet_.emit(path_, remote, is_v4 ? 0 : 2, {.l4_bytes = 20}, out);
    ASSERT(out.header_length == out.l2_length + out.l3_length);
  }
  void confirm() { inet_.confirm(now_, path_); }
  // Bounded: what one operation causes is bounded.
  void poll_all() {
    wire::TxFrame out;
    for (int i = 0; i < 1000 && inet_.poll_frame(now_, out); ++i) {
      uint32_t payload = 0;
      for (const content::Extent& extent : out.payload) payload += extent.length_bytes;
      ASSERT(payload == out.payload_length && out.header_length <= out.header.size());
      // What it sends, it would accept from a peer as an Ethernet frame.
      wire::EthernetHeader ethernet;
      ASSERT(wire::parse_ethernet(out.header_bytes(), ethernet) && ethernet.source == our_mac);
      give_back();
    }
    give_back();
  }
  void finish() {
    poll_all();
    ASSERT(slots_.in_use() == 0 && pins_.total() == 0);
    ASSERT(inet_.neighbor_count() <= 4);
  }

 private:
  void give_back() {
    content::ChunkIndex released;
    while (pins_.poll_released(released)) slots_.give_back(released);
  }
  static void check_within(Bytes part, const std::vector<std::byte>& frame, size_t at_least) {
    ASSERT(part.size() >= at_least && part.data() >= frame.data());
    ASSERT(part.data() + part.size() <= frame.data() + frame.size());
  }
  void check_local(uint8_t local, const inet::Address& remote) const {
    ASSERT(local < inet_.local_count());
    ASSERT(inet_.local_address(local).is_v4() == remote.is_v4());
  }

  std::vector<std::byte> memory_;
  content::ArenaView view_;
  content::ChunkPins pins_;
  content::HeadSlots slots_;
  stats::Counters counters_;
  inet::Inet inet_;
  inet::PathRef path_;
  Instant now_ = Instant::from_ns(1);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  World world(input.byte());
  while (!input.empty()) {
    switch (input.byte() % 6) {
      case 0:
        world.receive(frame_of(input));
        break;
      case 1: {
        std::vector<std::byte> frame = frame_of(input);
        make_acceptable(frame);
        world.receive(frame);
        break;
      }
      case 2:
        world.pass(Duration::from_ms(250) * input.byte());
        break;
      case 3:
        world.resolve(input.byte());
        break;
      case 4:
        world.poll_all();
        break;
      default:
        world.confirm();
        break;
    }
  }
  world.finish();
  return 0;
}
