// A transfer of more than 4 GiB in one response: sequence numbers wrap twice, offsets do not.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "content/catalog.h"
#include "tcp/stack.h"
#include "wire/tcp.h"

namespace sluice::packet {
namespace {

constexpr uint32_t chunk_bytes = 2 * 1024 * 1024;
constexpr uint32_t chunk_count = 8;
constexpr uint64_t object_bytes = (uint64_t{9} << 30) + 12'345;

tcp::Config small_config() {
  tcp::Config config;
  config.max_connections = 4;
  config.max_half_open = 4;
  config.key = {1, 2};
  EXPECT_TRUE(config.ports.push_back(80));
  return config;
}

// One connection over a perfect path, to a peer that acknowledges everything at once. Piece n of
// the object is always found in chunk n % chunk_count.
class LongTransfer : public testing::Test {
 protected:
  void inject(uint8_t flags) {
    header_.flags = flags;
    std::vector<std::byte> segment(wire::tcp_header_length(options_));
    wire::emit_tcp(header_, options_, segment);
    const tcp::Received received =
        stack_.handle_segment(now_, {.source = inet::Address::v4(0xc000'0207), .segment = segment});
    if (!received.connection.is_none()) stack_.consume(received.connection, 0);
  }

  void connect() {
    options_.has_window_scale = true;
    options_.window_scale = 10;
    inject(wire::tcp_flag::syn);
    connection_ = stack_.next_sender(now_);
    ASSERT_FALSE(connection_.is_none());
    ASSERT_EQ(stack_.poll_segment(now_, connection_, out_), tcp::Poll::segment);
    first_ = load_be32(&out_.header[4]) + 1;
    options_.has_window_scale = false;
    ++header_.sequence;
    acknowledge(0);
  }

  void acknowledge(uint64_t offset) {
    header_.acknowledgment = first_ + static_cast<uint32_t>(offset);
    now_ = now_ + Duration::from_us(100);
    inject(wire::tcp_flag::ack);
    if (stack_.next_timeout() <= now_) stack_.handle_timeout(now_);
  }

  void answer_catalog() {
    content::ToStore message;
    while (catalog_.poll_message(message)) {
      const auto* need = std::get_if<content::NeedPiece>(&message);
      if (need == nullptr) continue;
      const uint64_t begin = uint64_t{need->piece} * chunk_bytes;
      const auto length =
          static_cast<uint32_t>(std::min<uint64_t>(chunk_bytes, object_bytes - begin));
      const content::ChunkIndex chunk(need->piece % chunk_count);
      catalog_.handle(now_, content::PieceReady{need->object, need->piece, {chunk, 0, length}});
    }
    content::Catalog::Woken woken;
    while (catalog_.poll_woken(woken)) stack_.unblock(stack_.waiting(woken.waiter));
  }

  // Checks one train at `offset` of the object. Returns its length.
  uint64_t check_train(uint64_t offset) {
    EXPECT_EQ(load_be32(&out_.header[4]), first_ + static_cast<uint32_t>(offset));
    uint64_t length = 0;
    for (const content::Extent& extent : out_.payload) {
      EXPECT_EQ(extent.chunk.value(), (offset + length) / chunk_bytes % chunk_count);
      EXPECT_EQ(extent.offset_bytes, (offset + length) % chunk_bytes);
      length += extent.length_bytes;
    }
    return length;
  }

  stats::Counters counters_;
  content::ChunkPins pins_{chunk_count, 4};
  content::Catalog catalog_{{.objects_max = 2,
                             .pieces_max = 16,
                             .waiters_max = 4,
                             .chunk_count = chunk_count,
                             .chunk_bytes = chunk_bytes,
                             .readahead_pieces = 1,
                             .fresh_for = Duration::from_s(1000)},
                            pins_,
                            counters_};
  tcp::Stack stack_{small_config(), catalog_, pins_, counters_};
  Instant now_ = Instant::from_ns(1'000'000'000'000);
  wire::TcpHeader header_{
      .source_port = 999, .destination_port = 80, .sequence = 77, .window = 65'535};
  wire::TcpOptions options_;
  tcp::SegmentOut out_{};
  tcp::ConnectionIndex connection_;
  uint32_t first_ = 0;  // sequence number of the first byte
};

TEST_F(LongTransfer, NineGigabytesInOrderOverAPerfectPath) {
  const content::ObjectHandle object =
      catalog_.insert(now_, {1, 2}, {.id = {1, 1}, .size_bytes = object_bytes, .etag = 1}, {});
  catalog_.acquire(object);
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_TRUE(stack_.send_object(connection_, object, 0, object_bytes));

  uint64_t offset = 0;
  while (offset < object_bytes) {
    if (stack_.next_sender(now_).is_none()) acknowledge(offset);
    const tcp::ConnectionIndex sender = stack_.next_sender(now_);
    ASSERT_FALSE(sender.is_none()) << "stuck at " << offset;
    const tcp::Poll polled = stack_.poll_segment(now_, sender, out_);
    if (polled == tcp::Poll::blocked) {
      catalog_.wait(out_.missing.object, out_.missing.offset_bytes, out_.missing.waiter);
      answer_catalog();
      continue;
    }
    ASSERT_EQ(polled, tcp::Poll::segment);
    offset += check_train(offset);
    ASSERT_FALSE(HasFailure()) << "at " << offset;
  }
  EXPECT_EQ(offset, object_bytes);
  acknowledge(offset);
  EXPECT_EQ(stack_.bytes_unacknowledged(connection_), 0u);
  EXPECT_EQ(stack_.usage().send_queues, 0u);
  EXPECT_EQ(stack_.info(connection_).bytes_acknowledged, object_bytes);
  EXPECT_EQ(counters_.get(stats::Counter::tcp_retransmitted_segments), 0u);
}

}  // namespace
}  // namespace sluice::packet
