// ReferenceClient: a small TCP client over raw Ethernet frames, written without any of lib/, so
// that both sides of a simulation do not share a mistake. It is the judge of what an engine puts on
// the wire: every header, length and checksum is verified, and a violation is recorded.
//
// It keeps up to the whole received stream in memory, acknowledges every second segment, offers
// SACK (with DSACK), timestamps and ECN if asked to, retransmits what it sent on a fixed timer. No
// congestion control: it sends little.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "raw_frames.h"

namespace sluice::sim {

struct ClientOptions {
  uint16_t mss = 1460;
  uint8_t window_scale = 7;
  uint32_t window_bytes = 1 << 20;
  bool sack = true;
  bool timestamps = true;
  bool dsack = true;
  bool ecn = false;    // offers it in the SYN
  bool dctcp = false;  // echoes marks as RFC 8257 says
  int64_t retransmit_ns = 200'000'000;
  int64_t delayed_ack_ns = 40'000'000;
};

enum class ClientState { closed, syn_sent, established, fin_sent, reset, done };

class ReferenceClient {
 public:
  ReferenceClient(const HostAddress& self, const HostAddress& server, uint16_t port,
                  uint16_t server_port, uint32_t initial_sequence,
                  const ClientOptions& options = {});

  void connect(int64_t now_ns);
  void send(int64_t now_ns, std::string_view bytes);
  /// FIN once everything sent so far is acknowledged or in flight.
  void close(int64_t now_ns);
  void abort(int64_t now_ns);
  /// Stops reading: the window closes as data arrives. resume() opens it again.
  void stall() { stalled_ = true; }
  void resume(int64_t now_ns);

  /// A frame that is addressed to this connection. Others are ignored.
  void handle_frame(int64_t now_ns, const Frame& frame);
  void handle_timeout(int64_t now_ns);
  [[nodiscard]] bool poll_frame(Frame& out);
  [[nodiscard]] int64_t next_timeout_ns() const;

  [[nodiscard]] uint16_t port() const { return port_; }
  /// What it sends and expects next.
  [[nodiscard]] uint32_t snd_nxt() const { return snd_nxt_; }
  [[nodiscard]] uint32_t rcv_nxt() const { return rcv_nxt_; }
  [[nodiscard]] ClientState state() const { return state_; }
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }
  [[nodiscard]] const std::string& received() const { return received_; }
  void forget_received() { received_.clear(); }
  [[nodiscard]] uint64_t received_bytes() const { return received_bytes_; }
  /// What the server did that no RFC allows; empty when all is well.
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] uint64_t segments_received() const { return segments_received_; }
  [[nodiscard]] uint64_t marks_received() const { return marks_received_; }
  [[nodiscard]] bool ecn_agreed() const { return ecn_ok_; }
  [[nodiscard]] uint64_t largest_frame() const { return largest_frame_; }

 private:
  struct Segment {
    uint32_t sequence = 0;
    std::string bytes;
    bool syn = false;
    bool fin = false;
  };

  // Distances from the first byte of the stream.
  struct Block {
    uint32_t left = 0;
    uint32_t right = 0;
  };

  void emit(uint8_t flags, uint32_t sequence, std::string_view payload);
  void send_ack();
  [[nodiscard]] std::vector<Block> sack_blocks(size_t most);
  [[nodiscard]] uint8_t ecn_flags(uint8_t flags) const;
  void note_congestion(bool marked, bool window_reduced);
  void note_duplicate(uint32_t at, uint32_t length);
  void arm(int64_t now_ns);
  void deliver(uint32_t sequence, std::string_view payload, bool fin);
  [[nodiscard]] uint32_t window() const;

  HostAddress self_, server_;
  uint16_t port_, server_port_;
  ClientOptions options_;
  ClientState state_ = ClientState::closed;
  uint32_t snd_una_, snd_nxt_;
  uint32_t rcv_nxt_ = 0;
  bool have_peer_ = false;
  bool sack_ok_ = false, timestamps_ok_ = false;
  uint8_t window_scale_ok_ = 0;
  uint32_t ts_recent_ = 0;
  int64_t now_ns_ = 0;
  bool stalled_ = false;
  uint32_t unread_ = 0;
  std::deque<Segment> unacknowledged_;
  std::map<uint32_t, std::string> out_of_order_;  // by distance from the first byte ever expected
  std::deque<uint32_t> recent_;                   // of those, the latest first
  Block duplicate_;                               // to be reported in the next ACK
  bool ecn_ok_ = false, echo_congestion_ = false;
  uint64_t marks_received_ = 0;
  uint32_t stream_start_ = 0;
  bool fin_seen_ = false;
  uint32_t fin_sequence_ = 0;
  bool peer_closed_ = false;
  int64_t retransmit_at_ns_ = INT64_MAX;
  int64_t ack_at_ns_ = INT64_MAX;
  uint32_t unacked_segments_ = 0;
  std::string received_;
  uint64_t received_bytes_ = 0;
  uint64_t segments_received_ = 0;
  uint64_t largest_frame_ = 0;
  std::deque<Frame> outbox_;
  std::vector<std::string> violations_;
};

}  // namespace sluice::sim
