// Ports with a kernel behind them: what we send is read back with a packet socket on the other
// side, and what that socket sends is received. Needs root: each run has a network namespace of its
// own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <set>

#include "edge.h"
#include "nic/port_plan.h"

namespace sluice::nic::test {
namespace {

using stats::Counter;

/// A raw socket on one interface: the other end of the wire.
class Peer {
 public:
  explicit Peer(const std::string& interface)
      : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    const int size = 64 << 20;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Peer() { close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void send(const Frame& frame) const {
    EXPECT_EQ(write(fd_, frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
  }
  /// Frames that came in from the port (not those the kernel here sends), until it is silent.
  [[nodiscard]] std::vector<Frame> take() const {
    std::vector<Frame> frames;
    Frame buffer(70000);
    pollfd readable{fd_, POLLIN, 0};
    while (poll(&readable, 1, 20) > 0) {
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      const ssize_t got = recvfrom(fd_, buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &length);
      if (got <= 0) break;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      frames.emplace_back(buffer.begin(), buffer.begin() + got);
    }
    return frames;
  }

 private:
  int fd_;
};

bool run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

/// A veth without the kernel's own chatter (no IPv6 addresses), removed at the end.
class Veth {
 public:
  explicit Veth(int queues) {
    const std::string count = std::to_string(queues);
    const std::string shape = " numrxqueues " + count + " numtxqueues " + count;
    made_ = run("ip link add slv0" + shape + " type veth peer name slv1" + shape) &&
            run("sysctl -w net.ipv6.conf.slv0.disable_ipv6=1 net.ipv6.conf.slv1.disable_ipv6=1") &&
            run("ip link set slv0 up") && run("ip link set slv1 up");
  }
  ~Veth() { run("ip link del slv0"); }
  Veth(const Veth&) = delete;
  Veth& operator=(const Veth&) = delete;
  [[nodiscard]] bool made() const { return made_; }

 private:
  bool made_ = false;
};

class KernelPort : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_own_namespace()) GTEST_SKIP() << "needs root for a network namespace";
  }
  void start(const std::string& spec, const PortOptions& options = {}) {
    for (uint32_t i = 0; i < options.workers; ++i) workers_.push_back(std::make_unique<Worker>(0));
    port_ = start_port(spec, options, workers_);
    ASSERT_NE(port_, nullptr);
  }

  /// Frames for the port's workers, in order of arrival; empty when none come within a while.
  std::vector<Frame> receive(uint32_t worker = 0) {
    std::vector<Frame> frames;
    for (int turn = 0; turn < 20; ++turn) {
      RxBurst burst;
      Queue queue = port_->queue(worker);
      queue.receive(burst);
      for (const wire::RxFrame& frame : burst.view()) {
        frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
      }
      queue.release(burst);
      if (burst.count == 0) usleep(500);
    }
    return frames;
  }

  void send(const wire::TxFrame& train, uint32_t worker = 0) {
    Queue queue = port_->queue(worker);
    ASSERT_GT(queue.room(), 0u);
    queue.send(train);
    for (int turn = 0; turn < 50; ++turn) queue.flush();
  }

  /// Trains of both families arrive byte for byte, and leave no pin behind.
  void check_sending(const Peer& peer, bool copied) {
    uint64_t payload = 0;
    for (const bool ipv6 : {false, true}) {
      for (const auto& pieces : std::vector<std::vector<content::Extent>>{
               {},
               {extent(0, 5, 1)},
               {extent(0, 0, 1400)},
               {extent(chunk_count, 0, 333), extent(1, 4096, 64000)},
               {extent(0, 1, 1111), extent(1, 3, 2222), extent(2, 7, 3333), extent(3, 9, 44444)}}) {
        const wire::TxFrame train = make_train({.ipv6 = ipv6, .payload = pieces});
        send(train);
        EXPECT_EQ(peer.take(), frames_of(train, *workers_[0]));
        payload += train.payload_length;
      }
    }
    EXPECT_EQ(workers_[0]->pins.total(), 0u);
    EXPECT_EQ(workers_[0]->count(Counter::nic_payload_copied_bytes), copied ? payload : 0u);
  }

