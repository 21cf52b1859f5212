// The fake mover keeps the rules of replica/mover.h, and catches who does not.
#include "fake_mover.h"

#include <gtest/gtest.h>

namespace sluice::sim {
namespace {

using namespace replica;
using content::ChunkIndex;
using content::Extent;

constexpr uint32_t chunk_bytes = 4096;
constexpr uint32_t chunk_count = 8;
constexpr int64_t long_ns = 60'000'000'000;

struct Side {
  std::vector<std::byte> memory = std::vector<std::byte>(chunk_count * chunk_bytes);
  LinkId link;
};

class FakeMoverTest : public testing::Test {
 protected:
  void make(const MoverOptions& options) {
    mover = std::make_unique<FakeMover>(options);
    for (uint32_t i = 0; i < 2; ++i) {
      (void)mover->add_host("node" + std::to_string(i));
      mover->start(i, view(i));
    }
  }
  content::ArenaView view(uint32_t i) {
    return {sides[i].memory.data(), chunk_count, chunk_bytes, nullptr, 0};
  }
  void run(int64_t ns) {
    const int64_t end = now_ns + ns;
    while (mover->next_ns() <= end) mover->advance(now_ns = mover->next_ns());
    mover->advance(now_ns = end);
  }
  template <typename Event>
  Event expect(uint32_t host) {
    LinkEvent event;
    EXPECT_TRUE(mover->poll(host, event));
    EXPECT_TRUE(std::holds_alternative<Event>(event)) << event.index();
    return std::holds_alternative<Event>(event) ? std::get<Event>(event) : Event{};
  }
  void expect_nothing(uint32_t host) {
    LinkEvent event;
    EXPECT_FALSE(mover->poll(host, event));
  }
  void connect(Transport transport = Transport::rdma) {
    mover->post(0, Dial{1, transport, "node1"});
    run(1'000'000);
    const auto up = expect<LinkUp>(0);
    EXPECT_TRUE(up.dialled);
    EXPECT_EQ(up.dial, 1u);
    sides[0].link = up.link;
    sides[1].link = expect<LinkUp>(1).link;
  }
  Window grant(uint32_t number, uint32_t chunk, uint32_t length = chunk_bytes) {
    mover->post(1, Grant{sides[1].link, number, Extent{ChunkIndex(chunk), 0, length}});
    run(1'000'000);
    return expect<Granted>(1).window;
  }
  void write(uint32_t number, const Window& window, uint32_t length = chunk_bytes) {
    mover->post(0, Write{sides[0].link, number, Extent{ChunkIndex(2), 0, length}, window, 77});
  }
  void fill_source(std::byte value) {
    std::fill_n(sides[0].memory.begin() + 2 * chunk_bytes, chunk_bytes, value);
  }
  std::byte target(uint32_t chunk, uint32_t offset) const {
    return sides[1].memory[chunk * chunk_bytes + offset];
  }

  std::array<Side, 2> sides;
  std::unique_ptr<FakeMover> mover;
  int64_t now_ns = 0;
};

TEST_F(FakeMoverTest, WritesLandWhereTheyAreGranted) {
  for (const Transport transport : {Transport::rdma, Transport::tcp}) {
    make({});
    connect(transport);
    fill_source(std::byte{9});
    write(3, grant(5, 4));
    run(1'000'000);
    const auto landed = expect<Landed>(1);
    EXPECT_EQ(landed.immediate, 77u);
    EXPECT_EQ(landed.length_bytes, chunk_bytes);
    EXPECT_EQ(expect<WriteDone>(0).write, 3u);
    EXPECT_EQ(target(4, 0), std::byte{9});
    EXPECT_EQ(target(4, chunk_bytes - 1), std::byte{9});
    EXPECT_EQ(target(3, chunk_bytes - 1), std::byte{0});
    EXPECT_EQ(target(5, 0), std::byte{0});
    EXPECT_EQ(mover->violation(), "");
    sides[1].memory.assign(sides[1].memory.size(), std::byte{0});
  }
}

TEST_F(FakeMoverTest, AWriteAfterRevokedReachesNoMemory) {
  make({});
  connect();
  fill_source(std::byte{9});
  const Window window = grant(5, 4);
  mover->post(1, Revoke{sides[1].link, 5});
  run(1'000'000);
  EXPECT_EQ(expect<Revoked>(1).grant, 5u);
  write(3, window);
  run(long_ns);
  EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::protection_error);
  EXPECT_EQ(expect<LinkDown>(0).reason, LinkEnd::protection_error);
  EXPECT_EQ(target(4, 0), std::byte{0});
}

TEST_F(FakeMoverTest, AWriteBeyondItsGrantReachesNoMemory) {
  make({});
  connect();
  fill_source(std::byte{9});
  Window window = grant(5, 4, 1000);
  window.length_bytes = chunk_bytes;  // a lie
  write(3, window);
  run(long_ns);
  EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::protection_error);
  EXPECT_EQ(target(4, 0), std::byte{0});
}

