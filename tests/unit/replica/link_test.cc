// A Link as a specification: two of them, or one and what a stranger might send.
#include "replica/link.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "base/prng.h"
#include "replication/plain_digests.h"

namespace sluice::replica {
namespace {

struct End {
  NodeConfig config;
  Link link;
  std::deque<Frame> sent;
  bool closed = false;
  std::vector<Body> received;
  Link::Input last = Link::Input::nothing;

  void poll(Instant now) {
    for (Post post; link.poll_post(now, post);) {
      if (const auto* frame = std::get_if<SendFrame>(&post)) {
        sent.push_back(frame->frame);
      } else {
        closed |= std::holds_alternative<Close>(post);
      }
    }
  }
};

class LinkTest : public testing::Test {
 protected:
  End dialler, acceptor;
  Instant now = Instant::from_ns(50'000'000'000);

  void SetUp() override {
    dialler.config.self = {1};
    acceptor.config.self = {2};
    for (End* end : {&dialler, &acceptor}) {
      end->config.epoch = 9;
      end->config.cluster_key.assign(32, std::byte{1});
      end->config.digests = sim::plain_digests();
      end->config.chunk_bytes = 2u << 20;
    }
  }
  Hello hello_of(const End& end) {
    Hello hello;
    hello.node = end.config.self;
    hello.epoch = end.config.epoch;
    hello.chunk_bytes = end.config.chunk_bytes;
    hello.nonce[0] = static_cast<std::byte>(++nonces);
    hello.name = ShortText<64>("name");
    return hello;
  }
  void open() {
    LinkUp up{.link = {Transport::rdma, 0, 1}, .dialled = true, .write_bytes_max = 4u << 20};
    dialler.link.open(now, up, hello_of(dialler));
    up.dialled = false;
    acceptor.link.open(now, up, hello_of(acceptor));
  }
  void take(End& from, End& to) {
    from.poll(now);
    while (!from.sent.empty()) {
      give(to, from.sent.front());
      from.sent.pop_front();
    }
  }
  Link::Input give(End& to, const Frame& frame) {
    Body body;
    to.last = to.link.handle_frame(now, frame, to.config, body);
    if (to.last == Link::Input::greeted) to.link.accept(to.config);
    if (to.last == Link::Input::message) to.received.push_back(body);
    return to.last;
  }
  void talk() {
    for (int i = 0; i < 10; ++i) {
      take(dialler, acceptor);
      take(acceptor, dialler);
    }
  }
  void open_up() {
    open();
    talk();
    ASSERT_TRUE(dialler.link.is_up() && acceptor.link.is_up());
  }
  Frame message(End& from, const Body& body) {
    Post post;
    from.link.send(body, post);
    return std::get<SendFrame>(post).frame;
  }
  uint32_t nonces = 0;
};

TEST_F(LinkTest, ComesUpWhenBothHaveTheKey) {
  open_up();
  EXPECT_EQ(dialler.link.peer().node, NodeId{2});
  EXPECT_EQ(acceptor.link.peer().node, NodeId{1});
  EXPECT_EQ(acceptor.link.peer().name.view(), "name");
  give(acceptor, message(dialler, Cancel{3}));
  ASSERT_EQ(acceptor.received.size(), 1u);
  EXPECT_EQ(std::get<Cancel>(acceptor.received[0]).want, 3u);
}

TEST_F(LinkTest, AcceptorProvesNothingBeforeTheDiallerDid) {
  open();
  take(dialler, acceptor);  // Hello
  acceptor.poll(now);
  EXPECT_EQ(acceptor.sent.size(), 1u);  // Hello alone
}

TEST_F(LinkTest, AnotherKeyIsRefused) {
  dialler.config.cluster_key.assign(32, std::byte{2});
  open();
  talk();
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::bad_proof);
  EXPECT_EQ(dialler.link.bye_of_peer(), CloseReason::bad_proof);
  EXPECT_TRUE(acceptor.closed);
  EXPECT_FALSE(dialler.link.is_up());
}

TEST_F(LinkTest, AProofOfOneLinkIsNoneOnAnother) {
  open();
  take(dialler, acceptor);
  take(acceptor, dialler);
  dialler.poll(now);
  ASSERT_EQ(dialler.sent.size(), 1u);
  const Frame proof = dialler.sent.front();
  acceptor.link.reset();
  acceptor.link.open(now, {.link = {Transport::rdma, 1, 1}, .write_bytes_max = 4u << 20},
                     hello_of(acceptor));
  Frame hello;
  Hello again = hello_of(dialler);
  again.dialled = true;
  again.transport = Transport::rdma;
  emit({}, again, public_frame_key, hello);
  acceptor.poll(now);
  EXPECT_EQ(give(acceptor, hello), Link::Input::greeted);
  EXPECT_EQ(give(acceptor, proof), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::bad_proof);
}

TEST_F(LinkTest, OwnProofSentBackIsRefused) {
  open();
  take(dialler, acceptor);
  take(acceptor, dialler);
  dialler.poll(now);
  EXPECT_EQ(give(dialler, dialler.sent.front()), Link::Input::violation);
  EXPECT_EQ(dialler.link.close_reason(), CloseReason::bad_proof);
}

TEST_F(LinkTest, RefusesWhatDoesNotFit) {
  const auto reason = [&](auto change) {
    Hello hello = hello_of(dialler);
    hello.dialled = true;
    hello.transport = Transport::rdma;
    change(hello);
    acceptor.link.reset();
    acceptor.link.open(now, {.link = {Transport::rdma, 0, 1}, .write_bytes_max = 4u << 20},
                       hello_of(acceptor));
    Frame frame;
    emit({}, hello, public_frame_key, frame);
    give(acceptor, frame);
    return acceptor.link.close_reason();
  };
  EXPECT_EQ(reason([](Hello&) {}), CloseReason::none);
  EXPECT_EQ(reason([](Hello& h) { h.dialled = false; }), CloseReason::bad_role);
  EXPECT_EQ(reason([](Hello& h) { h.transport = Transport::tcp; }), CloseReason::bad_role);
  EXPECT_EQ(reason([](Hello& h) { h.chunk_bytes = 1u << 20; }), CloseReason::bad_chunk_size);
  EXPECT_EQ(reason([](Hello& h) { h.node = {2}; }), CloseReason::own_id);
  EXPECT_EQ(reason([](Hello& h) { h.node = {}; }), CloseReason::own_id);
  acceptor.config.chunk_bytes = dialler.config.chunk_bytes = 8u << 20;
  EXPECT_EQ(reason([](Hello&) {}), CloseReason::small_writes);
}

TEST_F(LinkTest, TakesNothingButTheHandshakeBeforeIt) {
  const std::vector<Body> early = {Want{},   Refuse{},   Cancel{},     Ping{}, Pong{},
                                   Credit{}, PieceBad{}, RecordPart{}, Proof{}};
  for (const Body& body : early) {
    acceptor.link.reset();
    open();
    dialler.link.reset();
    Frame frame;
    emit({}, body, public_frame_key, frame);
    EXPECT_EQ(give(acceptor, frame), Link::Input::violation);
    EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_early);
  }
}

TEST_F(LinkTest, ASecondHelloIsRefused) {
  open();
  dialler.poll(now);
  const Frame hello = dialler.sent.front();
  EXPECT_EQ(give(acceptor, hello), Link::Input::greeted);
  EXPECT_EQ(give(acceptor, hello), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_early);
}

TEST_F(LinkTest, ARepeatedFrameIsRefused) {
  open_up();
  const Frame frame = message(dialler, Cancel{3});
  EXPECT_EQ(give(acceptor, frame), Link::Input::message);
  EXPECT_EQ(give(acceptor, frame), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_number);
}

TEST_F(LinkTest, AMissingFrameIsNoticed) {
  open_up();
  (void)message(dialler, Cancel{3});
  EXPECT_EQ(give(acceptor, message(dialler, Cancel{4})), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_number);
}

TEST_F(LinkTest, OnlyTheSessionKeyTags) {
  open_up();
  Frame frame;
  emit({.number = 1}, Cancel{3}, public_frame_key, frame);
  EXPECT_EQ(give(acceptor, frame), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_checksum);
  // Nor is what it said itself taken back.
  EXPECT_EQ(give(dialler, message(dialler, Cancel{3})), Link::Input::violation);
  EXPECT_EQ(dialler.link.close_reason(), CloseReason::frame_checksum);
}

TEST_F(LinkTest, NeverHasMoreInFlightThanTheReceiverHasRoomFor) {
  open_up();
  uint32_t sent = 0;
  while (dialler.link.can_send()) {
    (void)message(dialler, Cancel{sent});
    ++sent;
  }
  EXPECT_LE(dialler.link.in_flight(), messages_in_flight_max);
  EXPECT_GE(sent, messages_in_flight_max - 4);
}

TEST_F(LinkTest, FramesBeyondTheCreditAreRefused) {
  open_up();
  // A side that believes to be credited what it was not: a copy that is told so by a cheat.
  uint32_t given = 0;
  while (acceptor.link.is_up() && given < 200) {
    Link& cheat = dialler.link;
    if (!cheat.can_send()) {
      // Credit that the acceptor never gave, in a frame with the right tag and number.
      End forger;
      forger.link = acceptor.link;
      Post post;
      forger.link.send(Cancel{}, post);
      give(dialler, std::get<SendFrame>(post).frame);
      ASSERT_TRUE(cheat.can_send());
    }
    give(acceptor, message(dialler, Cancel{given++}));
  }
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_credit);
  EXPECT_GT(given, messages_in_flight_max);
  EXPECT_LE(given, frames_in_flight_max + 1);
}

