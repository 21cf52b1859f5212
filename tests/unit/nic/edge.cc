#include "edge.h"

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <sstream>

#include "nic/eal.h"
#include "nic/paths.h"

// net_af_xdp never deletes a umem: eth_dev_close() takes one too many from its count
// (rte_eth_af_xdp.c of 22.11). Once a port and process; not ours.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:xsk_umem__create\n";
}

namespace sluice::nic::test {
namespace {

namespace fs = std::filesystem;

bool own_namespace = false;

std::vector<uint32_t> two_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<uint32_t> cores;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE && cores.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cores.push_back(cpu);
  }
  if (cores.size() < 2) cores.push_back(cores.front());
  return cores;
}

Eal* start_eal() {
  own_namespace = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
  auto started = Eal::start({.program = "unit_nic",
                             .worker_cores = two_cores(),
                             .packet_memory_bytes = 512u << 20,
                             .memory = PacketMemory::plain});
  if (!started) {
    std::cerr << started.error().message << "\n";
    std::abort();
  }
  // Never ended: DPDK's own threads outlive main in some sanitizer runs otherwise.
  return new Eal(std::move(*started));
}

void put16(Frame& frame, size_t at, uint32_t value) {
  frame[at] = static_cast<std::byte>(value >> 8);
  frame[at + 1] = static_cast<std::byte>(value);
}
void put32(Frame& frame, size_t at, uint32_t value) {
  put16(frame, at, value >> 16);
  put16(frame, at + 2, value & 0xffff);
}
uint32_t get16(const Frame& frame, size_t at) {
  return (static_cast<uint32_t>(frame[at]) << 8) | static_cast<uint32_t>(frame[at + 1]);
}

