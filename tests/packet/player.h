// Player: runs a Script against a Stack.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "bench.h"
#include "script.h"

namespace sluice::packet {

/// Scripts tell what leaves, not how it is spread over the round trip: those that do say `config
/// pacing on`.
[[nodiscard]] inline tcp::Config unpaced() {
  tcp::Config config;
  config.pacing = false;
  return config;
}

/// What a script's `config` lines ask for.
struct Staging {
  tcp::Config config = unpaced();
  bool ipv6 = false;
  bool consume_manually = false;
  bool hold_pieces = false;
};
/// Returns: false with a message in `error`.
[[nodiscard]] bool make_staging(const Script& script, Staging& out, std::string& error);

class Player {
 public:
  explicit Player(const Staging& staging);

  /// Returns: an empty string, or what went wrong and at which line, with all packets so far.
  [[nodiscard]] std::string play(const Script& script);

 private:
  // One incarnation of a peer: what its relative numbers stand for.
  struct Peer {
    uint16_t port = 40'000;
    uint16_t local_port = 80;
    uint32_t isn = 0xffff'fe00;  // wraps after 512 bytes
    uint32_t local_isn = 0;      // known from the SYN-ACK on
    bool local_isn_known = false;
    uint32_t timestamp_base = 0;
    bool timestamp_base_known = false;
    uint64_t received = 0;  // bytes that the session consumed
    uint64_t queued = 0;    // bytes that it sent
    uint32_t window_bytes = 0;
    uint8_t window_scale = 0;
    tcp::ConnectionIndex connection;
  };

  void step(const Step& step);
  void inject(const PacketSpec& packet);
  void inject_one(const PacketSpec& packet);
  void expect(const PacketSpec& packet, Instant earliest);
  void expect_train(const PacketSpec& packet);
  [[nodiscard]] PacketSpec describe(const Sent& sent);
  [[nodiscard]] std::string mismatch(const PacketSpec& expected, const PacketSpec& actual) const;
  void check_payload(const Sent& sent);
  void session_reads(const tcp::Received& received);
  void verify(Bytes readable);
  Sent take_sent();
  void after_call();

  // Actions: one function a verb.
  void act(const std::vector<std::string>& words);
  void act_accept();
  void act_send(const std::vector<std::string>& words);
  void act_read(const std::vector<std::string>& words);
  void act_peer(const std::vector<std::string>& words);
  void act_icmp(const std::vector<std::string>& words);
  void act_flood(const std::vector<std::string>& words);
  void act_syn_flood(uint32_t count);
  void act_expect(const std::vector<std::string>& words);
  void expect_event(const std::vector<std::string>& words);
  void expect_number(const std::vector<std::string>& words);
  [[nodiscard]] uint64_t measure(const std::string& what);

  [[nodiscard]] tcp::Flow flow() const;
  void fail(const std::string& why);
  void log(const char* direction, const PacketSpec& packet);
  [[nodiscard]] std::string history() const;

  Staging staging_;
  Bench bench_;
  Peer peer_;
  std::array<std::byte, wire::TcpOptions::fast_open_bytes_max> cookie_{};  // the last that came
  Instant due_;  // when the step before was due, or happened
  std::string failure_;
  std::deque<std::string> log_;
};

}  // namespace sluice::packet
