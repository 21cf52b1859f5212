// Connection: one socket of the stand-in, and what is under way on it. Owned by StreamMover.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/time.h"
#include "mover/descriptor.h"
#include "mover/endpoint.h"
#include "stream/output.h"
#include "stream/reader.h"

namespace sluice::stream {

using mover::Descriptor;

inline constexpr uint32_t no_link = UINT32_MAX;

struct Connection {
  enum class State : uint8_t {
    free,
    connecting,  // dialled: the handshake of TCP
    greeting,    // waits for the peer's greeting
    open,        // a part of its link
  };
  Descriptor socket;
  State state = State::free;
  Role role = Role::control;
  bool dialled = false;
  bool active = false;       // in the mover's list
  bool readable = false;     // a read may find something
  bool writable = false;     // a send may find room
  bool ending = false;       // the peer's end, or an error, is on its way: read until it is found
  bool has_errors = false;   // the socket's error queue may have something
  bool frame_waits = false;  // a frame is told, and not taken yet: nothing is read until then
  bool zero_copy = false;
  uint32_t serial = 0;
  uint32_t lane = 0;
  uint32_t link = no_link;
  Instant deadline;  // before it is open
  mover::SocketAddress peer;
  Reader reader;
  size_t placed_bytes = 0;  // of the write that arrives: received into the arena itself
  std::array<std::byte, greeting_bytes> greeting{};  // ours
  uint32_t greeting_sent = greeting_bytes;
  std::unique_ptr<FrameOutput> frames;  // control, open
  std::unique_ptr<WriteOutput> writes;  // data, open

  [[nodiscard]] bool has_output() const {
    return greeting_sent < greeting_bytes || (frames && !frames->empty()) ||
           (writes && writes->has_unsent());
  }
};

struct Link {
  enum class State : uint8_t {
    free,
    looking_up,  // dialled: the name
    dialling,    // the control connection
    joining,     // its data connections
    up,
    ended,  // LinkDown waits to be taken
  };
  State state = State::free;
  bool dialled = false;
  uint32_t serial = 0;
  uint32_t dial = 0;
  uint32_t lanes = 0;
  uint32_t joined = 0;  // data connections that are ready
  uint32_t control = 0;
  std::array<uint32_t, lanes_max> data{};
  std::array<bool, lanes_max> has_data{};
  std::array<uint32_t, lanes_max> grants_on{};
  Token token{};
  uint32_t write_bytes_max = 0;
  Instant deadline;  // before it is up
  std::unique_ptr<mover::Lookup> lookup;
  uint32_t address_next = 0;  // of the look-up's addresses
  Grants grants;
};

}  // namespace sluice::stream
