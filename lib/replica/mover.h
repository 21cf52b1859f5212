// The seam between the protocol and what moves bytes: RDMA (lib/rdma), TCP (lib/stream), and the
// simulation's fake. Plain values both ways; a mover carries them out in the order given per link.
//
//   Node (pure)                                Mover (edge, or the fake)
//     Dial{dial, address}                ->
//                                        <-    LinkUp{link, dial?}      or  DialFailed{dial, why}
//     SendFrame{link, frame}             ->                             at most
//     frames_in_flight_max
//                                        <-    FrameArrived{link, frame}
//     Grant{link, grant, extent}         ->    lets that peer write there, and nowhere else
//                                        <-    Granted{link, grant, window}   goes to the peer in a
//                                        Want
//     Write{link, write, source, window} ->    one RDMA WRITE WITH IMMEDIATE, zero-copy
//                                        <-    WriteDone{link, write}   source may change again
//                                        <-    Landed{link, immediate, length}   at the other side
//     Revoke{link, grant}                ->
//                                        <-    Revoked{link, grant}     the peer can write no more
//     Close{link}                        ->
//                                        <-    LinkDown{link, reason}   nothing posted is left, no
//                                              grant lives: landing memory may be used again
//                                        <-    TransportState{transport, usable, why}   a device
//                                              came, or the last one went
//
// Rules for movers
//  - LinkDown comes exactly once for each LinkUp, after everything posted on the link ended; no
//  event
//    of the link comes after it. Posts for a link that is down (it was on its way) are ignored, and
//    bring no answer.
//  - Landed is told only when the bytes are in memory. A write outside what is granted never
//  reaches
//    memory: it ends the link (protection_error).
//  - The first error that is not a flush is the reason that LinkDown gives.
//  - A mover is used by one thread, the replica's.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "content/ids.h"

namespace sluice::replica {

enum class Transport : uint8_t { rdma, tcp };
inline constexpr uint32_t transport_count = 2;

/// One connection to one peer over one transport: for RDMA a control queue pair and its data queue
/// pairs together. A slot may be given out again after LinkDown, with another `serial`.
struct LinkId {
  Transport transport = Transport::tcp;
  uint32_t slot = 0;
  uint32_t serial = 0;
  auto operator<=>(const LinkId&) const = default;
};
inline constexpr uint32_t links_max = 128;  // of one mover

inline constexpr uint32_t frame_bytes = 256;
using Frame = std::array<std::byte, frame_bytes>;

/// Frames that a side may have sent and not yet seen credited: movers keep as many receives posted.
inline constexpr uint32_t frames_in_flight_max = 64;
/// Writes of one link under way at a time, and grants of one link alive: receives posted for them.
inline constexpr uint32_t writes_in_flight_max = 64;
inline constexpr uint32_t grants_max = 64;

/// Where a peer may write: what it needs to say to its NIC. Opaque to the protocol.
struct Window {
  uint64_t address = 0;
  uint32_t key = 0;
  uint32_t lane = 0;  // which data queue pair must be used
  uint32_t length_bytes = 0;
};

// To the mover
struct Dial {
  uint32_t dial = 0;  // chosen by the Node; below nodes_max
  Transport transport = Transport::tcp;
  std::string_view address;  // HOST:PORT; valid until the answer
};
struct SendFrame {
  LinkId link;
  Frame frame;
};
struct Grant {
  LinkId link;
  uint32_t grant = 0;  // below grants_max; free again after Revoked or LinkDown
  content::Extent extent;
};
struct Revoke {
  LinkId link;
  uint32_t grant = 0;
};
struct Write {
  LinkId link;
  uint32_t write = 0;  // below writes_in_flight_max; free again after WriteDone or LinkDown
  content::Extent source;
  Window window;  // source.length_bytes <= window.length_bytes
  uint32_t immediate = 0;
};
struct Close {
  LinkId link;
};
using Post = std::variant<Dial, SendFrame, Grant, Revoke, Write, Close>;

// From the mover
enum class LinkEnd : uint8_t {
  closed_here,  // Close
  closed_by_peer,
  unreachable,  // retries exceeded, or nothing answers
  receiver_not_ready,
  protection_error,  // a wrong or revoked key, or beyond what was granted: ours or theirs
  device_error,      // the device, or its port, is gone
  malformed,         // bytes that are no record of the stand-in
};
struct LinkUp {
  LinkId link;
  bool dialled = false;
  uint32_t dial = 0;             // dialled
  uint32_t lanes = 1;            // data queue pairs
  uint32_t write_bytes_max = 0;  // largest Write
};
struct DialFailed {
  uint32_t dial = 0;
  Transport transport = Transport::tcp;
  const char* why = "";  // static text, for people
};
struct FrameArrived {
  LinkId link;
  Frame frame;
};
struct Granted {
  LinkId link;
  uint32_t grant = 0;
  Window window;
};
struct Revoked {
  LinkId link;
  uint32_t grant = 0;
};
struct WriteDone {
  LinkId link;
  uint32_t write = 0;
};
struct Landed {
  LinkId link;
  uint32_t immediate = 0;
  uint32_t length_bytes = 0;
};
struct LinkDown {
  LinkId link;
  LinkEnd reason = LinkEnd::closed_here;
};
/// Whether this node can use a transport at all. Told when that changes; a transport of which
/// nothing is told is usable.
struct TransportState {
  Transport transport = Transport::tcp;
  bool usable = true;
  const char* why = "";  // not usable: static text, for people
};
using LinkEvent = std::variant<LinkUp, DialFailed, FrameArrived, Granted, Revoked, WriteDone,
                               Landed, LinkDown, TransportState>;

}  // namespace sluice::replica
