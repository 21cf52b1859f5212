#include "wire/segmentation.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace sluice::wire {
namespace {

constexpr uint32_t server = 0xc0000201;
constexpr uint32_t client = 0xc0000202;

struct Shape {
  bool ipv6 = false;
  bool tagged = false;
  uint32_t payload_bytes = 0;
  uint16_t segment_size = 1448;
  uint8_t flags = tcp_flag::ack | tcp_flag::psh | tcp_flag::fin | tcp_flag::cwr;
};

const std::array<std::byte, 16> server6{std::byte{0x20}, std::byte{1}};
const std::array<std::byte, 16> client6{std::byte{0x20}, std::byte{2}};

TxFrame frame_of(const Shape& shape) {
  TxFrame frame;
  MutableBytes room(frame.header);
  frame.l2_length = static_cast<uint8_t>(
      emit_ethernet({.ether_type = shape.ipv6 ? ether_type_ipv6 : ether_type_ipv4,
                     .vlan_id = 7,
                     .tagged = shape.tagged},
                    room));
  room = room.subspan(frame.l2_length);
  TcpOptions options;
  options.has_timestamps = true;
  const auto l4_bytes = static_cast<uint16_t>(32 + shape.payload_bytes);
  if (shape.ipv6) {
    frame.l3_length = static_cast<uint8_t>(emit_ipv6({.next_header = protocol_tcp,
                                                      .payload_length = l4_bytes,
                                                      .source = server6.data(),
                                                      .destination = client6.data()},
                                                     room));
  } else {
    frame.l3_length =
        static_cast<uint8_t>(emit_ipv4({.protocol = protocol_tcp,
                                        .total_length = static_cast<uint16_t>(20 + l4_bytes),
                                        .source = server,
                                        .destination = client,
                                        .with_checksum = false},
                                       room));
  }
  room = room.subspan(frame.l3_length);
  frame.l4_length = static_cast<uint8_t>(
      emit_tcp({.sequence = 0xffff'ff00, .flags = shape.flags}, options, room));
  frame.header_length = static_cast<uint16_t>(frame.l2_length + frame.l3_length + frame.l4_length);
  frame.is_ipv6 = shape.ipv6;
  frame.segment_size = shape.segment_size;
  frame.payload_length = shape.payload_bytes;
  return frame;
}

// What a receiver checks, by other means than the sender's.
void expect_valid(Bytes frame, const Shape& shape) {
  const size_t l2_length = shape.tagged ? 18 : 14;
  const Bytes packet = frame.subspan(l2_length);
  Bytes segment;
  Checksum checksum;
  if (shape.ipv6) {
    Ipv6Header header;
    ASSERT_EQ(parse_ipv6(packet, header), Ipv6Parse::ok);
    ASSERT_EQ(header.payload_length, packet.size() - 40);
    segment = packet.subspan(40);
    checksum.add({header.source, 32});
  } else {
    Ipv4Header header;
    ASSERT_EQ(parse_ipv4(packet, header), Ipv4Parse::ok);
    ASSERT_TRUE(ipv4_checksum_is_valid(packet, header));
    ASSERT_EQ(header.total_length, packet.size());
    segment = packet.subspan(20);
    checksum.add(packet.subspan(12, 8));
  }
  checksum.add_u16(protocol_tcp);
  checksum.add_u16(static_cast<uint16_t>(segment.size()));
  checksum.add(segment);
  EXPECT_TRUE(checksum.is_valid());
}

std::vector<std::byte> random_payload(size_t bytes) {
  Prng prng(bytes + 1);
  std::vector<std::byte> payload(bytes);
  for (std::byte& byte : payload) byte = static_cast<std::byte>(prng.next());
  return payload;
}

void expect_train_is_right(const Shape& shape) {
  const TxFrame frame = frame_of(shape);
  const std::vector<std::byte> payload = random_payload(shape.payload_bytes);
  const Train train(frame);
  uint32_t sent = 0;
  for (uint32_t i = 0; i < train.frame_count(); ++i) {
    const PayloadRange range = train.payload(i);
    ASSERT_EQ(range.offset_bytes, sent);
    const Bytes part = Bytes(payload).subspan(range.offset_bytes, range.length_bytes);
    std::vector<std::byte> bytes(frame.header_length);
    ASSERT_EQ(train.emit(i, sum_bytes(part), bytes), frame.header_length);
    bytes.insert(bytes.end(), part.begin(), part.end());
    expect_valid(bytes, shape);
    TcpSegmentView tcp;
    ASSERT_TRUE(parse_tcp(Bytes(bytes).subspan(size_t{frame.l2_length} + frame.l3_length), tcp));
    EXPECT_EQ(tcp.header.sequence, 0xffff'ff00 + sent);  // wraps
    const bool last = i + 1 == train.frame_count();
    EXPECT_EQ(tcp.header.has(tcp_flag::fin), last);
    EXPECT_EQ(tcp.header.has(tcp_flag::psh), last);
    EXPECT_EQ(tcp.header.has(tcp_flag::cwr), i == 0);
    EXPECT_TRUE(tcp.header.has(tcp_flag::ack));
    sent += range.length_bytes;
  }
  EXPECT_EQ(sent, shape.payload_bytes);
}

TEST(Segmentation, MakesValidFramesOfEveryShape) {
  for (const bool ipv6 : {false, true}) {
    for (const bool tagged : {false, true}) {
      for (const uint32_t payload : {0u, 1u, 1447u, 1448u, 1449u, 2896u, 65'000u}) {
        SCOPED_TRACE(testing::Message() << ipv6 << tagged << payload);
        expect_train_is_right({.ipv6 = ipv6, .tagged = tagged, .payload_bytes = payload});
        expect_train_is_right(
            {.ipv6 = ipv6, .tagged = tagged, .payload_bytes = payload, .segment_size = 535});
      }
    }
  }
}

TEST(Segmentation, CopiesFramesThatAreNotTcpAsTheyAre) {
  TxFrame frame;
  for (size_t i = 0; i < 42; ++i) frame.header[i] = static_cast<std::byte>(i);
  frame.header_length = 42;
  frame.l2_length = 14;
  const Train train(frame);
  ASSERT_EQ(train.frame_count(), 1u);
  std::array<std::byte, 64> out{};
  ASSERT_EQ(train.emit(0, 0x1234, out), 42u);
  EXPECT_TRUE(std::equal(out.begin(), out.begin() + 42, frame.header.begin()));
  ASSERT_EQ(train.emit_offloaded(0, {}, out), 42u);
  EXPECT_TRUE(std::equal(out.begin(), out.begin() + 42, frame.header.begin()));
}

TEST(Segmentation, LeavesThePseudoHeaderSumToTheNic) {
  const Shape shape{.payload_bytes = 100};
  const TxFrame frame = frame_of(shape);
  const std::vector<std::byte> payload = random_payload(100);
  const Train train(frame);
  std::array<std::byte, 128> out{};
  train.emit_offloaded(0, {.ip_checksum = false}, out);
  // The NIC sums from the TCP header on, the field as it stands, and stores the complement.
  Checksum nic;
  nic.add(Bytes(out).subspan(34, 32));
  nic.add(payload);
  store_be16(out.data() + 34 + tcp_checksum_offset, nic.value());
  std::vector<std::byte> bytes(out.begin(), out.begin() + frame.header_length);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  expect_valid(bytes, shape);
}

TEST(Segmentation, LeavesLengthAndChecksumsOfAWholeTrainToTheNic) {
  const TxFrame frame = frame_of({.payload_bytes = 10'000});
  const Train train(frame);
  std::array<std::byte, 128> out{};
  train.emit_whole(out);
  EXPECT_EQ(load_be16(out.data() + 14 + ipv4_checksum_offset), 0);
  const uint16_t expected = fold_sum(ipv4_pseudo_sum({server, client, protocol_tcp, /*length=*/0}));
  EXPECT_EQ(load_be16(out.data() + 34 + tcp_checksum_offset), expected);
}

}  // namespace
}  // namespace sluice::wire
