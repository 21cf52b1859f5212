// EngineHarness: an engine with content in its arena and peers that are nothing but frame
// templates, so that a benchmark times the engine's calls alone.
//
// Received frames are marked as verified by the NIC: software checksums are timed by bench_wire.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "content_source.h"
#include "engine/engine.h"

namespace sluice::perf {

/// One client connection, as the wire shows it. Timestamps and SACK are negotiated, as Linux does.
struct Peer {
  uint32_t address = 0;
  uint16_t port = 0;
  uint32_t snd_nxt = 1000;
  uint32_t rcv_nxt = 0;
};

struct HarnessOptions {
  uint32_t connections_max = 1024;
  uint32_t train_max_bytes = 65'000;
  uint32_t send_queues = 0;  // 0: one for each connection
};

class EngineHarness {
 public:
  using Frame = std::vector<std::byte>;

  explicit EngineHarness(const HarnessOptions& options);

  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] size_t arena_bytes() const { return memory_.size(); }
  [[nodiscard]] Instant now() const { return now_; }
  void advance(Duration by) { now_ = now_ + by; }

  static constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
  /// A segment from the peer, with the acknowledgement and the window that it would have now.
  [[nodiscard]] Frame segment(Peer& peer, uint8_t flags, std::string_view payload = {});
  void receive(const Frame& frame) {
    engine_->handle_frame(now_, {.bytes = frame,
                                 .ip_checksum = wire::RxChecksum::good,
                                 .l4_checksum = wire::RxChecksum::good});
  }
  /// Frames for this peer are not followed any more.
  void forget(const Peer& peer) { peers_[peer.port] = nullptr; }
  /// The three-way handshake.
  void open(Peer& peer);
  /// Polls one frame and lets it complete at once; notes what the peer is to acknowledge. Returns
  /// false when there is none.
  bool send();
  /// Everything the Store would do.
  void exchange();
  /// The frame that send() polled last.
  [[nodiscard]] const wire::TxFrame& sent() const { return frame_; }
  void complete(const wire::TxFrame& frame);
  /// As send(), without completion and bookkeeping: what a benchmark times.
  [[nodiscard]] bool poll() { return engine_->poll_frame(now_, frame_); }

 private:
  Instant now_ = Instant::from_ns(1'000'000'000);
  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  std::unique_ptr<content::ChunkPins> pins_;
  sim::ContentSource source_;
  http::MediaTypes media_types_{""};
  stats::Counters counters_;
  std::unique_ptr<engine::Engine> engine_;
  wire::TxFrame frame_;
  std::vector<Peer*> peers_ = std::vector<Peer*>(65'536);  // by port: whose frames send() meets
};

/// The configuration of the harness, for figures of memory.
[[nodiscard]] engine::Config harness_config(const HarnessOptions& options,
                                            const http::MediaTypes& media_types);

}  // namespace sluice::perf
