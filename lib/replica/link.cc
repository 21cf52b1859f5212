#include "replica/link.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::replica {
namespace {

// A peer that has nothing to say sends Credit after so many frames of ours.
constexpr uint32_t credit_every = frames_in_flight_max / 4;

constexpr CloseReason close_reasons[] = {CloseReason::none,           CloseReason::frame_magic,
                                         CloseReason::frame_version,  CloseReason::frame_checksum,
                                         CloseReason::frame_reserved, CloseReason::frame_kind,
                                         CloseReason::frame_body};

// In time that does not depend on where the difference is.
bool is_equal(Bytes a, Bytes b) {
  std::byte difference{0};
  for (size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
  return difference == std::byte{0};
}

Sha256 keyed(const NodeConfig& config, std::string_view label, Bytes dialler, Bytes acceptor) {
  std::array<std::byte, 32 + 2 * frame_body_bytes> text{};
  ASSERT(label.size() <= 32);
  std::memcpy(text.data(), label.data(), label.size());
  std::memcpy(&text[32], dialler.data(), frame_body_bytes);
  std::memcpy(&text[32 + frame_body_bytes], acceptor.data(), frame_body_bytes);
  return config.digests.hmac_sha256(config.cluster_key, text);
}

SipKey sip_key(const Sha256& from) {
  SipKey key;
  std::memcpy(&key.k0, &from[0], 8);
  std::memcpy(&key.k1, &from[8], 8);
  return key;
}

}  // namespace

void Link::open(Instant now, const LinkUp& up, const Hello& own) {
  ASSERT(state_ == State::free);
  *this = Link{};
  state_ = State::greeting;
  id_ = up.link;
  facts_ = up;
  own_ = own;
  own_.dialled = up.dialled;
  own_.transport = up.link.transport;
  hello_due_ = true;
  opened_at_ = heard_at_ = now;
}

Link::Input Link::violation(CloseReason reason) {
  close(reason);
  return Input::violation;
}

void Link::close(CloseReason reason) {
  if (state_ == State::free || state_ == State::closing || state_ == State::closed) return;
  // To one who did not even say Hello nothing is said.
  bye_due_ =
      !hello_due_ && in_flight() < frames_in_flight_max && reason != CloseReason::frame_magic;
  state_ = State::closing;
  close_reason_ = reason;
}

Link::Input Link::handle_frame(Instant now, const Frame& frame, const NodeConfig& config,
                               Body& body) {
  if (state_ == State::free || state_ == State::closing || state_ == State::closed) {
    return Input::nothing;
  }
  FrameHeader header;
  const bool is_tagged = state_ == State::up;
  const FrameError error = parse(frame, is_tagged ? receive_key_ : public_frame_key, header, body);
  if (error != FrameError::none) return violation(close_reasons[static_cast<size_t>(error)]);
  ++taken_;
  // All that it may have in flight are frames that were not yet said to be taken.
  if (taken_ - advertised_ > frames_in_flight_max) return violation(CloseReason::frame_credit);
  if (header.credited - credited_ > in_flight()) return violation(CloseReason::frame_credit);
  credited_ = header.credited;
  heard_at_ = now;
  if (header.number != (is_tagged ? receive_number_ + 1 : 0)) {
    return violation(CloseReason::frame_number);
  }
  receive_number_ = header.number;

  if (const auto* bye = std::get_if<Bye>(&body)) {
    bye_of_peer_ = bye->reason;
    state_ = State::closing;
    return Input::bye;
  }
  if (!is_tagged) return handle_greeting(now, frame, config, body);
  if (std::holds_alternative<Hello>(body) || std::holds_alternative<Proof>(body)) {
    return violation(CloseReason::frame_late);
  }
  if (const auto* ping = std::get_if<Ping>(&body)) {
    pong_due_ = true;  // one for all that came since the last
    pong_of_ns_ = ping->sent_ns;
    return Input::nothing;
  }
  if (const auto* pong = std::get_if<Pong>(&body)) {
    // What it echoes is our own clock; lies have this limit.
    if (pong->sent_ns > static_cast<uint64_t>(now.ns())) return Input::nothing;
    const Duration sample = now - Instant::from_ns(static_cast<int64_t>(pong->sent_ns));
    if (sample > config.peer_patience) return Input::nothing;
    srtt_ = srtt_ == Duration() ? sample : srtt_ + (sample - srtt_) / 8;
    return Input::nothing;
  }
  if (std::holds_alternative<Credit>(body)) return Input::nothing;
  return Input::message;
}

Link::Input Link::handle_greeting(Instant now, const Frame& frame, const NodeConfig& config,
                                  const Body& body) {
  if (const auto* hello = std::get_if<Hello>(&body)) {
    if (state_ != State::greeting) return violation(CloseReason::frame_early);
    peer_ = *hello;
    const Bytes bytes = body_bytes(frame);
    std::copy(bytes.begin(), bytes.end(), peer_hello_.begin());
    if (peer_.dialled == own_.dialled || peer_.transport != own_.transport) {
      return violation(CloseReason::bad_role);
    }
    if (peer_.chunk_bytes != config.chunk_bytes) return violation(CloseReason::bad_chunk_size);
    if (peer_.node == config.self || peer_.node.is_none()) return violation(CloseReason::own_id);
    if (facts_.write_bytes_max < config.chunk_bytes) return violation(CloseReason::small_writes);
    state_ = State::greeted;
    return Input::greeted;
  }
  const auto* claimed = std::get_if<Proof>(&body);
  if (claimed == nullptr || state_ != State::proving) return violation(CloseReason::frame_early);
  if (!is_equal(claimed->hmac, proof(config, peer_.dialled))) {
    return violation(CloseReason::bad_proof);
  }
  if (!own_.dialled) proof_due_ = true;  // now that the dialler has proved itself
  state_ = State::up;
  pinged_at_ = now;
  return Input::proven;
}

void Link::accept(const NodeConfig& config) {
  ASSERT(state_ == State::greeted);
  state_ = State::proving;
  if (own_.dialled) proof_due_ = true;
  Frame frame;
  emit({}, own_, public_frame_key, frame);
  const Bytes bytes = body_bytes(frame);
  std::copy(bytes.begin(), bytes.end(), own_hello_.begin());

  const Bytes dialler = own_.dialled ? own_hello_ : peer_hello_;
  const Bytes acceptor = own_.dialled ? peer_hello_ : own_hello_;
  const SipKey of_dialler = sip_key(keyed(config, "sluice key of the dialler", dialler, acceptor));
  const SipKey of_acceptor =
      sip_key(keyed(config, "sluice key of the acceptor", dialler, acceptor));
  send_key_ = own_.dialled ? of_dialler : of_acceptor;
  receive_key_ = own_.dialled ? of_acceptor : of_dialler;
  own_proof_ = proof(config, own_.dialled);
}

std::array<std::byte, 32> Link::proof(const NodeConfig& config, bool of_dialler) const {
  const Bytes dialler = own_.dialled ? own_hello_ : peer_hello_;
  const Bytes acceptor = own_.dialled ? peer_hello_ : own_hello_;
  return keyed(config, of_dialler ? "sluice proof of the dialler" : "sluice proof of the acceptor",
               dialler, acceptor);
}

void Link::emit_frame(const Body& body, Post& out) {
  FrameHeader header;
  header.credited = advertised_ = taken_;
  if (is_tagging_) header.number = ++send_number_;
  ++sent_;
  auto& send_post = out.emplace<SendFrame>();
  send_post.link = id_;
  emit(header, body, is_tagging_ ? send_key_ : public_frame_key, send_post.frame);
}

void Link::send(const Body& body, Post& out) {
  ASSERT(can_send());
  emit_frame(body, out);
}

bool Link::poll_post(Instant now, Post& out) {
  if (state_ == State::free || state_ == State::closed) return false;
  if (state_ == State::closing) {
    if (bye_due_) {
      bye_due_ = false;
      emit_frame(Bye{close_reason_}, out);
      return true;
    }
    state_ = State::closed;
    out = Close{id_};
    return true;
  }
  if (hello_due_) {
    hello_due_ = false;
    emit_frame(own_, out);
    return true;
  }
  if (proof_due_) {
    proof_due_ = false;
    emit_frame(Proof{own_proof_}, out);
    is_tagging_ = true;
    return true;
  }
  if (state_ != State::up) return false;
  const bool may_send = in_flight() < messages_in_flight_max;
  if (pong_due_ && may_send) {
    pong_due_ = false;
    emit_frame(Pong{pong_of_ns_}, out);
    return true;
  }
  if (ping_due_ && may_send) {
    ping_due_ = false;
    emit_frame(Ping{static_cast<uint64_t>(now.ns())}, out);
    return true;
  }
  if (taken_ - advertised_ >= credit_every && in_flight() < frames_in_flight_max) {
    emit_frame(Credit{}, out);
    return true;
  }
  return false;
}

void Link::handle_timeout(Instant now, const NodeConfig& config) {
  if (state_ == State::free || state_ == State::closing || state_ == State::closed) return;
  if (state_ != State::up) {
    if (now - opened_at_ >= config.peer_patience) close(CloseReason::handshake_late);
    return;
  }
  if (now - heard_at_ >= config.peer_patience) {
    close(CloseReason::silent);
    return;
  }
  if (now - pinged_at_ >= config.ping_every) {
    pinged_at_ = now;
    ping_due_ = true;
  }
}

Instant Link::next_timeout(const NodeConfig& config) const {
  if (state_ == State::free || state_ == State::closing || state_ == State::closed) {
    return Instant::never();
  }
  if (state_ != State::up) return opened_at_ + config.peer_patience;
  return std::min(heard_at_ + config.peer_patience, pinged_at_ + config.ping_every);
}

}  // namespace sluice::replica
