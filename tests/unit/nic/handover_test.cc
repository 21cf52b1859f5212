// Two workers and one queue: frames find their owner, and pins their way home.
#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <map>

#include "edge.h"
#include "wire/flow_key.h"

namespace sluice::nic::test {
namespace {

using stats::Counter;

class Handover : public testing::Test {
 protected:
  void start(const PortOptions& options, const std::array<uint32_t, 2>& lcores = {0, 0}) {
    for (const uint32_t lcore : lcores) workers_.push_back(std::make_unique<Worker>(lcore));
    port_ = start_port("net_ring0", options, workers_);
    ASSERT_NE(port_, nullptr);
  }
  uint64_t total(Counter counter) {
    return workers_[0]->count(counter) + workers_[1]->count(counter);
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Port> port_;
};

TEST_F(Handover, AFlowHasOneOwner) {
  start({.workers = 2, .queue_pairs_max = 1});
  ASSERT_EQ(port_->facts().steering, Steering::software);
  std::map<uint16_t, uint32_t> owners;
  uint32_t seen = 0;
  for (int round = 0; round < 3; ++round) {
    for (uint16_t flow = 1000; flow < 1064; ++flow) put_frame("net_ring0", tcp_segment(flow));
    for (uint32_t i = 0; i < 10; ++i) {
      for (uint32_t worker = 0; worker < 2; ++worker) {
        RxBurst burst;
        port_->queue(worker).receive(burst);
        for (const wire::RxFrame& frame : burst.view()) {
          const uint16_t flow = load_be16(frame.bytes.data() + 34);
          ++seen;
          const auto [known, fresh] = owners.emplace(flow, worker);
          EXPECT_TRUE(fresh || known->second == worker);
        }
        port_->queue(worker).release(burst);
      }
    }
  }
  EXPECT_EQ(seen, 3u * 64u);
  EXPECT_EQ(owners.size(), 64u);
  EXPECT_GT(workers_[0]->count(Counter::nic_rx_handed_over), 50u);
  EXPECT_EQ(total(Counter::rx_frames), 3u * 64u);
}

TEST_F(Handover, NeighbourFramesReachEveryoneTheRestWorkerZero) {
  start({.workers = 2, .queue_pairs_max = 1});
  put_frame("net_ring0", arp_request());
  put_frame("net_ring0", icmp_echo());
  RxBurst first;
  RxBurst second;
  EXPECT_FALSE(port_->queue(1).has_mail());
  ASSERT_EQ(port_->queue(0).receive(first), 2u);
  EXPECT_EQ(first.handed_over, 1u);
  EXPECT_TRUE(port_->queue(1).has_mail());
  ASSERT_EQ(port_->queue(1).receive(second), 1u);
  // One buffer, read by both.
  EXPECT_EQ(first.frames[0].bytes.data(), second.frames[0].bytes.data());
  EXPECT_EQ(rte_mbuf_refcnt_read(first.mbufs[0]), 2);
  EXPECT_EQ(second.handed_over, 0u);
  EXPECT_FALSE(port_->queue(1).has_mail());
  port_->queue(0).release(first);
  EXPECT_EQ(rte_mbuf_refcnt_read(second.mbufs[0]), 1);
  port_->queue(1).release(second);
}

TEST_F(Handover, WithQueuesOfTheirOwnFlowsStayWhereTheyArrive) {
  start({.workers = 2, .steering = Steering::kernel});
  ASSERT_EQ(port_->facts().steering, Steering::kernel);
  ASSERT_EQ(port_->facts().rx_queues, 2);
  for (uint16_t flow = 0; flow < 20; ++flow) put_frame("net_ring0", tcp_segment(flow));
  put_frame("net_ring0", arp_request());
  RxBurst burst;
  EXPECT_EQ(port_->queue(0).receive(burst), 21u);
  port_->queue(0).release(burst);
  EXPECT_EQ(port_->queue(1).receive(burst), 1u);
  port_->queue(1).release(burst);
}

TEST_F(Handover, AFullInboxDropsAndCounts) {
  start({.workers = 2, .queue_pairs_max = 1});
  // Nobody empties worker 1's inbox of 1024.
  for (int i = 0; i < 1200; ++i) {
    put_frame("net_ring0", arp_request());
    RxBurst burst;
    port_->queue(0).receive(burst);
    port_->queue(0).release(burst);
  }
  EXPECT_EQ(workers_[0]->count(Counter::nic_drop_rx_handover_full), 1200u - 1024u);
}

TEST_F(Handover, AWorkerWithoutAQueueSendsThroughAnothers) {
  start({.workers = 2, .queue_pairs_max = 1});
  ASSERT_EQ(port_->facts().tx_queues, 1);
  const wire::TxFrame train = make_train({.payload = {extent(1, 5, 20000)}});
  port_->queue(1).send(train);
  port_->queue(1).flush();
  EXPECT_TRUE(take_frames("net_ring0").empty());
  EXPECT_GT(workers_[1]->pins.total(), 0u);
  port_->queue(0).flush();
  EXPECT_EQ(take_frames("net_ring0"), frames_of(train, *workers_[1]));
  EXPECT_EQ(workers_[1]->pins.total(), 0u);
}

// --- On two threads ---

struct Sender {
  Port* port = nullptr;
  uint32_t worker = 0;
  uint32_t trains = 0;
  std::atomic<uint32_t>* unfinished = nullptr;
};

/// Sends its trains, keeps its queue going until everyone is done, then until its pins are home.
int run_sender(void* argument) {
  Sender& sender = *static_cast<Sender*>(argument);
  Queue queue = sender.port->queue(sender.worker);
  uint32_t left = sender.trains;
  bool finished = false;
  while (sender.unfinished->load() > 0) {
    for (; left > 0 && queue.room() > 0; --left) {
      queue.send(make_train({.ipv6 = sender.worker == 1,
                             .payload = {extent(left % chunk_count, left % 977, 30000)},
                             .sequence = left}));
    }
    queue.flush();
    queue.reap();
    if (left == 0 && !finished && queue.in_flight() == 0) {
      finished = true;
      sender.unfinished->fetch_sub(1);
    }
  }
  return 0;
}

TEST_F(Handover, PinsComeHomeAcrossThreads) {
  start({.workers = 2, .queue_pairs_max = 1}, {eal().lcore(0), eal().lcore(1)});
  constexpr uint32_t trains = 300;
  std::atomic<uint32_t> unfinished{2};
  std::array<Sender, 2> senders;
  for (uint32_t i = 0; i < 2; ++i) {
    senders[i] = {port_.get(), i, trains, &unfinished};
    ASSERT_TRUE(eal().launch(i, run_sender, &senders[i]));
  }
  // The loopback is emptied by a third thread, which frees everyone's frames.
  std::map<uint32_t, uint64_t> payload_of;  // by IP version
  while (unfinished.load() > 0) {
    for (const Frame& frame : take_frames("net_ring0")) {
      const bool ipv6 = frame[12] == std::byte{0x86};
      payload_of[ipv6 ? 6 : 4] += frame.size() - (ipv6 ? 86 : 66);
    }
  }
  EXPECT_EQ(eal().join(0), 0);
  EXPECT_EQ(eal().join(1), 0);
  EXPECT_EQ(payload_of[4], uint64_t{trains} * 30000);
  EXPECT_EQ(payload_of[6], uint64_t{trains} * 30000);
  EXPECT_EQ(port_->stop(Duration::from_ms(100)), 0u);
  EXPECT_EQ(workers_[0]->pins.total(), 0u);
  EXPECT_EQ(workers_[1]->pins.total(), 0u);
}

}  // namespace
}  // namespace sluice::nic::test
