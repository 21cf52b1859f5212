// Which transport a piece takes: RDMA where it is up or due soon, TCP where it is not, and back.
#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class TransportTest : public PlaneWorld {
 protected:
  Manifest publish(uint32_t pieces) {
    bytes = bytes_of(1, size_t{pieces} * host_options.chunk_bytes);
    node(1).disk->files["a"] = bytes;
    Manifest manifest = ingest(1, "a", 1);
    hold(1, manifest, {});
    EXPECT_TRUE(pass_until(5_s, [&] { return is_verified(1, manifest); }));
    return manifest;
  }
  PeerRow row(uint32_t of, uint32_t peer) {
    for (const PeerRow& each : node(of).plane->sessions().peers()) {
      if (each.node == NodeId{peer}) return each;
    }
    return {};
  }
  uint64_t by_rdma() { return node(2).count(Counter::replica_landed_rdma_bytes); }
  uint64_t by_tcp() { return node(2).count(Counter::replica_landed_tcp_bytes); }

  std::vector<std::byte> bytes;
};

TEST_F(TransportTest, PiecesWaitForRdmaThatIsDueSoon) {
  mover_options.rdma_dial_ns = 1'500'000'000;
  start(2);
  link_all();
  ASSERT_FALSE(row(2, 1).rdma_up);
  const Manifest manifest = publish(20);
  hold(2, manifest, {{1}});
  pass(200_ms);
  EXPECT_EQ(by_tcp() + by_rdma(), 0u);
  ASSERT_TRUE(pass_until(config.rdma_patience, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(by_rdma(), bytes.size());
  EXPECT_EQ(by_tcp(), 0u);
  EXPECT_GE(node(2).count(Counter::replica_rdma_waits), config.fetch_window);
  EXPECT_EQ(row(2, 1).why_no_rdma, "");
  EXPECT_EQ(read(2, manifest.generation), bytes);
}

TEST_F(TransportTest, WhereRdmaDoesNotComeInTimeTcpServes) {
  mover_options.rdma_dial_ns = 3'600'000'000'000;
  start(2);
  link_all();
  const Instant up = now;
  const Manifest manifest = publish(20);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(config.rdma_patience + 1_s, [&] { return is_verified(2, manifest); }));
  EXPECT_GE(now - up, config.rdma_patience - 10_ms);
  EXPECT_EQ(by_tcp(), bytes.size());
  EXPECT_NE(row(2, 1).why_no_rdma, "");
}

TEST_F(TransportTest, WithoutADeviceHereOrThereNothingWaits) {
  for (const uint32_t without : {1u, 2u}) {
    hosts.clear();
    start(2);
    mover->set_rdma(node(without).index, false);
    link_all();
    const Manifest manifest = publish(20);
    hold(2, manifest, {{1}});
    ASSERT_TRUE(pass_until(500_ms, [&] { return is_verified(2, manifest); })) << without;
    EXPECT_EQ(by_tcp(), bytes.size()) << without;
    EXPECT_EQ(node(2).count(Counter::replica_rdma_waits), 0u) << without;
    EXPECT_EQ(row(without, 3 - without).why_no_rdma, "there is no RDMA device");
    EXPECT_NE(row(3 - without, without).why_no_rdma, "");
  }
}

TEST_F(TransportTest, NothingWaitsForRdmaThatWasLost) {
  start(2);
  link_all();
  ASSERT_TRUE(pass_until(1_s, [&] { return row(2, 1).rdma_up && row(2, 1).tcp_up; }));
  const Manifest manifest = publish(20);
  mover->set_rdma(node(1).index, false);
  ASSERT_TRUE(pass_until(5_s, [&] { return !row(2, 1).rdma_up; }));
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(500_ms, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(by_tcp(), bytes.size());
}

TEST_F(TransportTest, ADeviceThatComesTakesThePiecesThatWereNotGrantedYet) {
  config.fetch_window = 4;
  start(2);
  mover->set_rdma(node(2).index, false);
  link_all();
  pass(60_s);  // dials of the other side have become rare
  const Manifest manifest = publish(20);
  mover->set_rate(node(1).index, 200'000);  // 12 pieces/s
  hold(2, manifest, {{1}});
  pass(250_ms);
  mover->set_rdma(node(2).index, true);
  ASSERT_TRUE(pass_until(1_s, [&] { return row(2, 1).rdma_up; }));
  const uint64_t over_tcp = by_tcp();
  ASSERT_TRUE(pass_until(10_s, [&] { return is_verified(2, manifest); }));
  // What was granted before goes the way that it was granted for, and nothing else.
  EXPECT_LE(by_tcp(), over_tcp + config.fetch_window * uint64_t{host_options.chunk_bytes});
  EXPECT_EQ(by_rdma() + by_tcp(), bytes.size());
  EXPECT_EQ(read(2, manifest.generation), bytes);
}

TEST_F(TransportTest, ARestartedPeerIsWaitedForOnceMore) {
  start(2);
  link_all();
  const Manifest manifest = publish(20);
  pass(60_s);
  node(2).config.epoch = 2;
  mover_options.rdma_dial_ns = 1'000'000'000;
  node(2).start();
  link_all();
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(config.rdma_patience, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(by_rdma(), bytes.size());
  EXPECT_EQ(by_tcp(), 0u);
}

TEST_F(TransportTest, ALinkThatIsSlowerThanThePatienceStaysUp) {
  start(2);
  link_all();
  ASSERT_TRUE(pass_until(1_s, [&] { return row(2, 1).rdma_up && row(2, 1).tcp_up; }));
  const Manifest manifest = publish(20);
  // A window of pieces takes 20 s, twice the patience.
  mover->set_rate(node(1).index, config.fetch_window * host_options.chunk_bytes / 20);
  hold(2, manifest, {{1}});
  ASSERT_TRUE(pass_until(60_s, [&] { return is_verified(2, manifest); }));
  EXPECT_EQ(by_rdma(), bytes.size());
  EXPECT_EQ(node(2).count(Counter::replica_wants_late), 0u);
  EXPECT_EQ(node(1).count(Counter::replica_link_protection_error), 0u);
}

}  // namespace
}  // namespace sluice::replica