TEST_F(LinkTest, CreditForWhatWasNotSentIsRefused) {
  open();
  Hello hello = hello_of(dialler);
  hello.dialled = true;
  hello.transport = Transport::rdma;
  Frame frame;
  emit({.credited = 5}, hello, public_frame_key, frame);
  EXPECT_EQ(give(acceptor, frame), Link::Input::violation);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::frame_credit);
}

TEST_F(LinkTest, TwoThatBothHaveMuchToSayNeverWaitForEachOther) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    dialler.link.reset();
    acceptor.link.reset();
    dialler.sent.clear();
    acceptor.sent.clear();
    dialler.received.clear();
    acceptor.received.clear();
    open_up();
    Prng random(seed);
    uint32_t to_send[2] = {1'000, 1'000};
    uint32_t idle = 0;
    while ((to_send[0] > 0 || to_send[1] > 0 || !dialler.sent.empty() || !acceptor.sent.empty()) &&
           idle < 1'000) {
      ++idle;
      const uint64_t side = random.below(2);
      End& self = side == 0 ? dialler : acceptor;
      End& other = side == 0 ? acceptor : dialler;
      if (random.chance(1, 2)) {
        self.poll(now);
        for (uint64_t n = random.below(80); n > 0 && to_send[side] > 0 && self.link.can_send();
             --n) {
          self.sent.push_back(message(self, Cancel{to_send[side]--}));
          idle = 0;
        }
        ASSERT_LE(self.link.in_flight(), frames_in_flight_max);
      } else {
        for (uint64_t n = random.below(80); n > 0 && !self.sent.empty(); --n) {
          ASSERT_NE(give(other, self.sent.front()), Link::Input::violation);
          self.sent.pop_front();
          idle = 0;
        }
      }
    }
    EXPECT_EQ(dialler.received.size(), 1'000u) << seed;
    EXPECT_EQ(acceptor.received.size(), 1'000u) << seed;
  }
}

