// What the engine costs: per received ACK, per sent frame, per keep-alive request, per whole
// connection, and the bytes that a connection takes. Cycles are time-stamp counter ticks around the
// engine's calls alone.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "cycles.h"
#include "engine_harness.h"

namespace sluice::perf {
namespace {

constexpr std::string_view get_large = "GET /large HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";
constexpr std::string_view get_small =
    "GET /small HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
constexpr uint32_t mss = 1448;

// A connection in the middle of a large response, its window open and everything in the arena.
void start_download(EngineHarness& harness, Peer& peer) {
  harness.open(peer);
  harness.receive(harness.segment(peer, EngineHarness::ack, get_large));
  for (int i = 0; i < 1000; ++i) {
    harness.exchange();
    harness.advance(Duration::from_us(100));
    harness.engine().handle_timeout(harness.now());
    while (harness.send()) {
    }
    harness.receive(harness.segment(peer, EngineHarness::ack));
    if (harness.engine().tcp().usage().connections == 0) return;
    if (i > 20) return;
  }
}

// Downloads in turn, so that lookups and state are not always in the nearest cache.
void received_acks(benchmark::State& state) {
  const auto connections = static_cast<uint32_t>(state.range(0));
  EngineHarness harness({.connections_max = connections + 16});
  std::vector<Peer> peers(connections);
  for (uint32_t i = 0; i < connections; ++i) {
    peers[i] = {.address = 0x0a000002, .port = static_cast<uint16_t>(1024 + i)};
    start_download(harness, peers[i]);
  }
  Cycles cycles;
  double acks = 0;
  std::vector<EngineHarness::Frame> burst;
  std::vector<uint32_t> acknowledged;
  for (const Peer& peer : peers) acknowledged.push_back(peer.rcv_nxt);
  for (auto _ : state) {
    for (Peer& peer : peers) {
      // What is in flight is acknowledged two segments at a time.
      const uint32_t from = acknowledged[static_cast<size_t>(&peer - peers.data())];
      while (harness.send()) {
      }
      const uint32_t to = peer.rcv_nxt;
      burst.clear();
      for (uint32_t at = from; at != to && burst.size() < 32;) {
        at += std::min(2 * mss, to - at);
        peer.rcv_nxt = at;
        burst.push_back(harness.segment(peer, EngineHarness::ack));
      }
      peer.rcv_nxt = to;
      acknowledged[static_cast<size_t>(&peer - peers.data())] = to;
      if (burst.empty()) {  // the file has ended: ask again
        harness.receive(harness.segment(peer, EngineHarness::ack, get_large));
        harness.exchange();
        continue;
      }
      harness.advance(Duration::from_us(10));
      cycles.start();
      for (const auto& frame : burst) harness.receive(frame);
      cycles.stop();
      acks += static_cast<double>(burst.size());
      harness.receive(harness.segment(peer, EngineHarness::ack));
    }
    harness.exchange();
    harness.engine().handle_timeout(harness.now());
  }
  cycles.report(state, "cycles/ack", acks);
}
BENCHMARK(received_acks)->Arg(1)->Arg(64)->Arg(512);

void sent_frames(benchmark::State& state) {
  const auto train_bytes = static_cast<uint32_t>(state.range(0));
  EngineHarness harness({.train_max_bytes = train_bytes});
  Peer peer{.address = 0x0a000002, .port = 5000};
  start_download(harness, peer);
  Cycles cycles;
  double frames = 0, segments = 0;
  for (auto _ : state) {
    harness.advance(Duration::from_us(50));
    harness.engine().handle_timeout(harness.now());
    harness.receive(harness.segment(peer, EngineHarness::ack));
    harness.exchange();
    bool any = false;
    for (;;) {
      cycles.start();
      const bool sent = harness.poll();
      cycles.stop();
      if (!sent) break;
      harness.complete(harness.sent());
      const wire::TxFrame& frame = harness.sent();
      const std::byte* tcp = frame.header.data() + frame.l2_length + frame.l3_length;
      peer.rcv_nxt = load_be32(tcp + 4) + frame.payload_length;
      any = true;
      frames += 1;
      segments += frame.frame_count();
    }
    if (!any) harness.receive(harness.segment(peer, EngineHarness::ack, get_large));
  }
  cycles.report(state, "cycles/described", frames);
  cycles.report(state, "cycles/segment", segments);
  state.counters["segments/described"] = segments / frames;
}
BENCHMARK(sent_frames)->Arg(65'000)->Arg(mss);

void keep_alive_requests(benchmark::State& state) {
  const auto connections = static_cast<uint32_t>(state.range(0));
  EngineHarness harness({.connections_max = connections + 16});
  std::vector<Peer> peers(connections);
  for (uint32_t i = 0; i < connections; ++i) {
    peers[i] = {.address = 0x0a000002, .port = static_cast<uint16_t>(1024 + i)};
    harness.open(peers[i]);
  }
  harness.receive(harness.segment(peers[0], EngineHarness::ack, get_small));
  for (int i = 0; i < 4; ++i) {
    harness.exchange();
    while (harness.send()) {
    }
  }
  Cycles cycles;
  double requests = 0;
  for (auto _ : state) {
    for (Peer& peer : peers) {
      const auto frame = harness.segment(peer, EngineHarness::ack | EngineHarness::psh, get_small);
      harness.advance(Duration::from_us(1));
      cycles.start();
      harness.receive(frame);
      harness.engine().handle_timeout(harness.now());
      const bool sent = harness.poll();
      cycles.stop();
      if (!sent) {
        state.SkipWithError("no answer");
        return;
      }
      harness.complete(harness.sent());
      const wire::TxFrame& out = harness.sent();
      const std::byte* tcp = out.header.data() + out.l2_length + out.l3_length;
      peer.rcv_nxt = load_be32(tcp + 4) + out.payload_length;
      requests += 1;
    }
  }
  cycles.report(state, "cycles/request", requests);
}
BENCHMARK(keep_alive_requests)->Arg(1)->Arg(64)->Arg(1024);

void whole_connections(benchmark::State& state) {
  EngineHarness harness({.connections_max = 1024});
  Peer warm{.address = 0x0a000002, .port = 999};
  harness.open(warm);
  harness.receive(harness.segment(warm, EngineHarness::ack, get_small));
  for (int i = 0; i < 4; ++i) {
    harness.exchange();
    while (harness.send()) {
    }
  }
  Cycles cycles;
  double connections = 0;
  uint16_t port = 1024;
  for (auto _ : state) {
    Peer peer{.address = 0x0a000002, .port = ++port};
    if (port == 65'000) port = 1024;
    const auto step = [&](uint8_t flags, std::string_view payload) {
      const auto frame = harness.segment(peer, flags, payload);
      harness.advance(Duration::from_us(1));
      cycles.start();
      harness.receive(frame);
      harness.engine().handle_timeout(harness.now());
      cycles.stop();
      for (;;) {
        cycles.start();
        const bool sent = harness.poll();
        cycles.stop();
        if (!sent) break;
        harness.complete(harness.sent());
        const wire::TxFrame& out = harness.sent();
        const std::byte* tcp = out.header.data() + out.l2_length + out.l3_length;
        const uint8_t out_flags = load_u8(tcp + 13);
        peer.rcv_nxt = load_be32(tcp + 4) + out.payload_length + ((out_flags & 3) != 0 ? 1 : 0);
      }
    };
    // What a client of one request does: open, ask, close first.
    step(EngineHarness::syn, {});
    step(EngineHarness::ack, get_small);
    step(EngineHarness::ack | EngineHarness::fin, {});
    step(EngineHarness::ack, {});
    connections += 1;
  }
  cycles.report(state, "cycles/connection", connections);
  state.counters["left_open"] = static_cast<double>(harness.engine().tcp().connection_count()) - 1;
}
BENCHMARK(whole_connections);

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// A million keep-alive connections in one engine, each of which has had one response: what the
// process grew by.
void million_idle_connections(benchmark::State& state) {
  constexpr uint32_t connections = 1'000'000;
  constexpr uint32_t per_address = 50'000;
  for (auto _ : state) {
    const double before = resident_bytes();
    EngineHarness harness({.connections_max = connections, .send_queues = 1024});
    const double reserved = resident_bytes();
    for (uint32_t i = 0; i < connections; ++i) {
      Peer peer{.address = 0x0a000002 + i / per_address,
                .port = static_cast<uint16_t>(1024 + i % per_address)};
      harness.open(peer);
      harness.receive(harness.segment(peer, EngineHarness::ack | EngineHarness::psh, get_small));
      for (int turn = 0; turn < 2; ++turn) {
        harness.exchange();
        while (harness.send()) {
        }
      }
      harness.receive(harness.segment(peer, EngineHarness::ack));
      harness.advance(Duration::from_us(1));
      harness.engine().handle_timeout(harness.now());
      harness.forget(peer);
    }
    const engine::Snapshot end = harness.engine().snapshot();
    state.counters["connections"] = static_cast<double>(end.connections);
    state.counters["sending"] = static_cast<double>(end.send_queues);
    const double grown = resident_bytes() - before - static_cast<double>(harness.arena_bytes());
    state.counters["bytes/idle"] = grown / connections;
    state.counters["grown_after_start"] = resident_bytes() - reserved;
  }
}
BENCHMARK(million_idle_connections)->Iterations(1)->Unit(benchmark::kSecond);

// Bytes reserved for one more connection: idle, and while it has something unacknowledged.
void connection_memory(benchmark::State& state) {
  const http::MediaTypes media_types("");
  const content::ArenaView arena{
      .chunk_count = 64, .chunk_bytes = 2 << 20, .head_slot_count = 4096};
  constexpr uint32_t n = 1 << 16;
  const auto bytes = [&](uint32_t connections, uint32_t queues) {
    engine::Config config =
        harness_config({.connections_max = connections, .send_queues = queues}, media_types);
    config.tcp.max_half_open = 1024;
    return static_cast<double>(engine::Engine::memory_bytes(config, arena));
  };
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes(n, n));
  }
  state.counters["bytes/idle"] = (bytes(2 * n, n) - bytes(n, n)) / n;
  state.counters["bytes/send_queue"] = (bytes(2 * n, 2 * n) - bytes(2 * n, n)) / n;
}
BENCHMARK(connection_memory);

}  // namespace
}  // namespace sluice::perf
