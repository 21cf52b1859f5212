// Control frames: what two nodes say to each other, 256 bytes each, little-endian.
//
//     0        4     5     6       8               16         20       24                248 256
//     +--------+-----+-----+-------+---------------+----------+--------+-----------------+-------+
//     | "SLRF" | ver | kind| 0     | number        | credited | 0      | body, 0 beyond  | tag   |
//     +--------+-----+-----+-------+---------------+----------+--------+-----------------+-------+
//
//  - number: 0 in Hello, Proof and a Bye before authentication; afterwards each frame of a
//    direction has the one that follows the last. A repeated or missing frame ends the link.
//  - credited: how many frames this side has taken, modulo 2^32, so that the other one may send
//    more.
//  - tag: SipHash-2-4 of the 248 bytes before it. Before authentication the key is a constant, and
//    the tag a mere checksum; afterwards it is the session key of the direction.
//
// Docs: docs/formats/replication.md. Pure functions of bytes: whatever arrives is a frame, or has a
// named error.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/siphash.h"
#include "content/ids.h"
#include "replica/ids.h"
#include "replica/mover.h"

namespace sluice::replica {

inline constexpr uint8_t protocol_version = 2;
inline constexpr uint32_t frame_body_bytes = 224;

/// A short text inside a frame.
template <size_t Capacity>
struct ShortText {
  static_assert(Capacity < 256);
  std::array<char, Capacity> text{};
  uint8_t length_bytes = 0;

  ShortText() = default;
  /// Cuts what is too long.
  explicit ShortText(std::string_view from)
      : length_bytes(static_cast<uint8_t>(from.substr(0, Capacity).copy(text.data(), Capacity))) {}
  [[nodiscard]] std::string_view view() const { return {text.data(), length_bytes}; }
  bool operator==(const ShortText&) const = default;
};

using Nonce = std::array<std::byte, 16>;

/// The first frame of each side.
struct Hello {
  NodeId node;
  NodeEpoch epoch = 0;
  Nonce nonce{};
  uint64_t hold_bytes_max = 0;
  uint32_t chunk_bytes = 0;
  bool dialled = false;  // by the side that says so
  Transport transport = Transport::tcp;
  ShortText<64> name;
  ShortText<100> address;  // HOST:PORT of its movers
  bool has_rdma = false;   // it has a device that it would use
};
/// The second: that the sender has the cluster key. The dialler's comes first.
struct Proof {
  std::array<std::byte, 32> hmac{};
};
struct Ping {
  uint64_t sent_ns = 0;
};
struct Pong {
  uint64_t sent_ns = 0;  // of the Ping
};
/// Nothing but the header's `credited`.
struct Credit {};
/// Asks the peer to write a piece into the window. The answer is that Write, with `want` as its
/// immediate, or a Refuse.
struct Want {
  uint32_t want = 0;
  GenerationId generation;
  content::PieceNumber piece = 0;
  uint32_t length_bytes = 0;
  Window window;
};
enum class RefuseReason : uint8_t {
  unknown_generation = 1,  // no manifest of it
  not_held,                // known, but this node does not hold it
  bad_piece,               // beyond its end, or another length
  bad_window,              // too short, or of a lane that does not exist
  circular,                // this node waits for that piece from the one that asks
  busy,                    // a table is full
  failed,                  // it cannot be read here
  cancelled,               // as asked by a Cancel: it will not be written any more
};
inline constexpr uint32_t refuse_reason_count = 9;  // numbers, 0 included
[[nodiscard]] const char* text_of(RefuseReason reason);
struct Refuse {
  uint32_t want = 0;
  RefuseReason reason = RefuseReason::failed;
};
/// The piece is not wanted any more. Answered by a Refuse, unless the Write was posted before.
struct Cancel {
  uint32_t want = 0;
};
/// What the peer wrote did not have the manifest's checksum: it may want to look at its copy.
struct PieceBad {
  GenerationId generation;
  content::PieceNumber piece = 0;
};
inline constexpr uint32_t record_part_bytes = frame_body_bytes - 16;
/// A part of a record (replica/record.h). The parts of a record follow each other, from the first
/// on.
struct RecordPart {
  uint32_t record = 0;  // grows by one with each record of the link
  uint32_t total_bytes = 0;
  uint32_t offset_bytes = 0;
  uint8_t length_bytes = 0;
  std::array<std::byte, record_part_bytes> bytes{};
};

/// Why a link was closed by a Node.
enum class CloseReason : uint8_t {
  none = 0,
  shutting_down,
  duplicate,       // another link of the same transport stays
  superseded,      // the peer is there with a newer epoch
  silent,          // nothing was heard of the peer for too long
  handshake_late,  // it did not authenticate in time
  too_many,        // links, or peers
  frame_magic,
  frame_version,   // it speaks another version of the protocol
  frame_checksum,  // or a wrong tag
  frame_reserved,  // what must be zero is not
  frame_kind,
  frame_body,
  frame_number,    // repeated, or missing
  frame_early,     // before authentication
  frame_late,      // Hello or Proof after authentication
  frame_credit,    // more frames than it had credit for, or credit for what was not sent
  bad_role,        // both dialled, or neither; or the transports differ
  bad_chunk_size,  // its chunks have another size
  old_epoch,       // a newer one of the same node was seen
  own_id,          // it has our own id
  bad_proof,       // not the cluster key
  bad_record,      // parts that do not fit each other
  too_many_wants,  // more than may be open, or one that is open already
  small_writes,    // the transport cannot write a whole chunk
};
inline constexpr uint32_t close_reason_count = 25;
/// For people.
[[nodiscard]] const char* text_of(CloseReason reason);

/// The last frame of a side: why it closes the link.
struct Bye {
  CloseReason reason = CloseReason::none;
};

using Body =
    std::variant<Hello, Proof, Ping, Pong, Credit, Want, Refuse, Cancel, PieceBad, RecordPart, Bye>;

struct FrameHeader {
  uint64_t number = 0;
  uint32_t credited = 0;
};

/// Tags of frames before authentication.
inline constexpr SipKey public_frame_key{0x736c756963652d66ULL, 0x72616d652d763100ULL};

void emit(const FrameHeader& header, const Body& body, const SipKey& key, Frame& out);

enum class FrameError : uint8_t { none, magic, version, checksum, reserved, kind, body };
/// Ensures: without an error, emit() of what was parsed gives the same bytes.
[[nodiscard]] FrameError parse(const Frame& frame, const SipKey& key, FrameHeader& header,
                               Body& body);
/// The body as it lies, for proofs.
[[nodiscard]] Bytes body_bytes(const Frame& frame);

}  // namespace sluice::replica