TEST_F(LinkTest, IdleSidesStopCrediting) {
  open_up();
  for (int i = 0; i < 1'000; ++i) talk();
  dialler.poll(now);
  acceptor.poll(now);
  EXPECT_TRUE(dialler.sent.empty() && acceptor.sent.empty());
}

TEST_F(LinkTest, SilenceClosesIt) {
  open_up();
  now = now + dialler.config.peer_patience - 1_ms;
  dialler.link.handle_timeout(now, dialler.config);
  EXPECT_TRUE(dialler.link.is_up());
  now = now + 1_ms;
  EXPECT_LE(dialler.link.next_timeout(dialler.config), now);
  dialler.link.handle_timeout(now, dialler.config);
  EXPECT_EQ(dialler.link.close_reason(), CloseReason::silent);
  dialler.poll(now);
  EXPECT_TRUE(dialler.closed);
}

TEST_F(LinkTest, PingsKeepItUpAndMeasureIt) {
  open_up();
  for (int i = 0; i < 20; ++i) {
    now = now + 1_s;
    dialler.link.handle_timeout(now, dialler.config);
    acceptor.link.handle_timeout(now, acceptor.config);
    dialler.poll(now);
    now = now + 3_ms;
    take(dialler, acceptor);
    take(acceptor, dialler);
  }
  EXPECT_TRUE(dialler.link.is_up() && acceptor.link.is_up());
  EXPECT_EQ(dialler.link.srtt(), 3_ms);
}

TEST_F(LinkTest, AHandshakeThatStopsIsGivenUp) {
  open();
  take(dialler, acceptor);
  now = now + acceptor.config.peer_patience;
  acceptor.link.handle_timeout(now, acceptor.config);
  EXPECT_EQ(acceptor.link.close_reason(), CloseReason::handshake_late);
}

TEST_F(LinkTest, SaysWhyItCloses) {
  open_up();
  dialler.link.close(CloseReason::shutting_down);
  take(dialler, acceptor);
  EXPECT_EQ(acceptor.last, Link::Input::bye);
  EXPECT_EQ(acceptor.link.bye_of_peer(), CloseReason::shutting_down);
  acceptor.poll(now);
  EXPECT_TRUE(acceptor.closed && dialler.closed);
}

TEST_F(LinkTest, APongFromTheFutureIsNoMeasure) {
  open_up();
  give(dialler, message(acceptor, Pong{~uint64_t{0}}));
  give(dialler, message(acceptor, Pong{static_cast<uint64_t>(now.ns()) + 1}));
  give(dialler, message(acceptor, Pong{0}));
  EXPECT_TRUE(dialler.link.is_up());
  EXPECT_EQ(dialler.link.srtt(), Duration());
}

}  // namespace
}  // namespace sluice::replica
