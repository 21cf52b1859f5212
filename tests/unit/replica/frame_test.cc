// Frames as bytes: what is emitted is parsed, and nothing else is.
#include "replica/frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"

namespace sluice::replica {
namespace {

constexpr SipKey key{11, 22};

std::vector<Body> one_of_each() {
  Hello hello;
  hello.node = {0xfedcba9876543210};
  hello.epoch = 3;
  hello.nonce.fill(std::byte{0xaa});
  hello.hold_bytes_max = uint64_t{1} << 40;
  hello.chunk_bytes = 2u << 20;
  hello.dialled = true;
  hello.transport = Transport::tcp;
  hello.name = ShortText<64>(std::string(64, 'n'));
  hello.address = ShortText<100>("[2001:db8::1]:7000");
  Proof proof;
  proof.hmac.fill(std::byte{0x5c});
  Want want{7, {~uint64_t{0}, {5}}, 65'535, 2u << 20, {~uint64_t{0}, 1, 1, 2u << 20}};
  RecordPart part{1, 300, 208, 92, {}};
  std::fill_n(part.bytes.begin(), 92, std::byte{9});
  return {hello,
          proof,
          Ping{5},
          Pong{6},
          Credit{},
          want,
          Refuse{7, RefuseReason::not_held},
          Cancel{7},
          PieceBad{{1, {2}}, 3},
          part,
          Bye{CloseReason::small_writes}};
}

Frame frame_of(const Body& body) {
  Frame frame;
  emit({.number = 0xfffffffffffffffe, .credited = 0xfffffffe}, body, key, frame);
  return frame;
}

FrameError error_of(const Frame& frame) {
  FrameHeader header;
  Body body;
  return parse(frame, key, header, body);
}

/// Changes bytes and makes the tag right again, as one who has the key could.
FrameError error_with(const Body& body, size_t at, uint8_t value) {
  Frame frame = frame_of(body);
  frame[at] = static_cast<std::byte>(value);
  const uint64_t tag = siphash24(key, Bytes(frame).first(248));
  std::memcpy(&frame[248], &tag, 8);
  return error_of(frame);
}

TEST(Frame, ParsesWhatItEmits) {
  const std::vector<Body> bodies = one_of_each();
  ASSERT_EQ(bodies.size(), std::variant_size_v<Body>);
  for (size_t i = 0; i < bodies.size(); ++i) {
    ASSERT_EQ(bodies[i].index(), i);
    const Frame frame = frame_of(bodies[i]);
    FrameHeader header;
    Body body;
    ASSERT_EQ(parse(frame, key, header, body), FrameError::none) << i;
    EXPECT_EQ(body.index(), i);
    EXPECT_EQ(header.number, 0xfffffffffffffffe);
    EXPECT_EQ(header.credited, 0xfffffffe);
    Frame again;
    emit(header, body, key, again);
    EXPECT_EQ(again, frame) << i;
  }
}

TEST(Frame, KeepsEachFieldOfAWant) {
  FrameHeader header;
  Body body;
  ASSERT_EQ(parse(frame_of(one_of_each()[5]), key, header, body), FrameError::none);
  const Want& want = std::get<Want>(body);
  EXPECT_EQ(want.want, 7u);
  EXPECT_EQ(want.generation.number, ~uint64_t{0});
  EXPECT_EQ(want.generation.publisher.value, 5u);
  EXPECT_EQ(want.piece, 65'535u);
  EXPECT_EQ(want.length_bytes, 2u << 20);
  EXPECT_EQ(want.window.address, ~uint64_t{0});
  EXPECT_EQ(want.window.key, 1u);
  EXPECT_EQ(want.window.lane, 1u);
  EXPECT_EQ(want.window.length_bytes, 2u << 20);
}

TEST(Frame, EveryChangedByteIsNoticed) {
  for (const Body& body : one_of_each()) {
    const Frame good = frame_of(body);
    for (size_t at = 0; at < frame_bytes; ++at) {
      Frame bad = good;
      bad[at] ^= std::byte{0x10};
      EXPECT_NE(error_of(bad), FrameError::none) << at;
    }
  }
}

TEST(Frame, AnotherKeyIsAWrongTag) {
  FrameHeader header;
  Body body;
  EXPECT_EQ(parse(frame_of(Ping{}), SipKey{11, 23}, header, body), FrameError::checksum);
  EXPECT_EQ(parse(frame_of(Ping{}), public_frame_key, header, body), FrameError::checksum);
}

TEST(Frame, NamesWhatIsWrongEvenWhereTheTagIsRight) {
  EXPECT_EQ(error_with(Ping{}, 0, 'X'), FrameError::magic);
  EXPECT_EQ(error_with(Ping{}, 4, protocol_version + 1), FrameError::version);
  EXPECT_EQ(error_with(Ping{}, 5, 0), FrameError::kind);
  EXPECT_EQ(error_with(Ping{}, 5, 12), FrameError::kind);
  EXPECT_EQ(error_with(Ping{}, 6, 1), FrameError::reserved);
  EXPECT_EQ(error_with(Ping{}, 23, 1), FrameError::reserved);
  EXPECT_EQ(error_with(Ping{}, 24 + 8, 1), FrameError::body);  // beyond its fields
  EXPECT_EQ(error_with(Credit{}, 247, 1), FrameError::body);
}

TEST(Frame, ValuesThatCannotBeAreRefused) {
  const std::vector<Body> bodies = one_of_each();
  const Body& hello = bodies[0];
  EXPECT_EQ(error_with(hello, 24 + 44, 2), FrameError::body);        // dialled: 0 or 1
  EXPECT_EQ(error_with(hello, 24 + 45, 2), FrameError::body);        // a transport
  EXPECT_EQ(error_with(hello, 24 + 46, 65), FrameError::body);       // length of the name
  EXPECT_EQ(error_with(hello, 24 + 46, 63), FrameError::body);       // bytes beyond it
  EXPECT_EQ(error_with(hello, 24 + 111, 255), FrameError::body);     // length of the address
  EXPECT_EQ(error_with(bodies[6], 24 + 4, 9), FrameError::body);     // a reason
  EXPECT_EQ(error_with(bodies[9], 24 + 12, 209), FrameError::body);  // more than a part holds
  EXPECT_EQ(error_with(bodies[9], 24 + 12, 91), FrameError::body);   // bytes beyond
  EXPECT_EQ(error_with(bodies[10], 24, close_reason_count), FrameError::body);
}

TEST(Frame, AnyBytesAreAFrameOrAnError) {
  Prng random(3);
  for (int i = 0; i < 20'000; ++i) {
    Frame frame = frame_of(one_of_each()[random.below(std::variant_size_v<Body>)]);
    for (uint64_t n = random.below(6); n > 0; --n) {
      frame[4 + random.below(244)] = static_cast<std::byte>(random.next());
    }
    const uint64_t tag = siphash24(key, Bytes(frame).first(248));
    std::memcpy(&frame[248], &tag, 8);
    FrameHeader header;
    Body body;
    if (parse(frame, key, header, body) != FrameError::none) continue;
    Frame again;
    emit(header, body, key, again);
    EXPECT_EQ(again, frame);
  }
}

TEST(Frame, EveryReasonHasAText) {
  for (uint32_t i = 1; i < close_reason_count; ++i) {
    EXPECT_STRNE(text_of(static_cast<CloseReason>(i)), "unknown") << i;
  }
  for (uint32_t i = 1; i < refuse_reason_count; ++i) {
    EXPECT_STRNE(text_of(static_cast<RefuseReason>(i)), "unknown") << i;
  }
}

TEST(Frame, LongTextsAreCut) {
  EXPECT_EQ(ShortText<4>("abcdef").view(), "abcd");
}

}  // namespace
}  // namespace sluice::replica
