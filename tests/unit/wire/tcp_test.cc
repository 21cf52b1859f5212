#include "wire/tcp.h"

#include <gtest/gtest.h>

#include <array>

#include "bytes.h"

namespace sluice::wire {
namespace {

using Buffer = std::array<std::byte, 64>;

struct RoundTrip {
  size_t length = 0;
  TcpSegmentView view;
  TcpOptions options;
  Buffer buffer;

  explicit RoundTrip(const TcpOptions& options_in, const TcpHeader& header = {}) {
    length = emit_tcp(header, options_in, buffer);
    EXPECT_EQ(length, tcp_header_length(options_in));
    EXPECT_TRUE(parse_tcp(Bytes(buffer).first(length), view));
    EXPECT_TRUE(parse_tcp_options(view.options, options));
  }
};

TEST(Tcp, ReadsBackAHeader) {
  const RoundTrip trip({}, {.source_port = 80,
                            .destination_port = 50'000,
                            .sequence = 0xffff'fff0,
                            .acknowledgment = 1,
                            .flags = tcp_flag::ack | tcp_flag::cwr,
                            .window = 0xfffe});
  EXPECT_EQ(trip.length, 20u);
  EXPECT_EQ(trip.view.header.source_port, 80);
  EXPECT_EQ(trip.view.header.destination_port, 50'000);
  EXPECT_EQ(trip.view.header.sequence, 0xffff'fff0);
  EXPECT_EQ(trip.view.header.acknowledgment, 1u);
  EXPECT_TRUE(trip.view.header.has(tcp_flag::cwr));
  EXPECT_FALSE(trip.view.header.has(tcp_flag::syn));
  EXPECT_EQ(trip.view.header.window, 0xfffe);
}

TEST(Tcp, ReadsBackTheOptionsOfASyn) {
  const RoundTrip trip({.has_mss = true,
                        .has_window_scale = true,
                        .sack_permitted = true,
                        .has_timestamps = true,
                        .window_scale = 10,
                        .mss = 1460,
                        .timestamp_value = 5,
                        .timestamp_echo = 6});
  EXPECT_EQ(trip.length, 40u);
  EXPECT_EQ(trip.options.mss, 1460);
  EXPECT_EQ(trip.options.window_scale, 10);
  EXPECT_TRUE(trip.options.sack_permitted);
  EXPECT_EQ(trip.options.timestamp_value, 5u);
  EXPECT_EQ(trip.options.timestamp_echo, 6u);
}

TEST(Tcp, FitsThreeSackBlocksBesideTimestampsAndFourWithout) {
  TcpOptions options;
  for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(options.sack.push_back({i * 10, i * 10 + 5}));
  const RoundTrip alone(options);
  EXPECT_EQ(alone.options.sack.size(), 4u);
  EXPECT_EQ(alone.options.sack[3], (SackBlock{30, 35}));
  options.has_timestamps = true;
  const RoundTrip beside(options);
  EXPECT_EQ(beside.length, 60u);
  EXPECT_EQ(beside.options.sack.size(), 3u);
  EXPECT_TRUE(beside.options.has_timestamps);
}

TEST(Tcp, RefusesImpossibleHeaders) {
  TcpSegmentView view;
  std::vector<std::byte> segment(20);
  EXPECT_FALSE(parse_tcp(Bytes(segment).first(19), view));
  for (uint8_t words = 0; words < 16; ++words) {
    store_u8(segment.data() + 12, static_cast<uint8_t>(words << 4));
    EXPECT_EQ(parse_tcp(segment, view), words == 5) << int{words};
  }
}

TEST(TcpOptions, SkipsUnknownOnesAndStopsAtTheEnd) {
  TcpOptions options;
  ASSERT_TRUE(parse_tcp_options(bytes_of("22 04 abcd 02 04 05b4 00 ff ff ff"), options));
  EXPECT_EQ(options.mss, 1460);
}

TEST(TcpOptions, RefusesImpossibleLengths) {
  TcpOptions options;
  for (const std::string_view bad :
       {"02", "02 00 0000", "02 01 0000", "02 03 05 00", "02 05 05b4 00", "08 0b 00",
        "05 09 00000000000000", "03 02", "04 03 00", "fe 00 00 00", "fe"}) {
    EXPECT_FALSE(parse_tcp_options(bytes_of(bad), options)) << bad;
  }
}

TEST(TcpOptions, CapsTheSackBlocksOfAPeer) {
  // 34 bytes are all that fit in a header; a forged area may hold more.
  TcpOptions options;
  std::vector<std::byte> area = bytes_of("05 2a");
  area.resize(42);
  ASSERT_TRUE(parse_tcp_options(area, options));
  EXPECT_EQ(options.sack.size(), 4u);
}

}  // namespace
}  // namespace sluice::wire
