// From descriptions to bytes, on ports that loop back (net_ring) or swallow (net_null).
#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "edge.h"

namespace sluice::nic::test {
namespace {

using stats::Counter;

class Transmit : public testing::Test {
 protected:
  void start(const std::string& spec, const PortOptions& options = {}) {
    port_ = start_port(spec, options, workers_);
    ASSERT_NE(port_, nullptr);
  }
  void SetUp() override {
    // The test is the worker: DPDK's main lcore is 0.
    workers_.push_back(std::make_unique<Worker>(0));
  }
  Worker& worker() { return *workers_.front(); }
  [[nodiscard]] Queue queue() { return port_->queue(0); }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Port> port_;
};

std::vector<TrainShape> many_shapes() {
  std::vector<TrainShape> shapes;
  for (const bool ipv6 : {false, true}) {
    for (const bool vlan : {false, true}) {
      const TrainShape base{.ipv6 = ipv6, .vlan = vlan};
      auto add = [&](uint16_t segment, std::vector<content::Extent> payload) {
        shapes.push_back(base);
        shapes.back().segment_size = segment;
        shapes.back().payload = std::move(payload);
      };
      add(1400, {});                     // an ACK
      add(1400, {extent(0, 1, 1)});      // one odd byte
      add(1400, {extent(0, 0, 1400)});   // one full frame
      add(1400, {extent(1, 3, 1401)});   // and one byte more
      add(1400, {extent(0, 7, 64001)});  // a long train
      add(536, {extent(0, 0, 999), extent(1, 13, 3333), extent(2, 1, 1), extent(3, 9, 700)});
      add(1400, {extent(chunk_count, 0, 311), extent(2, 4096, 20000)});  // head slot, then body
    }
  }
  return shapes;
}

TEST_F(Transmit, FramesOfATrainAreAsDescribed) {
  start("net_ring0");
  ASSERT_TRUE(port_->facts().offloads.chained_mbufs);
  for (const TrainShape& shape : many_shapes()) {
    const wire::TxFrame train = make_train(shape);
    ASSERT_GT(queue().room(), 0u);
    queue().send(train);
    queue().flush();
    EXPECT_EQ(take_frames("net_ring0"), frames_of(train, worker()));
    EXPECT_EQ(worker().pins.total(), 0u);
  }
  EXPECT_EQ(worker().count(Counter::nic_payload_copied_bytes), 0u);
}

TEST_F(Transmit, ChunksStayPinnedUntilTheFrameIsFreed) {
  start("net_ring0");
  queue().send(make_train({.payload = {extent(2, 0, 3000), extent(3, 0, 100)}}));
  queue().flush();
  const auto mbufs = take_raw("net_ring0");
  ASSERT_EQ(mbufs.size(), 3u);
  EXPECT_EQ(worker().pins.pins(content::ChunkIndex(2)), 3u);
  EXPECT_EQ(worker().pins.pins(content::ChunkIndex(3)), 1u);
  EXPECT_EQ(queue().in_flight(), 4u);
  // Payload is referred to, not copied.
  EXPECT_EQ(rte_pktmbuf_mtod(mbufs[0]->next, std::byte*),
            worker().view().bytes(extent(2, 0, 1)).data());
  rte_pktmbuf_free(mbufs[0]);
  EXPECT_EQ(worker().pins.pins(content::ChunkIndex(2)), 2u);
  rte_pktmbuf_free(mbufs[1]);
  rte_pktmbuf_free(mbufs[2]);
  EXPECT_EQ(worker().pins.total(), 0u);
  EXPECT_EQ(queue().in_flight(), 0u);
}

TEST_F(Transmit, AHeldHeadSlotIsReleasedOnce) {
  start("net_ring0");
  queue().send(make_train({.payload = {extent(chunk_count + 5, 0, 200)}}));
  queue().flush();
  content::ChunkIndex released;
  EXPECT_FALSE(worker().pins.poll_released(released));
  (void)take_frames("net_ring0");
  ASSERT_TRUE(worker().pins.poll_released(released));
  EXPECT_EQ(released.value(), chunk_count + 5);
}

TEST_F(Transmit, CopiedFramesAreTheSameAndCounted) {
  const ChangedProfiles profiles("ring", {{"use = [\"chained_mbufs\"]", "use = []"}});
  start("net_ring0", {.drivers_directory = profiles.path()});
  ASSERT_FALSE(port_->facts().offloads.chained_mbufs);
  uint64_t payload = 0;
  for (const TrainShape& shape : many_shapes()) {
    const wire::TxFrame train = make_train(shape);
    queue().send(train);
    queue().flush();
    // Nothing is pinned: what is in the ring is a copy.
    EXPECT_EQ(worker().pins.total(), 0u);
    EXPECT_EQ(take_frames("net_ring0"), frames_of(train, worker()));
    payload += train.payload_length;
  }
  EXPECT_EQ(worker().count(Counter::nic_payload_copied_bytes), payload);
}

TEST_F(Transmit, CopiesIntoTheRxPoolWhereTheDriverWantsThat) {
  const ChangedProfiles profiles("ring",
                                 {{"use = [\"chained_mbufs\"]", "use = []"},
                                  {"sends_from_rx_pool = false", "sends_from_rx_pool = true"}});
  start("net_ring0", {.drivers_directory = profiles.path()});
  const wire::TxFrame train = make_train({.payload = {extent(0, 0, 5000)}});
  queue().send(train);
  queue().flush();
  const auto mbufs = take_raw("net_ring0");
  ASSERT_EQ(mbufs.size(), 4u);
  EXPECT_EQ(std::string(mbufs[0]->pool->name).substr(3, 2), "rx");
  for (size_t i = 0; i < mbufs.size(); ++i) {
    EXPECT_EQ(bytes_of(*mbufs[i]), frames_of(train, worker())[i]);
    rte_pktmbuf_free(mbufs[i]);
  }
}

TEST_F(Transmit, WhatTheDeviceDoesNotTakeWaitsInOrder) {
  start("net_ring0");  // its ring holds 1024 frames
  std::vector<Frame> expected;
  uint32_t sent = 0;
  while (queue().room() > 0) {
    ASSERT_LT(sent, 100u) << "a full ring must stop us";
    const wire::TxFrame train =
        make_train({.payload = {extent(sent % 4, sent, 40000)}, .sequence = sent * 40000});
    const auto frames = frames_of(train, worker());
    expected.insert(expected.end(), frames.begin(), frames.end());
    queue().send(train);
    queue().flush();
    ++sent;
  }
  EXPECT_GT(worker().count(Counter::nic_tx_stalls), 0u);
  EXPECT_GT(queue().in_flight(), 1000u);
  std::vector<Frame> arrived;
  for (int turn = 0; turn < 100 && arrived.size() < expected.size(); ++turn) {
    for (Frame& frame : take_frames("net_ring0")) arrived.push_back(std::move(frame));
    queue().flush();
  }
  EXPECT_EQ(arrived, expected);
  EXPECT_EQ(worker().pins.total(), 0u);
  EXPECT_GT(queue().room(), 0u);
}

TEST_F(Transmit, RoomIsAPromise) {
  start("net_ring0");
  const uint32_t room = queue().room();
  ASSERT_GT(room, 1u);
  // All at once, without asking again, far more than the ring takes.
  size_t frames = 0;
  for (uint32_t i = 0; i < room; ++i) {
    const wire::TxFrame train = make_train({.payload = {extent(0, 0, 65000)}});
    frames += train.frame_count();
    queue().send(train);
  }
  EXPECT_EQ(queue().room(), 0u);
  size_t arrived = 0;
  for (int turn = 0; turn < 100 && arrived < frames; ++turn) {
    queue().flush();
    arrived += take_frames("net_ring0").size();
  }
  EXPECT_EQ(arrived, frames);
  EXPECT_EQ(worker().pins.total(), 0u);
}

TEST_F(Transmit, ATurnEndsEvenIfTheDeviceNeverRefuses) {
  start("net_null0");
  uint32_t trains = 0;
  while (queue().room() > 0 && trains < 1000) {
    queue().send(make_train({.payload = {extent(0, 0, 14000)}}));  // ten frames
    ++trains;
  }
  EXPECT_LT(trains, 30u);
  queue().flush();
  EXPECT_GT(queue().room(), 0u);
}

TEST_F(Transmit, TinySegmentsMakeLongTrains) {
  start("net_ring0");
  const wire::TxFrame train = make_train({.segment_size = 40, .payload = {extent(0, 0, 60000)}});
  ASSERT_EQ(train.frame_count(), 1500u);
  queue().send(train);
  std::vector<Frame> arrived;
  for (int turn = 0; turn < 10; ++turn) {
    queue().flush();
    for (Frame& frame : take_frames("net_ring0")) arrived.push_back(std::move(frame));
  }
  EXPECT_EQ(arrived, frames_of(train, worker()));
  EXPECT_EQ(worker().pins.total(), 0u);
}

TEST_F(Transmit, FramesLongerThanTheMtuAreDroppedAndCounted) {
  start("net_ring0");
  queue().send(make_train({.segment_size = 1453, .payload = {extent(0, 0, 1453)}}));
  queue().flush();
  EXPECT_TRUE(take_frames("net_ring0").empty());
  EXPECT_EQ(worker().count(Counter::nic_drop_tx_oversize), 1u);
  EXPECT_EQ(worker().pins.total(), 0u);
}

TEST_F(Transmit, FramesThatAreNotTcpGoAsTheyAre) {
  start("net_ring0");
  const Frame arp = arp_request();
  wire::TxFrame frame;
  frame.clear();
  std::copy(arp.begin(), arp.end(), frame.header.begin());
  frame.header_length = static_cast<uint16_t>(arp.size());
  frame.l2_length = 14;
  queue().send(frame);
  // ICMP with its data in a head slot.
  Frame icmp = icmp_echo();
  std::copy(icmp.begin(), icmp.end(), frame.header.begin());
  frame.header_length = static_cast<uint16_t>(icmp.size());
  frame.l3_length = 20;
  frame.payload_length = 56;
  ASSERT_TRUE(frame.payload.push_back(extent(chunk_count, 0, 56)));
  queue().send(frame);
  queue().flush();
  const MutableBytes data = worker().view().bytes(extent(chunk_count, 0, 56));
  icmp.insert(icmp.end(), data.begin(), data.end());
  EXPECT_EQ(take_frames("net_ring0"), (std::vector<Frame>{arp, icmp}));
}

TEST_F(Transmit, CountsFramesAndBytesOnTheWire) {
  start("net_null0");
  const wire::TxFrame train = make_train({.payload = {extent(0, 0, 2000)}});
  queue().send(train);
  queue().flush();
  EXPECT_EQ(worker().count(Counter::tx_frames), 2u);
  EXPECT_EQ(worker().count(Counter::tx_bytes), 2u * (14 + 20 + 32) + 2000);
}

TEST_F(Transmit, StopGivesEveryPinBack) {
  start("net_ring0");
  while (queue().room() > 0) {
    queue().send(make_train({.payload = {extent(1, 0, 60000)}}));
    queue().flush();
  }
  ASSERT_GT(worker().pins.total(), 1000u);
  EXPECT_GT(port_->stop(Duration::from_ms(20)), 0u);
  EXPECT_EQ(worker().pins.total(), 0u);
}

TEST_F(Transmit, APortCanBeOpenedAgain) {
  for (int round = 0; round < 3; ++round) {
    start("net_null0");
    port_.reset();
  }
}

TEST_F(Transmit, OpenRefusesWhatIsNotThere) {
  (void)eal();
  EXPECT_FALSE(Port::open(parse_port_spec("af_packet:nothere", 0).value(), {}));
  EXPECT_FALSE(Port::open(parse_port_spec("af_xdp:nothere", 0).value(), {}));
  EXPECT_FALSE(Port::open(parse_port_spec("net_nosuchdriver0", 0).value(), {}));
  EXPECT_FALSE(Port::open(parse_port_spec("net_null0", 0).value(), {.workers = 0}));
  EXPECT_FALSE(Port::open(parse_port_spec("net_null0", 0).value(), {.workers = 1000}));
  EXPECT_FALSE(Port::open(parse_port_spec("net_null0", 0).value(), {.mtu = 100}));
}

}  // namespace
}  // namespace sluice::nic::test
