// Reader: what arrives on one connection, whatever the portions. It says where the next bytes
// belong (a header, a frame, the very extent that was granted) and what they made complete.
//
//   greeting --> header --> frame    --> header ...      control connection
//                       \-> payload  --> header ...      data connection
//
// Invariant: a byte of a write is received into the arena only where a grant of this link, open at
// that moment, says so. When it is revoked while the write arrives, the rest goes to a trash
// buffer.
//
// Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "stream/grants.h"
#include "stream/record.h"

namespace sluice::stream {

class Reader {
 public:
  enum class Outcome : uint8_t {
    more,       // nothing complete yet
    greeting,   // greeting()
    frame,      // frame(): valid until the next want()
    landed,     // header(): a write is in memory, whole
    drained,    // a write ended whose grant had been revoked
    malformed,  // no record: the link must end
    forbidden,  // a write to where nothing is granted: the link must end
  };

  /// Where the next bytes go; never empty. `trash`: for what nobody wants any more.
  [[nodiscard]] MutableBytes want(MutableBytes trash) {
    switch (state_) {
      case State::greeting:
        return MutableBytes(small_).subspan(have_, greeting_bytes - have_);
      case State::header:
        return MutableBytes(small_).subspan(have_, header_bytes - have_);
      case State::frame:
        return MutableBytes(small_).subspan(have_, header_bytes + replica::frame_bytes - have_);
      case State::payload:
        break;
    }
    const uint32_t rest = header_.length_bytes - have_;
    if (target_.empty()) return trash.first(std::min<size_t>(trash.size(), rest));
    return target_.subspan(have_, rest);
  }

  /// `count` bytes lie where want() said. Requires: not more than it offered; a role (begin())
  /// before anything follows a greeting.
  [[nodiscard]] Outcome advance(uint32_t count, const Grants& grants) {
    have_ += count;
    switch (state_) {
      case State::greeting:
        return advance_greeting();
      case State::header:
        return advance_header(grants);
      case State::frame:
        if (have_ < header_bytes + replica::frame_bytes) return Outcome::more;
        restart();
        return Outcome::frame;
      case State::payload:
        break;
    }
    const bool wanted = !target_.empty();
    if (!wanted) drained_bytes_ += count;
    if (have_ < header_.length_bytes) return Outcome::more;
    restart();
    return wanted ? Outcome::landed : Outcome::drained;
  }

  /// After the greeting: what this connection is.
  void begin(Role role, uint32_t lane) {
    role_ = role;
    lane_ = lane;
  }
  /// A grant is gone: nothing more is received into it.
  void revoke(uint32_t grant) {
    if (state_ == State::payload && grant_ == grant) target_ = {};
  }

  [[nodiscard]] const Greeting& greeting() const { return greeting_; }
  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] std::span<const std::byte, replica::frame_bytes> frame() const {
    return std::span(small_).subspan<header_bytes>();
  }
  [[nodiscard]] bool is_between_records() const { return state_ == State::header && have_ == 0; }
  /// Since the last call.
  [[nodiscard]] uint64_t take_drained_bytes() { return std::exchange(drained_bytes_, 0); }

 private:
  enum class State : uint8_t { greeting, header, frame, payload };

  void restart() {
    state_ = State::header;
    have_ = 0;
    grant_ = Grants::none;
    target_ = {};
  }
  Outcome advance_greeting() {
    if (have_ < greeting_bytes) return Outcome::more;
    if (!parse(std::span(small_).first<greeting_bytes>(), greeting_)) return Outcome::malformed;
    restart();
    return Outcome::greeting;
  }
  Outcome advance_header(const Grants& grants) {
    if (have_ < header_bytes) return Outcome::more;
    if (!parse(std::span(small_).first<header_bytes>(), role_, header_)) return Outcome::malformed;
    if (role_ == Role::control) {
      state_ = State::frame;  // its bytes follow the header's in the same buffer
      return Outcome::more;
    }
    grant_ = grants.find(header_, lane_, target_);
    if (grant_ == Grants::none) return Outcome::forbidden;
    state_ = State::payload;
    have_ = 0;
    return Outcome::more;
  }

  State state_ = State::greeting;
  Role role_ = Role::control;
  uint32_t lane_ = 0;
  uint32_t have_ = 0;
  uint32_t grant_ = Grants::none;
  MutableBytes target_;
  uint64_t drained_bytes_ = 0;
  Header header_;
  Greeting greeting_;
  std::array<std::byte, header_bytes + replica::frame_bytes> small_{};
};

}  // namespace sluice::stream
