// Ports over memory and files: memif, virtio over vhost-user, capture files.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "edge.h"

namespace sluice::nic::test {
namespace {

using stats::Counter;
namespace fs = std::filesystem;

class MemoryPort : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("sluice-memory-" + std::to_string(getpid()));
    fs::create_directories(directory_);
    workers_.push_back(std::make_unique<Worker>(0));
    peers_.push_back(std::make_unique<Worker>(0));
  }
  void TearDown() override { fs::remove_all(directory_); }
  [[nodiscard]] std::string path(const char* name) const { return (directory_ / name).string(); }

  /// What arrives at `to` while `from` is kept going.
  static std::vector<Frame> carry(Port& from, Port& to, size_t wanted) {
    std::vector<Frame> frames;
    for (int turn = 0; turn < 2000 && frames.size() < wanted; ++turn) {
      from.queue(0).flush();
      from.queue(0).reap();
      RxBurst burst;
      to.queue(0).receive(burst);
      for (const wire::RxFrame& frame : burst.view()) {
        frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
      }
      to.queue(0).release(burst);
      if (burst.count == 0) usleep(100);
    }
    return frames;
  }
  static bool wait_for_link(const Port& port, bool up = true) {
    for (int turn = 0; turn < 2000 && port.link_up() != up; ++turn) usleep(1000);
    return port.link_up() == up;
  }

  fs::path directory_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Worker>> peers_;
};

TEST_F(MemoryPort, MemifCarriesTrainsBothWays) {
  auto server =
      start_port("net_memif9,role=server,socket-abstract=no,socket=" + path("memif"), {}, peers_);
  auto client = start_port("memif:" + path("memif"), {}, workers_);
  ASSERT_TRUE(server && client);
  ASSERT_TRUE(wait_for_link(*client) && wait_for_link(*server));
  for (const bool ipv6 : {false, true}) {
    const wire::TxFrame train = make_train(
        {.ipv6 = ipv6, .payload = {extent(0, 1, 1111), extent(1, 3, 3), extent(2, 0, 60000)}});
    client->queue(0).send(train);
    EXPECT_EQ(carry(*client, *server, train.frame_count()), frames_of(train, *workers_[0]));
    server->queue(0).send(train);
    EXPECT_EQ(carry(*server, *client, train.frame_count()), frames_of(train, *peers_[0]));
  }
  EXPECT_EQ(workers_[0]->pins.total(), 0u);
  EXPECT_EQ(workers_[0]->count(Counter::nic_payload_copied_bytes), 0u);
  // The driver's interrupt thread takes the other end down as well, and does not expect it to be
  // closed meanwhile (DPDK 22.11: memif_disconnect() has no lock).
  client.reset();
  EXPECT_TRUE(wait_for_link(*server, false));
}

TEST_F(MemoryPort, CaptureFilesHoldWhatWasSent) {
  Worker& worker = *workers_[0];
  const wire::TxFrame train = make_train({.payload = {extent(0, 1, 1111), extent(1, 3, 20000)}});
  {
    const auto port = start_port("net_pcap0,tx_pcap=" + path("out.pcap"), {}, workers_);
    ASSERT_TRUE(port);
    port->queue(0).send(train);
    port->queue(0).flush();
    EXPECT_EQ(worker.pins.total(), 0u);
  }
  // pcap-savefile(5): 24 bytes, then of each frame 16 bytes with its length at 8.
  std::ifstream file(path("out.pcap"), std::ios::binary);
  std::vector<char> header(24);
  ASSERT_TRUE(file.read(header.data(), 24));
  std::vector<Frame> frames;
  std::vector<char> record(16);
  while (file.read(record.data(), 16)) {
    uint32_t length = 0;
    std::memcpy(&length, record.data() + 8, 4);
    ASSERT_LT(length, 2000u);
    Frame frame(length);
    file.read(reinterpret_cast<char*>(frame.data()), length);
    frames.push_back(std::move(frame));
  }
  EXPECT_EQ(frames, frames_of(train, worker));

  const auto port =
      start_port("net_pcap0,rx_pcap=" + path("out.pcap") + ",tx_pcap=/dev/null", {}, peers_);
  ASSERT_TRUE(port);
  EXPECT_EQ(carry(*port, *port, frames.size()), frames);
}

TEST_F(MemoryPort, VirtioUserCopiesAndLeavesChecksumsToTheOtherSide) {
  (void)eal();
  const auto vhost = start_port("net_vhost9,iface=" + path("vhost"), {}, peers_);
  ASSERT_TRUE(vhost);
  EXPECT_TRUE(vhost->facts().default_profile);
  const auto port = start_port("net_virtio_user9,path=" + path("vhost"), {}, workers_);
  ASSERT_TRUE(port);
  ASSERT_TRUE(wait_for_link(*vhost));
  EXPECT_FALSE(port->facts().offloads.chained_mbufs);
  const wire::TxFrame train = make_train({.payload = {extent(0, 1, 1111), extent(1, 3, 20000)}});
  port->queue(0).send(train);
  const auto expected = frames_of(train, *workers_[0]);
  auto frames = carry(*port, *vhost, expected.size());
  ASSERT_EQ(frames.size(), expected.size());
  for (size_t i = 0; i < frames.size(); ++i) {
    if (port->facts().offloads.tx_checksum) {
      // The TCP checksum is the receiver's business (VIRTIO_NET_F_CSUM).
      std::copy_n(expected[i].begin() + 50, 2, frames[i].begin() + 50);
    }
    EXPECT_EQ(frames[i], expected[i]) << i;
  }
  EXPECT_EQ(workers_[0]->pins.total(), 0u);
}

}  // namespace
}  // namespace sluice::nic::test
