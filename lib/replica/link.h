// Link: one connection to one peer, as frames: handshake, tags, running numbers, credits, pings.
//
//   both     Hello          ids, epochs, nonces, what must be the same on both sides
//   dialler  Proof          HMAC-SHA256 under the cluster key over both Hellos and the role; the
//   acceptor Proof          dialler's first, so that who merely dials learns nothing to guess with
//   both     anything else  tagged under a session key of each direction, numbered from 1
//
// Credits: of the frames_in_flight_max frames that may be unacknowledged, the last two are kept for
// frames that carry nothing but credit, so that two sides that both have much to say never wait for
// each other.
//
// Pure. One link; which peer it leads to, and whether it stays, is the Sessions' business.
#pragma once

#include <array>
#include <cstdint>

#include "base/time.h"
#include "replica/frame.h"
#include "replica/mover.h"
#include "replica/node_config.h"

namespace sluice::replica {

/// Frames that may carry something, of frames_in_flight_max.
inline constexpr uint32_t messages_in_flight_max = frames_in_flight_max - 2;

class Link {
 public:
  enum class State : uint8_t {
    free,
    greeting,  // Hello goes out, the peer's is awaited
    greeted,   // the peer's Hello came: accept() or close() is to follow
    proving,   // its Proof is awaited
    up,        // authenticated
    closing,   // Close is to be posted, after the Bye
    closed,    // Close was posted
  };

  /// Requires: free. `nonce` was never used before.
  void open(Instant now, const LinkUp& up, const Hello& own);
  void reset() { *this = Link{}; }

  /// What a frame meant.
  enum class Input : uint8_t {
    nothing,
    greeted,   // peer() is valid now: accept() it, or close()
    proven,    // the link is up
    message,   // Want, Refuse, Cancel, PieceBad or RecordPart: in `body`
    bye,       // the peer closes: bye_of_peer() says why
    violation  // the link is closing: close_reason() says why
  };
  [[nodiscard]] Input handle_frame(Instant now, const Frame& frame, const NodeConfig& config,
                                   Body& body);
  /// Requires: greeted.
  void accept(const NodeConfig& config);
  /// Ends the link, with a Bye where one can be sent.
  void close(CloseReason reason);
  /// Looks at the clock: closes what is silent, notes that a Ping is due.
  void handle_timeout(Instant now, const NodeConfig& config);
  [[nodiscard]] Instant next_timeout(const NodeConfig& config) const;

  /// The link's own posts: Hello, Proof, Bye, Close, pings, credit.
  [[nodiscard]] bool poll_post(Instant now, Post& out);
  /// Whether a message can be sent now.
  [[nodiscard]] bool can_send() const {
    return state_ == State::up && is_tagging_ && in_flight() < messages_in_flight_max;
  }
  /// Requires: can_send().
  void send(const Body& body, Post& out);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  [[nodiscard]] const LinkId& id() const { return id_; }
  [[nodiscard]] const LinkUp& facts() const { return facts_; }
  [[nodiscard]] const Hello& peer() const { return peer_; }
  [[nodiscard]] CloseReason close_reason() const { return close_reason_; }
  [[nodiscard]] CloseReason bye_of_peer() const { return bye_of_peer_; }
  /// Smoothed round trip of pings; zero: none came back yet.
  [[nodiscard]] Duration srtt() const { return srtt_; }
  [[nodiscard]] Instant opened_at() const { return opened_at_; }
  [[nodiscard]] uint32_t in_flight() const { return sent_ - credited_; }
  /// Frames so far, modulo 2^32; and how many of them the peer has taken.
  [[nodiscard]] uint32_t frames_sent() const { return sent_; }
  [[nodiscard]] uint32_t frames_credited() const { return credited_; }

 private:
  [[nodiscard]] Input violation(CloseReason reason);
  [[nodiscard]] Input handle_greeting(Instant now, const Frame& frame, const NodeConfig& config,
                                      const Body& body);
  [[nodiscard]] std::array<std::byte, 32> proof(const NodeConfig& config, bool of_dialler) const;
  void emit_frame(const Body& body, Post& out);

  State state_ = State::free;
  LinkId id_;
  LinkUp facts_;
  Hello own_;
  Hello peer_;
  std::array<std::byte, frame_body_bytes> own_hello_{};   // as sent
  std::array<std::byte, frame_body_bytes> peer_hello_{};  // as it came
  std::array<std::byte, 32> own_proof_{};
  SipKey send_key_;              // once is_tagging_
  SipKey receive_key_;           // once up
  uint64_t send_number_ = 0;     // of the last tagged frame
  uint64_t receive_number_ = 0;  // likewise
  uint32_t sent_ = 0;            // frames, modulo 2^32
  uint32_t credited_ = 0;        // of those, taken by the peer
  uint32_t taken_ = 0;           // of the peer's
  uint32_t advertised_ = 0;      // of those, told
  bool hello_due_ = false;
  bool proof_due_ = false;
  bool ping_due_ = false;
  bool pong_due_ = false;
  bool bye_due_ = false;
  bool is_tagging_ = false;  // our Proof was sent: what follows is tagged
  uint64_t pong_of_ns_ = 0;
  CloseReason close_reason_ = CloseReason::none;
  CloseReason bye_of_peer_ = CloseReason::none;
  Instant opened_at_;
  Instant heard_at_;
  Instant pinged_at_;
  Duration srtt_;
};

}  // namespace sluice::replica
