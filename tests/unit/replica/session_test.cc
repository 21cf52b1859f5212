// Sessions as a specification: whole data planes over the fake mover, and what they know of each
// other.
#include "replica/session.h"

#include "plane_world.h"

namespace sluice::replica {
namespace {

using stats::Counter;

class SessionTest : public PlaneWorld {
 protected:
  PeerRow row(uint32_t of, uint32_t peer) {
    for (const PeerRow& each : node(of).plane->sessions().peers()) {
      if (each.node == NodeId{peer}) return each;
    }
    return {};
  }
  size_t count_events(uint32_t of, size_t kind) {
    size_t count = 0;
    for (const SessionEvent& event : node(of).session_events) count += event.index() == kind;
    return count;
  }
  static constexpr size_t up = 0;
  static constexpr size_t down = 1;
  static constexpr size_t record = 2;
};

TEST_F(SessionTest, OneLinkOfEachTransportIsLeftOfThoseThatBothDial) {
  start(2);
  pass(10_s);
  for (const Transport transport : {Transport::rdma, Transport::tcp}) {
    EXPECT_EQ(mover->links_up(node(1).index, transport), 1u);
    EXPECT_EQ(mover->links_up(node(2).index, transport), 1u);
  }
  EXPECT_EQ(count_events(1, up), 1u);
  EXPECT_EQ(count_events(1, down), 0u);
  EXPECT_EQ(row(1, 2).name, "node2");
  EXPECT_EQ(row(1, 2).address, "node2:7000");
}

TEST_F(SessionTest, ManySeedsOfDuplicatesSettle) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    mover_options.seed = seed;
    mover_options.jitter_ns = 2'000'000;
    hosts.clear();
    config.nonce_key.k1 = seed;
    start(3);
    pass(20_s);
    for (uint32_t n = 1; n <= 3; ++n) {
      EXPECT_EQ(mover->links_up(node(n).index, Transport::rdma), 2u) << seed;
      EXPECT_EQ(mover->links_up(node(n).index, Transport::tcp), 2u) << seed;
      EXPECT_EQ(count_events(n, up) - count_events(n, down), 2u) << seed;
    }
  }
}

TEST_F(SessionTest, ItsOwnAddressIsNotDialledAgain) {
  start(2);
  hosts[1]->config.self = {1};  // as far as node 1 sees, itself
  hosts[1]->start();
  pass(20_s);
  EXPECT_LE(node(1).count(Counter::replica_dials), 2u);  // once over each transport
  EXPECT_GE(node(1).count(Counter::replica_refused_peer_own_id), 1u);
  EXPECT_EQ(mover->links_up(node(1).index, Transport::rdma), 0u);
}

TEST_F(SessionTest, AStrangerGetsNoLink) {
  start(2);
  hosts[1]->config.cluster_key.assign(32, std::byte{8});
  hosts[1]->start();
  pass(10_s);
  EXPECT_EQ(count_events(1, up), 0u);
  EXPECT_GE(node(1).count(Counter::replica_refused_peer_proof) +
                node(2).count(Counter::replica_refused_peer_proof),
            1u);
  // Redials slow down: 100 ms doubled up to 10 s.
  EXPECT_LE(node(1).count(Counter::replica_dials), 40u);
}

TEST_F(SessionTest, OtherChunksAreRefusedWithTheReason) {
  start(2);
  hosts[1]->config.chunk_bytes /= 2;
  hosts[1]->start();
  pass(5_s);
  EXPECT_EQ(count_events(1, up), 0u);
  EXPECT_GE(node(1).count(Counter::replica_refused_peer_chunk_size), 1u);
  bool is_named = false;
  for (const PeerRow& each : node(1).plane->sessions().peers()) {
    is_named |= each.last_end.find("--chunk") != std::string::npos;
  }
  EXPECT_TRUE(is_named);
}

TEST_F(SessionTest, ARestartedNodeIsTheNewEpoch) {
  start(2);
  link_all();
  node(2).config.epoch = 2;
  node(2).start();
  node(1).session_events.clear();
  ASSERT_TRUE(pass_until(30_s, [&] { return row(1, 2).epoch == 2 && row(1, 2).alive; }));
  EXPECT_EQ(count_events(1, up), 1u);
  EXPECT_EQ(count_events(1, down), 1u);
}

TEST_F(SessionTest, AnOlderEpochIsRefused) {
  start(2);
  node(2).config.epoch = 5;
  node(2).start();
  link_all();
  node(2).config.epoch = 4;
  node(2).start();
  pass(20_s);
  EXPECT_FALSE(row(1, 2).alive);
  EXPECT_EQ(row(1, 2).epoch, 5u);
  EXPECT_GE(node(1).count(Counter::replica_refused_peer_epoch), 1u);
}

