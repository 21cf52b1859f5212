// World: one engine, content without a Store (ContentSource), and any number of reference clients
// on one pair of links, under one virtual clock and one seed. For tests of the engine alone; with
// the Store and a disk, and several engines: cluster.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "content_source.h"
#include "engine/engine.h"
#include "link.h"
#include "reference_client.h"

namespace sluice::sim {

struct WorldOptions {
  uint64_t seed = 1;
  bool ipv6 = false;
  uint16_t mtu = 1500;
  uint32_t chunk_count = 16;
  uint32_t chunk_bytes = 64 * 1024;
  uint32_t head_slots = 64;
  uint32_t connections_max = 64;
  uint32_t receive_buffers = 0;  // 0: one for each connection
  uint32_t send_queues = 0;      // 0: one for each connection
  int64_t slot_patience_ns = 1'000'000'000'000;
  LinkOptions link;
  int64_t content_delay_ns = 50'000;
  tcp::CongestionAlgorithm congestion = tcp::CongestionAlgorithm::cubic;
  bool clients_answer_neighbors = true;
};

class World {
 public:
  explicit World(const WorldOptions& options);

  [[nodiscard]] ContentSource& content() { return content_; }
  /// For getters and control; frames, messages and time are the world's.
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] stats::Counters& counters() { return *counters_; }
  [[nodiscard]] const content::ChunkPins& pins() const { return *pins_; }
  [[nodiscard]] int64_t now_ns() const { return now_ns_; }

  /// A client that has sent its SYN.
  ReferenceClient& connect(const ClientOptions& options = {});
  /// While it is, nothing that is sent arrives.
  void set_partitioned(bool partitioned) { partitioned_ = partitioned; }
  /// Clients that are done with, and whatever is on its way to them, are of no interest any more.
  void forget_clients();
  /// A raw frame from the client's side of the link.
  void inject(Frame frame) { deliver_later(std::move(frame), true); }

  /// Runs until `done()` or until `limit_ns` of virtual time have passed. Returns whether done.
  template <typename Done>
  bool run_until(Done done, int64_t limit_ns = 60'000'000'000) {
    const int64_t end = now_ns_ + limit_ns;
    while (!done()) {
      if (now_ns_ >= end) return false;
      step(end);
    }
    return true;
  }
  void run_for(int64_t ns) {
    run_until([] { return false; }, ns);
  }

  /// Frames that left the engine but were for no client (ARP, ICMP, RST to strangers); newest last.
  [[nodiscard]] const std::vector<Frame>& strays() const { return strays_; }
  [[nodiscard]] uint64_t frames_sent() const { return frames_sent_; }
  [[nodiscard]] const HostAddress& client_address() const { return client_address_; }
  [[nodiscard]] const HostAddress& server_address() const { return server_address_; }
  /// All violations of all clients, joined.
  [[nodiscard]] std::string violations() const;

 private:
  void step(int64_t end_ns);
  void turn();
  void emit(const wire::TxFrame& frame);
  void deliver_later(Frame frame, bool to_server);
  void arrive(const Frame& frame, bool to_server);
  void pump_clients();
  [[nodiscard]] Instant instant() const { return Instant::from_ns(now_ns_); }

  WorldOptions options_;
  Prng prng_;
  Link down_, up_;  // the rate limits what goes down only
  int64_t now_ns_ = 1'000'000'000;
  HostAddress client_address_, server_address_;
  std::vector<std::byte> memory_;
  content::ArenaView arena_;
  std::unique_ptr<stats::Counters> counters_;
  std::unique_ptr<content::ChunkPins> pins_;
  ContentSource content_;
  std::unique_ptr<http::MediaTypes> media_types_;
  std::unique_ptr<engine::Engine> engine_;
  std::vector<std::unique_ptr<ReferenceClient>> clients_;
  uint32_t clients_connected_ = 0;
  bool partitioned_ = false;
  std::string violations_before_;  // of clients that were forgotten
  std::multimap<int64_t, content::ToStore> asked_;
  std::vector<Frame> strays_;
  uint64_t frames_sent_ = 0;
};

}  // namespace sluice::sim