  /// Of every flow the frames reach one worker only, and none is lost.
  void check_receiving(const Peer& peer, uint32_t workers) {
    for (uint16_t flow = 1; flow <= 100; ++flow) peer.send(tcp_segment(flow));
    for (uint16_t flow = 1; flow <= 100; ++flow) peer.send(tcp_segment(flow));
    std::vector<std::multiset<uint16_t>> seen(workers);
    for (int round = 0; round < 2; ++round) {
      for (uint32_t worker = 0; worker < workers; ++worker) {
        for (const Frame& frame : receive(worker)) {
          ASSERT_GE(frame.size(), 36u);
          if (frame != tcp_segment(load_be16(frame.data() + 34))) continue;  // the kernel's own
          seen[worker].insert(load_be16(frame.data() + 34));
        }
      }
    }
    for (uint16_t flow = 1; flow <= 100; ++flow) {
      std::multiset<size_t> counts;
      for (const auto& one : seen) counts.insert(one.count(flow));
      EXPECT_EQ(*counts.rbegin(), 2u) << flow;
      EXPECT_EQ(std::count(counts.begin(), counts.end(), 0u), workers - 1) << flow;
    }
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Port> port_;
};

TEST_F(KernelPort, TapSendsAndReceives) {
  start("tap:sltap");
  const Peer peer("sltap");
  (void)peer.take();
  check_sending(peer, false);
  check_receiving(peer, 1);
}

TEST_F(KernelPort, TapWithTwoWorkers) {
  start("tap:sltap", {.workers = 2});
  EXPECT_EQ(port_->facts().rx_queues, 2);
  EXPECT_EQ(port_->facts().steering, Steering::kernel);
  const Peer peer("sltap");
  check_receiving(peer, 2);
}

TEST_F(KernelPort, TapGoesWithThePort) {
  start("tap:sltap");
  EXPECT_NE(if_nametoindex("sltap"), 0u);
  port_.reset();
  EXPECT_EQ(if_nametoindex("sltap"), 0u);
}

TEST_F(KernelPort, TapHasTheMtuAskedForAndAMacOfItsOwn) {
  start("tap:sltap", {.mtu = 1280});
  EXPECT_EQ(port_->facts().mtu, 1280);
  EXPECT_TRUE(run("ip link show sltap | grep 'mtu 1280'"));
  EXPECT_EQ(port_->facts().mac, derive_mac("sltap"));
}

TEST_F(KernelPort, TapKnowsWhatItsDriverCannot) {
  (void)eal();
  const auto port = Port::open(parse_port_spec("tap:sltap", 0).value(), {.mtu = 9000});
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().message.find("1280 to 1504"), std::string::npos) << port.error().message;
  EXPECT_EQ(if_nametoindex("sltap"), 0u);
}

TEST_F(KernelPort, TapLeavesRealtimeSignalsAlone) {
  start("tap:sltap");
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    EXPECT_EQ(action.sa_handler, SIG_DFL) << number;
  }
}

// The driver's own checksums and segmentation (librte_gso) over our chains are not used. They are
// right as long as no piece but the last has an odd length: tap_tx_l4_add_rcksum() does not swap.
TEST_F(KernelPort, TapSumsAndSegmentsWhatIsAttachedIfEven) {
  const ChangedProfiles profiles(
      "tap", {{"use = [\"chained_mbufs\"]",
               "use = [\"chained_mbufs\", \"tx_checksum\", \"tcp_segmentation\"]"},
              {"avoid = [\"rx_checksum\", \"tx_checksum\", \"tcp_segmentation\"]",
               "avoid = [\"rx_checksum\"]"}});
  start("tap:sltap", {.drivers_directory = profiles.path()});
  ASSERT_TRUE(port_->facts().offloads.tcp_segmentation);
  const Peer peer("sltap");
  (void)peer.take();
  const wire::TxFrame train = make_train({.payload = {extent(0, 1, 2112), extent(1, 3, 20001)}});
  send(train);
  std::vector<Frame> frames = peer.take();
  // librte_gso counts the IPv4 identification up (RFC 6864: it may be anything without fragments).
  for (Frame& frame : frames) frame = with_identification(std::move(frame), 0x1234);
  EXPECT_EQ(frames, frames_of(train, *workers_[0]));
  EXPECT_EQ(workers_[0]->pins.total(), 0u);
}

TEST_F(KernelPort, PacketSocketSendsAndReceives) {
  const Veth veth(1);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_packet:slv0");
  const Peer peer("slv1");
  check_sending(peer, false);
  check_receiving(peer, 1);
  port_.reset();
}

TEST_F(KernelPort, PacketSocketWithTwoWorkers) {
  const Veth veth(1);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_packet:slv0", {.workers = 2});
  EXPECT_EQ(port_->facts().rx_queues, 2);
  const Peer peer("slv1");
  check_receiving(peer, 2);
  const wire::TxFrame train = make_train({.payload = {extent(0, 0, 9999)}});
  send(train, 1);
  EXPECT_EQ(peer.take(), frames_of(train, *workers_[1]));
  port_.reset();
}

TEST_F(KernelPort, PacketSocketCarriesJumboFrames) {
  const Veth veth(1);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  ASSERT_TRUE(run("ip link set slv1 mtu 9000"));
  start("af_packet:slv0", {.mtu = 9000});
  EXPECT_EQ(port_->facts().mtu, 9000);
  const Peer peer("slv1");
  const wire::TxFrame train = make_train({.segment_size = 8900, .payload = {extent(0, 0, 60000)}});
  send(train);
  EXPECT_EQ(peer.take(), frames_of(train, *workers_[0]));
  const Frame large = frames_of(train, *workers_[0]).front();
  peer.send(large);
  EXPECT_EQ(receive(), std::vector<Frame>{large});
  port_.reset();
}

TEST_F(KernelPort, XdpSocketSendsAndReceives) {
  const Veth veth(1);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_xdp:slv0");
  const Peer peer("slv1");
  check_sending(peer, true);
  check_receiving(peer, 1);
  port_.reset();
}

TEST_F(KernelPort, XdpSocketWithOneQueueAndTwoWorkers) {
  const Veth veth(1);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_xdp:slv0", {.workers = 2});
  EXPECT_EQ(port_->facts().rx_queues, 1);
  const Peer peer("slv1");
  check_receiving(peer, 2);
  const wire::TxFrame train = make_train({.payload = {extent(0, 0, 9999)}});
  send(train, 1);
  port_->queue(0).flush();
  EXPECT_EQ(peer.take(), frames_of(train, *workers_[1]));
  port_.reset();
}

TEST_F(KernelPort, XdpSocketsOnEveryQueue) {
  const Veth veth(2);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_xdp:slv0", {.workers = 2});
  EXPECT_EQ(port_->facts().rx_queues, 2);
  const Peer peer("slv1");
  check_receiving(peer, 2);
  for (const uint32_t worker : {0u, 1u}) {
    const wire::TxFrame train = make_train({.payload = {extent(0, 0, 50000)}});
    send(train, worker);
    EXPECT_EQ(peer.take(), frames_of(train, *workers_[worker]));
  }
  port_.reset();
}

TEST_F(KernelPort, OneWorkerPollsEveryXdpQueue) {
  const Veth veth(2);
  if (!veth.made()) GTEST_SKIP() << "no veth here";
  start("af_xdp:slv0");
  EXPECT_EQ(port_->facts().rx_queues, 2);
  const Peer peer("slv1");
  check_receiving(peer, 1);
  port_.reset();
}

}  // namespace
}  // namespace sluice::nic::test