// RDMA ends the link; TCP reads on and throws away.
TEST_F(FakeMoverTest, AWriteThatIsRevokedInItsMiddleGoesNoFurther) {
  for (const Transport transport : {Transport::rdma, Transport::tcp}) {
    make({});
    mover->set_rate(0, 4'096'000);  // a millisecond
    connect(transport);
    fill_source(std::byte{9});
    sides[1].memory.assign(sides[1].memory.size(), std::byte{0});
    write(3, grant(5, 4));
    run(500'000);
    mover->post(1, Revoke{sides[1].link, 5});
    run(1'000'000);
    expect<Revoked>(1);
    EXPECT_EQ(target(4, 0), std::byte{9});
    EXPECT_EQ(target(4, chunk_bytes - 1), std::byte{0});
    if (transport == Transport::tcp) {
      EXPECT_EQ(expect<WriteDone>(0).write, 3u);
      expect_nothing(1);
    } else {
      EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::protection_error);
    }
  }
}

TEST_F(FakeMoverTest, UntilRevokedThePeerCanStillWrite) {
  make({.fence_ns_max = 5'000'000'000});
  connect();
  fill_source(std::byte{9});
  const Window window = grant(5, 4);
  mover->post(1, Revoke{sides[1].link, 5});
  write(3, window);
  run(10'000);
  EXPECT_EQ(target(4, chunk_bytes - 1), std::byte{9});
  EXPECT_EQ(mover->granted(1).size(), 1u);
  run(long_ns);
  expect<Landed>(1);
  expect<Revoked>(1);
  EXPECT_EQ(mover->granted(1).size(), 0u);
}

TEST_F(FakeMoverTest, TheNicReadsTheSourceWhenItsTurnComes) {
  make({});
  mover->set_rate(0, 1'000'000'000);
  connect();
  fill_source(std::byte{1});
  const Window first = grant(0, 4), second = grant(1, 5);
  write(0, first);
  write(1, second);
  run(2'000);  // the second waits for the first
  fill_source(std::byte{2});
  run(1'000'000);
  EXPECT_EQ(target(4, 0), std::byte{1});
  EXPECT_EQ(target(5, 0), std::byte{2});
}

TEST_F(FakeMoverTest, TimeOfATransferIsItsBytesOverTheRate) {
  make({.latency_ns = 0});
  mover->set_rate(0, 4'096'000'000);  // a chunk a microsecond
  mover->set_rate(1, 4'096'000'000);
  connect();
  std::vector<Window> windows;
  for (uint32_t i = 0; i < 4; ++i) windows.push_back(grant(i, i));
  for (uint32_t i = 0; i < 4; ++i) write(i, windows[i]);
  run(3'500);
  expect<Landed>(1);
  expect<Landed>(1);
  expect<Landed>(1);
  expect_nothing(1);
  run(500);
  expect<Landed>(1);
  expect_nothing(1);
}

TEST_F(FakeMoverTest, ACutIsToldToNobodyAndEndsTheLinkOfWhoWaits) {
  make({});
  connect();
  mover->set_cut(0, 1, true);
  mover->post(0, SendFrame{sides[0].link, {}});
  run(long_ns);
  EXPECT_EQ(expect<LinkDown>(0).reason, LinkEnd::unreachable);
  expect_nothing(1);
  EXPECT_EQ(mover->links_up(1, Transport::rdma), 1u);
  // The other side finds out when it sends.
  mover->set_cut(0, 1, false);
  mover->post(1, SendFrame{sides[1].link, {}});
  run(long_ns);
  EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::unreachable);
}

TEST_F(FakeMoverTest, AShortCutOnlyDelays) {
  make({});
  connect();
  mover->set_cut(0, 1, true);
  for (uint8_t i = 0; i < 3; ++i) {
    mover->post(0, SendFrame{sides[0].link, {std::byte{i}}});
  }
  run(100'000'000);
  expect_nothing(1);
  mover->set_cut(0, 1, false);
  run(100'000'000);
  for (uint8_t i = 0; i < 3; ++i) EXPECT_EQ(expect<FrameArrived>(1).frame[0], std::byte{i});
}

TEST_F(FakeMoverTest, ADeviceComesAndGoes) {
  make({});
  connect(Transport::rdma);
  mover->set_rdma(1, false);
  EXPECT_FALSE(expect<TransportState>(1).usable);
  run(1'000'000);
  EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::device_error);
  mover->post(0, Dial{2, Transport::rdma, "node1"});
  run(long_ns);
  expect<DialFailed>(0);
  mover->set_rdma(1, true);
  EXPECT_TRUE(expect<TransportState>(1).usable);
  mover->post(0, Dial{2, Transport::rdma, "node1"});
  run(1'000'000);
  // Slot 0 is still held by the link that is down at the other end only.
  EXPECT_EQ(expect<LinkUp>(0).link.slot, 1u);
}

TEST_F(FakeMoverTest, ALinkEndsInTheMiddleOfTheNthWrite) {
  make({});
  connect();
  fill_source(std::byte{9});
  mover->end_at_write(0, 1, 2);
  write(0, grant(0, 4));
  run(1'000'000);
  expect<Landed>(1);
  write(1, grant(1, 5));
  run(1'000'000);
  EXPECT_EQ(expect<LinkDown>(1).reason, LinkEnd::unreachable);
  EXPECT_EQ(target(5, 0), std::byte{9});
  EXPECT_EQ(target(5, chunk_bytes - 1), std::byte{0});
}

TEST_F(FakeMoverTest, KilledPeersLinksEndAndItsMemoryIsNotTouched) {
  make({});
  connect();
  fill_source(std::byte{9});
  const Window window = grant(0, 4);
  write(0, window);
  mover->kill(1, false);
  run(long_ns);
  EXPECT_EQ(target(4, 0), std::byte{0});
  EXPECT_EQ(expect<LinkDown>(0).reason, LinkEnd::closed_by_peer);
  expect_nothing(0);
}

TEST_F(FakeMoverTest, CatchesANodeThatBreaksItsPromises) {
  const auto breaks = [this](auto act) {
    make({});
    connect();
    act();
    return !mover->violation().empty();
  };
  EXPECT_TRUE(breaks([this] {
    for (uint32_t i = 0; i < frames_in_flight_max + 1; ++i) {
      mover->post(0, SendFrame{sides[0].link, {}});
    }
  }));
  EXPECT_TRUE(breaks([this] {
    (void)grant(1, 2);
    mover->post(1, Grant{sides[1].link, 1, Extent{ChunkIndex(3), 0, 10}});
  }));
  EXPECT_TRUE(breaks([this] {
    (void)grant(1, 2);
    mover->post(1, Grant{sides[1].link, 2, Extent{ChunkIndex(2), 4000, 10}});
  }));
  EXPECT_TRUE(breaks([this] { mover->post(1, Revoke{sides[1].link, 7}); }));
  EXPECT_TRUE(breaks([this] {
    const Window window = grant(1, 2);
    write(4, window);
    write(4, window);
  }));
  EXPECT_TRUE(breaks([this] { mover->post(0, SendFrame{{Transport::rdma, 3, 1}, {}}); }));
  EXPECT_FALSE(breaks([this] {
    const Window window = grant(1, 2);
    write(4, window);
    run(1'000'000);
    expect<WriteDone>(0);
    write(4, window);
  }));
}

}  // namespace
}  // namespace sluice::sim
