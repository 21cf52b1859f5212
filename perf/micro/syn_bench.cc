// What a SYN costs, remembered or answered with a cookie, and what the third packet of a handshake
// costs that nobody remembers. Cycles are time-stamp counter ticks around the engine's calls alone;
// checksums are taken as verified by the NIC.

#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "cycles.h"
#include "engine_harness.h"

namespace sluice::perf {
namespace {

constexpr uint32_t address = 0x0a000002;
constexpr uint16_t first_port = 2048;
constexpr size_t burst = 32;
constexpr uint32_t table = 1024;
// Where the acknowledgement number and the echoed timestamp lie in a frame of EngineHarness.
constexpr size_t acknowledgement_at = 14 + 20 + 8;
constexpr size_t echo_at = 14 + 20 + 20 + 8;

enum Mode : int64_t { remembered, cookies };

class Flood {
 public:
  explicit Flood(Mode mode) : harness_({.connections_max = 2 * table}) {
    // The next hop is known, and with cookies the table is as full as it gets.
    Peer warm{.address = address, .port = 999};
    harness_.open(warm);
    if (mode == remembered) return;
    for (uint16_t i = 0; i < 2 * table; ++i) {
      Peer peer{.address = address, .port = static_cast<uint16_t>(60'000 + i)};
      harness_.receive(harness_.segment(peer, EngineHarness::syn));
      while (harness_.poll()) harness_.complete(harness_.sent());
    }
  }

  EngineHarness& harness() { return harness_; }

  std::vector<EngineHarness::Frame> syns() {
    std::vector<EngineHarness::Frame> frames;
    peers_.clear();
    for (size_t i = 0; i < burst; ++i) {
      port_ = port_ < 50'000 ? static_cast<uint16_t>(port_ + 1) : first_port;
      peers_.push_back({.address = address, .port = port_, .snd_nxt = ++sequence_ * 1000});
      frames.push_back(harness_.segment(peers_.back(), EngineHarness::syn));
    }
    return frames;
  }

  // Takes the SYN-ACK that was polled last.
  void take_answer(size_t i) {
    const std::byte* tcp = harness_.sent().header.data() + 14 + 20;
    peers_[i].rcv_nxt = load_be32(tcp + 4) + 1;
    echoes_[i] = load_be32(tcp + 28);  // behind MSS and SACK permitted
  }

  std::vector<EngineHarness::Frame> acks(uint32_t off_by) {
    std::vector<EngineHarness::Frame> frames;
    for (size_t i = 0; i < burst; ++i) {
      frames.push_back(harness_.segment(peers_[i], EngineHarness::ack));
      store_be32(frames.back().data() + acknowledgement_at, peers_[i].rcv_nxt + off_by);
      store_be32(frames.back().data() + echo_at, echoes_[i]);
    }
    return frames;
  }

  void reset_all() {
    for (Peer& peer : peers_) harness_.receive(harness_.segment(peer, EngineHarness::rst));
    drain();
  }
  void drain() {
    harness_.engine().handle_timeout(harness_.now());
    while (harness_.poll()) harness_.complete(harness_.sent());
  }

 private:
  EngineHarness harness_;
  std::vector<Peer> peers_;
  std::array<uint32_t, burst> echoes_{};
  uint16_t port_ = first_port;
  uint32_t sequence_ = 1;
};

void syn_flood(benchmark::State& state) {
  const auto mode = static_cast<Mode>(state.range(0));
  Flood flood(mode);
  EngineHarness& harness = flood.harness();
  Cycles in;
  Cycles out;
  double syns = 0;
  double answers = 0;
  for (auto _ : state) {
    const auto frames = flood.syns();
    harness.advance(Duration::from_us(10));
    in.start();
    for (const auto& frame : frames) harness.receive(frame);
    in.stop();
    syns += burst;
    for (bool more = true; more;) {
      out.start();
      more = harness.poll();
      out.stop();
      if (more) {
        harness.complete(harness.sent());
        answers += 1;
      }
    }
    if (mode == remembered) flood.reset_all();
  }
  in.report(state, "cycles/syn", syns);
  out.report(state, "cycles/syn_ack", answers);
  state.counters["answered"] = answers / syns;
  state.counters["half_open"] = harness.engine().tcp().usage().half_open;
}
BENCHMARK(syn_flood)->ArgName("cookies")->Arg(remembered)->Arg(cookies);

// Good ones, each of which makes a connection; then forged ones, each of which is refused.
void cookie_acks(benchmark::State& state) {
  const bool forged = state.range(0) != 0;
  Flood flood(cookies);
  EngineHarness& harness = flood.harness();
  Cycles cycles;
  double acks = 0;
  const uint32_t before = harness.engine().tcp().connection_count();
  double opened = 0;
  for (auto _ : state) {
    for (const auto& frame : flood.syns()) harness.receive(frame);
    for (size_t i = 0; i < burst && harness.poll(); ++i) flood.take_answer(i);
    const auto frames = flood.acks(forged ? 0x1234'0000 : 0);
    harness.advance(Duration::from_us(10));
    cycles.start();
    for (const auto& frame : frames) harness.receive(frame);
    cycles.stop();
    acks += burst;
    opened += harness.engine().tcp().connection_count() - before;
    flood.reset_all();
  }
  cycles.report(state, "cycles/ack", acks);
  state.counters["opened"] = opened / acks;
}
BENCHMARK(cookie_acks)->ArgName("forged")->Arg(0)->Arg(1);

}  // namespace
}  // namespace sluice::perf