/// RFC 1071, word by word.
uint32_t add_words(const Frame& frame, size_t from, size_t to, uint32_t sum) {
  for (size_t i = from; i < to; i += 2) {
    sum += static_cast<uint32_t>(frame[i]) << 8;
    if (i + 1 < to) sum += static_cast<uint32_t>(frame[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

void fill_checksums(Frame& frame, size_t l2, bool ipv6) {
  const size_t tcp = l2 + (ipv6 ? 40 : 20);
  if (!ipv6) {
    put16(frame, l2 + 10, 0);
    put16(frame, l2 + 10, ~add_words(frame, l2, l2 + 20, 0) & 0xffff);
  }
  const size_t addresses = ipv6 ? l2 + 8 : l2 + 12;
  uint32_t sum = add_words(frame, addresses, addresses + (ipv6 ? 32 : 8), 6);
  sum += static_cast<uint32_t>(frame.size() - tcp);
  put16(frame, tcp + 16, 0);
  put16(frame, tcp + 16, ~add_words(frame, tcp, frame.size(), sum) & 0xffff);
}

/// Ethernet, IP and TCP headers (with a timestamp option), lengths and checksums left open.
Frame headers_of(const TrainShape& shape) {
  const size_t l2 = shape.vlan ? 18 : 14;
  const size_t l3 = shape.ipv6 ? 40 : 20;
  Frame frame(l2 + l3 + 32);
  for (size_t i = 0; i < 12; ++i) frame[i] = static_cast<std::byte>(0x02 + i);
  frame[0] = std::byte{0x02};
  if (shape.vlan) {
    put16(frame, 12, 0x8100);
    put16(frame, 14, 42);
  }
  put16(frame, l2 - 2, shape.ipv6 ? 0x86dd : 0x0800);
  if (shape.ipv6) {
    put32(frame, l2, 0x6000'0000);
    frame[l2 + 6] = std::byte{6};
    frame[l2 + 7] = std::byte{64};
    for (size_t i = 0; i < 32; ++i) frame[l2 + 8 + i] = static_cast<std::byte>(0x20 + i);
  } else {
    put32(frame, l2, 0x4500'0000);
    put32(frame, l2 + 4, 0x1234'4000);
    put32(frame, l2 + 8, 0x4006'0000);
    put32(frame, l2 + 12, 0x0a00'0001);
    put32(frame, l2 + 16, 0x0a00'0002);
  }
  const size_t tcp = l2 + l3;
  put16(frame, tcp, shape.source_port);
  put16(frame, tcp + 2, 40000);
  put32(frame, tcp + 4, shape.sequence);
  put32(frame, tcp + 8, 0x0102'0304);
  put16(frame, tcp + 12, 0x8000u | shape.flags);
  put16(frame, tcp + 14, 0xfff0);
  put32(frame, tcp + 20, 0x0101'080a);
  put32(frame, tcp + 24, 77);
  put32(frame, tcp + 28, 88);
  return frame;
}

void fill_lengths(Frame& frame, size_t l2, bool ipv6) {
  if (ipv6) {
    put16(frame, l2 + 4, static_cast<uint32_t>(frame.size() - l2 - 40));
  } else {
    put16(frame, l2 + 2, static_cast<uint32_t>(frame.size() - l2));
  }
}

uint16_t port_id(const std::string& device) {
  uint16_t id = 0;
  EXPECT_EQ(rte_eth_dev_get_port_by_name(device.c_str(), &id), 0) << device;
  return id;
}

}  // namespace

Eal& eal() {
  static Eal* started = start_eal();
  return *started;
}

bool has_own_namespace() {
  (void)eal();
  return own_namespace;
}

Worker::Worker(uint32_t lcore)
    : lcore_(lcore), memory_(size_t{chunk_count} * chunk_bytes + head_slots * 1024) {
  uint32_t value = 1;
  for (std::byte& byte : memory_) {
    value = value * 1664525 + 1013904223;
    byte = static_cast<std::byte>(value >> 24);
  }
}

content::ArenaView Worker::view() {
  return {memory_.data(), chunk_count, chunk_bytes,
          memory_.data() + size_t{chunk_count} * chunk_bytes, head_slots};
}

content::Extent extent(uint32_t chunk, uint32_t offset, uint32_t length) {
  return {content::ChunkIndex(chunk), offset, length};
}

wire::TxFrame make_train(const TrainShape& shape) {
  wire::TxFrame train;
  train.clear();
  for (const content::Extent& piece : shape.payload) {
    EXPECT_TRUE(train.payload.push_back(piece));
    train.payload_length += piece.length_bytes;
  }
  Frame header = headers_of(shape);
  const size_t l2 = shape.vlan ? 18 : 14;
  const size_t whole = header.size() + train.payload_length - l2;
  if (shape.ipv6) {
    put16(header, l2 + 4, static_cast<uint32_t>(whole - 40));
  } else {
    put16(header, l2 + 2, static_cast<uint32_t>(whole));
  }
  std::copy(header.begin(), header.end(), train.header.begin());
  train.header_length = static_cast<uint16_t>(header.size());
  train.l2_length = static_cast<uint8_t>(l2);
  train.l3_length = shape.ipv6 ? 40 : 20;
  train.l4_length = 32;
  train.is_ipv6 = shape.ipv6;
  train.segment_size = shape.segment_size;
  return train;
}

std::vector<Frame> frames_of(const wire::TxFrame& train, Worker& worker) {
  Frame payload;
  for (const content::Extent& piece : train.payload) {
    const MutableBytes bytes = worker.view().bytes(piece);
    payload.insert(payload.end(), bytes.begin(), bytes.end());
  }
  std::vector<Frame> frames;
  const size_t tcp = size_t{train.l2_length} + train.l3_length;
  size_t at = 0;
  do {
    const size_t length = std::min<size_t>(train.segment_size, payload.size() - at);
    Frame frame(train.header.begin(), train.header.begin() + train.header_length);
    frame.insert(frame.end(), payload.begin() + static_cast<ptrdiff_t>(at),
                 payload.begin() + static_cast<ptrdiff_t>(at + length));
    const uint32_t sequence = (get16(frame, tcp + 4) << 16) | get16(frame, tcp + 6);
    put32(frame, tcp + 4, sequence + static_cast<uint32_t>(at));
    at += length;
    if (at < payload.size()) frame[tcp + 13] &= std::byte{0xf6};  // not FIN, not PSH
    fill_lengths(frame, train.l2_length, train.is_ipv6);
    fill_checksums(frame, train.l2_length, train.is_ipv6);
    frames.push_back(std::move(frame));
  } while (at < payload.size());
  return frames;
}

Frame with_identification(Frame frame, uint16_t identification) {
  Frame summed = frame;
  fill_checksums(summed, 14, false);
  if (summed != frame) return {};
  put16(frame, 14 + 4, identification);
  fill_checksums(frame, 14, false);
  return frame;
}

Frame bytes_of(const rte_mbuf& mbuf) {
  Frame bytes;
  for (const rte_mbuf* part = &mbuf; part != nullptr; part = part->next) {
    const auto* data = rte_pktmbuf_mtod(part, const std::byte*);
    bytes.insert(bytes.end(), data, data + part->data_len);
  }
  return bytes;
}

std::vector<rte_mbuf*> take_raw(const std::string& device, uint16_t queue) {
  std::vector<rte_mbuf*> all;
  rte_mbuf* mbufs[64];
  while (const uint16_t count = rte_eth_rx_burst(port_id(device), queue, mbufs, 64)) {
    all.insert(all.end(), mbufs, mbufs + count);
  }
  return all;
}

std::vector<Frame> take_frames(const std::string& device, uint16_t queue) {
  std::vector<Frame> frames;
  for (rte_mbuf* mbuf : take_raw(device, queue)) {
    frames.push_back(bytes_of(*mbuf));
    rte_pktmbuf_free(mbuf);
  }
  return frames;
}

void put_frame(const std::string& device, const Frame& frame) {
  static std::atomic<rte_mempool*> pool{nullptr};
  if (pool == nullptr) {
    pool = rte_pktmbuf_pool_create("test_rx", 2047, 32, 0, 2048 + 128, SOCKET_ID_ANY);
  }
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
  ASSERT_NE(mbuf, nullptr);
  std::memcpy(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size())), frame.data(),
              frame.size());
  ASSERT_EQ(rte_eth_tx_burst(port_id(device), 0, &mbuf, 1), 1);
}

Frame tcp_segment(uint16_t source_port) {
  Frame frame = headers_of({.source_port = source_port});
  fill_lengths(frame, 14, false);
  fill_checksums(frame, 14, false);
  return frame;
}

Frame arp_request() {
  Frame frame(60);
  std::fill(frame.begin(), frame.begin() + 6, std::byte{0xff});
  put16(frame, 12, 0x0806);
  put32(frame, 14, 0x0001'0800);
  put32(frame, 18, 0x0604'0001);
  return frame;
}

Frame icmp_echo() {
  Frame frame = headers_of({});
  frame.resize(14 + 20 + 8);
  frame[14 + 9] = std::byte{1};
  frame[14 + 20] = std::byte{8};
  fill_lengths(frame, 14, false);
  return frame;
}

ChangedProfiles::ChangedProfiles(const std::string& profile,
                                 const std::vector<std::pair<std::string, std::string>>& changes) {
  static int number = 0;
  path_ = (fs::temp_directory_path() /
           ("sluice-edge-" + std::to_string(getpid()) + "-" + std::to_string(number++)))
              .string();
  fs::create_directories(path_);
  std::ifstream file(fs::path(source_drivers_directory) / (profile + ".toml"));
  std::stringstream read;
  read << file.rdbuf();
  std::string text = read.str();
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
  }
  std::ofstream(fs::path(path_) / (profile + ".toml")) << text;
}

ChangedProfiles::~ChangedProfiles() {
  fs::remove_all(path_);
}

std::unique_ptr<Port> start_port(const std::string& spec, const PortOptions& options,
                                 std::vector<std::unique_ptr<Worker>>& workers) {
  (void)eal();
  auto port = Port::open(parse_port_spec(spec, 0).value(), options);
  if (!port) {
    ADD_FAILURE() << port.error().message;
    return nullptr;
  }
  std::vector<WorkerEnd> ends;
  for (auto& worker : workers) ends.push_back(worker->end());
  if (auto started = (*port)->start(ends, {}); !started) {
    ADD_FAILURE() << started.error().message;
    return nullptr;
  }
  return std::move(*port);
}

}  // namespace sluice::nic::test