TEST_F(SessionTest, AStoppedPeerIsDownAfterPeerPatience) {
  start(2);
  link_all();
  mover->set_stopped(node(2).index, true);
  node(2).stopped = true;
  pass(config.peer_patience - 1_s);
  EXPECT_TRUE(row(1, 2).alive);
  pass(2_s);
  EXPECT_FALSE(row(1, 2).alive);
  EXPECT_EQ(count_events(1, down), 1u);
  EXPECT_GE(node(1).count(Counter::replica_closed_silent), 1u);
  mover->set_stopped(node(2).index, false);
  node(2).stopped = false;
  ASSERT_TRUE(pass_until(60_s, [&] { return is_linked(1, 2); }));
}

TEST_F(SessionTest, TcpTakesOverAndGivesBack) {
  start(2);
  link_all();
  ASSERT_TRUE(pass_until(5_s, [&] { return row(1, 2).rdma_up && row(1, 2).tcp_up; }));
  const auto transport = [&] {
    const auto link = node(1).plane->sessions().data_link(now, {2});
    return link ? std::optional(link->transport) : std::nullopt;
  };
  EXPECT_EQ(transport(), Transport::rdma);
  mover->set_rdma(node(2).index, false);
  ASSERT_TRUE(pass_until(5_s, [&] { return transport() == Transport::tcp; }));
  EXPECT_EQ(count_events(1, down), 0u);
  mover->set_rdma(node(2).index, true);
  ASSERT_TRUE(pass_until(60_s, [&] { return transport() == Transport::rdma; }));
}

TEST_F(SessionTest, ThreeErrorsPauseATransport) {
  start(2);
  link_all();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pass_until(3_s, [&] { return row(1, 2).rdma_up && row(2, 1).rdma_up; })) << i;
    mover->end_links(node(1).index, node(2).index, LinkEnd::unreachable);
    pass(10_ms);
  }
  EXPECT_GE(node(1).count(Counter::replica_transport_pauses), 1u);
  EXPECT_FALSE(pass_until(transport_pause - 2_s, [&] { return row(1, 2).rdma_up; }));
  ASSERT_TRUE(pass_until(20_s, [&] { return row(1, 2).rdma_up; }));
}

TEST_F(SessionTest, RecordsArriveWholeAndInOrder) {
  start(2);
  link_all();
  std::vector<Manifest> sent;
  for (uint32_t pieces : {0u, 1u, 40u, 3'000u, 65'536u, 7u}) {
    Manifest manifest;
    manifest.generation = {sent.size() + 1, {1}};
    manifest.path = "p" + std::to_string(pieces);
    manifest.piece_bytes = host_options.chunk_bytes;
    manifest.size_bytes = uint64_t{pieces} * manifest.piece_bytes;
    for (uint32_t i = 0; i < pieces; ++i) manifest.piece_crcs.push_back(i * 77);
    manifest.digest = digest_of(manifest, config.digests);
    sent.push_back(manifest);
    node(1).plane->sessions().send_record({2}, manifest);
  }
  ASSERT_TRUE(pass_until(30_s, [&] { return count_events(2, record) == sent.size(); }));
  size_t next = 0;
  for (const SessionEvent& event : node(2).session_events) {
    const auto* arrived = std::get_if<RecordArrived>(&event);
    if (arrived == nullptr) continue;
    EXPECT_EQ(arrived->from, NodeId{1});
    const Manifest& manifest = std::get<Manifest>(arrived->record);
    EXPECT_EQ(manifest.generation, sent[next].generation);
    EXPECT_EQ(manifest.piece_crcs, sent[next].piece_crcs);
    ++next;
  }
}

TEST_F(SessionTest, WhereRecordsWereLostWithTheirLinkThePeerIsToldAnew) {
  mover_options.latency_ns = 1'000'000;
  start(2);
  link_all();
  ASSERT_TRUE(pass_until(5_s, [&] { return row(1, 2).rdma_up && row(1, 2).tcp_up; }));
  Manifest manifest;
  manifest.generation = {1, {1}};
  manifest.path = "p";
  manifest.piece_bytes = host_options.chunk_bytes;
  manifest.size_bytes = uint64_t{60'000} * manifest.piece_bytes;
  manifest.piece_crcs.resize(60'000, 5);
  manifest.digest = digest_of(manifest, config.digests);
  node(1).plane->sessions().send_record({2}, manifest);
  ASSERT_TRUE(
      pass_until(1_s, [&] { return node(2).count(Counter::replica_frames_received) > 200; }));
  ASSERT_EQ(count_events(2, record), 0u);
  ASSERT_EQ(count_events(1, up), 1u);
  mover->set_rdma(node(1).index, false);
  // The registry tells everything at each of these, over the link that is left.
  ASSERT_TRUE(pass_until(5_s, [&] { return count_events(1, up) == 2; }));
  node(1).plane->sessions().send_record({2}, manifest);
  ASSERT_TRUE(pass_until(30_s, [&] { return count_events(2, record) == 1; }));
  EXPECT_EQ(node(2).count(Counter::replica_refused_record_parts), 0u);
}

}  // namespace
}  // namespace sluice::replica
