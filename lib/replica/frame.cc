#include "replica/frame.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace sluice::replica {
namespace {

constexpr uint32_t magic = 0x46524c53;  // "SLRF"
constexpr uint32_t kind_at = 5;
constexpr uint32_t number_at = 8;
constexpr uint32_t credited_at = 16;
constexpr uint32_t body_at = 24;
constexpr uint32_t tag_at = body_at + frame_body_bytes;
static_assert(tag_at + 8 == frame_bytes);

template <typename Number>
Number load(const std::byte* from) {
  Number value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename Number>
void store(std::byte* to, Number value) {
  std::memcpy(to, &value, sizeof value);
}

// Both directions of a body through one description of its fields: fields(codec, body) puts each
// field, in order, through the codec.
class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <typename Number>
  void number(const Number& value) {
    store(at_, value);
    at_ += sizeof(Number);
  }
  void flag(const bool& value) { number(static_cast<uint8_t>(value)); }
  template <typename Enum>
  void choice(const Enum& value, uint32_t) {
    number(static_cast<uint8_t>(value));
  }
  void bytes(const std::byte* from, size_t length) {
    std::memcpy(at_, from, length);
    at_ += length;
  }
  template <size_t Capacity>
  void text(const ShortText<Capacity>& value) {
    number(value.length_bytes);
    std::memcpy(at_, value.text.data(), value.length_bytes);
    at_ += Capacity;
  }
  void part(const RecordPart& value) { bytes(value.bytes.data(), value.length_bytes); }

 private:
  std::byte* at_;
};

class Reader {
 public:
  explicit Reader(const std::byte* at) : at_(at), end_(at + frame_body_bytes) {}
  template <typename Number>
  void number(Number& value) {
    value = load<Number>(at_);
    at_ += sizeof(Number);
  }
  void flag(bool& value) {
    uint8_t read = 0;
    number(read);
    good_ &= read <= 1;
    value = read == 1;
  }
  template <typename Enum>
  void choice(Enum& value, uint32_t count) {
    uint8_t read = 0;
    number(read);
    good_ &= read < count;
    value = static_cast<Enum>(read < count ? read : 0);
  }
  void bytes(std::byte* to, size_t length) {
    std::memcpy(to, at_, length);
    at_ += length;
  }
  template <size_t Capacity>
  void text(ShortText<Capacity>& value) {
    number(value.length_bytes);
    if (value.length_bytes > Capacity) {
      good_ = false;
      value.length_bytes = 0;
    }
    std::memcpy(value.text.data(), at_, value.length_bytes);
    good_ &= is_zero(at_ + value.length_bytes, at_ + Capacity);
    at_ += Capacity;
  }
  void part(RecordPart& value) {
    if (value.length_bytes > record_part_bytes) {
      good_ = false;
      value.length_bytes = 0;
    }
    bytes(value.bytes.data(), value.length_bytes);
  }
  [[nodiscard]] bool is_good() const { return good_ && is_zero(at_, end_); }

 private:
  static bool is_zero(const std::byte* from, const std::byte* to) {
    return std::all_of(from, to, [](std::byte value) { return value == std::byte{0}; });
  }

  const std::byte* at_;
  const std::byte* end_;
  bool good_ = true;
};

template <typename T, typename U>
concept Is = std::is_same_v<std::remove_const_t<T>, U>;

// 224 bytes at most, each: the static_assert below adds up the largest.
template <Is<Hello> T>
void fields(auto& codec, T& body) {
  codec.number(body.node.value);
  codec.number(body.epoch);
  codec.bytes(body.nonce.data(), body.nonce.size());
  codec.number(body.hold_bytes_max);
  codec.number(body.chunk_bytes);
  codec.flag(body.dialled);
  codec.choice(body.transport, transport_count);
  codec.text(body.name);
  codec.text(body.address);
  codec.flag(body.has_rdma);
}
static_assert(8 + 8 + 16 + 8 + 4 + 1 + 1 + 65 + 101 + 1 <= frame_body_bytes);

void generation_fields(auto& codec, auto& generation) {
  codec.number(generation.number);
  codec.number(generation.publisher.value);
}

template <Is<Proof> T>
void fields(auto& codec, T& body) {
  codec.bytes(body.hmac.data(), body.hmac.size());
}
template <typename T>
requires Is<T, Ping> || Is<T, Pong>
void fields(auto& codec, T& body) {
  codec.number(body.sent_ns);
}
template <Is<Credit> T>
void fields(auto&, T&) {}
template <Is<Want> T>
void fields(auto& codec, T& body) {
  codec.number(body.want);
  generation_fields(codec, body.generation);
  codec.number(body.piece);
  codec.number(body.length_bytes);
  codec.number(body.window.address);
  codec.number(body.window.key);
  codec.number(body.window.lane);
  codec.number(body.window.length_bytes);
}
template <Is<Refuse> T>
void fields(auto& codec, T& body) {
  codec.number(body.want);
  codec.choice(body.reason, refuse_reason_count);
}
template <Is<Cancel> T>
void fields(auto& codec, T& body) {
  codec.number(body.want);
}
template <Is<PieceBad> T>
void fields(auto& codec, T& body) {
  generation_fields(codec, body.generation);
  codec.number(body.piece);
}
template <Is<RecordPart> T>
void fields(auto& codec, T& body) {
  codec.number(body.record);
  codec.number(body.total_bytes);
  codec.number(body.offset_bytes);
  codec.number(body.length_bytes);
  codec.part(body);
}
template <Is<Bye> T>
void fields(auto& codec, T& body) {
  codec.choice(body.reason, close_reason_count);
}

uint8_t kind_of(const Body& body) {
  return static_cast<uint8_t>(body.index() + 1);
}

template <size_t... Index>
bool emplace_kind(uint8_t kind, Body& body, std::index_sequence<Index...>) {
  return ((kind == Index + 1 ? (body.emplace<Index>(), true) : false) || ...);
}

}  // namespace

void emit(const FrameHeader& header, const Body& body, const SipKey& key, Frame& out) {
  out.fill(std::byte{0});
  store(out.data(), magic);
  store(&out[4], protocol_version);
  store(&out[kind_at], kind_of(body));
  store(&out[number_at], header.number);
  store(&out[credited_at], header.credited);
  Writer writer(&out[body_at]);
  std::visit([&](const auto& one) { fields(writer, one); }, body);
  store(&out[tag_at], siphash24(key, Bytes(out).first(tag_at)));
}

FrameError parse(const Frame& frame, const SipKey& key, FrameHeader& header, Body& body) {
  if (load<uint32_t>(frame.data()) != magic) return FrameError::magic;
  if (load<uint8_t>(&frame[4]) != protocol_version) return FrameError::version;
  if (load<uint64_t>(&frame[tag_at]) != siphash24(key, Bytes(frame).first(tag_at))) {
    return FrameError::checksum;
  }
  if (load<uint16_t>(&frame[6]) != 0 || load<uint32_t>(&frame[20]) != 0) {
    return FrameError::reserved;
  }
  const auto kind = load<uint8_t>(&frame[kind_at]);
  if (!emplace_kind(kind, body, std::make_index_sequence<std::variant_size_v<Body>>())) {
    return FrameError::kind;
  }
  header.number = load<uint64_t>(&frame[number_at]);
  header.credited = load<uint32_t>(&frame[credited_at]);
  Reader reader(&frame[body_at]);
  std::visit([&](auto& one) { fields(reader, one); }, body);
  return reader.is_good() ? FrameError::none : FrameError::body;
}

Bytes body_bytes(const Frame& frame) {
  return Bytes(frame).subspan(body_at, frame_body_bytes);
}

const char* text_of(RefuseReason reason) {
  switch (reason) {
    case RefuseReason::unknown_generation:
      return "it does not know the generation";
    case RefuseReason::not_held:
      return "it does not hold the generation";
    case RefuseReason::bad_piece:
      return "no such piece";
    case RefuseReason::bad_window:
      return "the window does not fit";
    case RefuseReason::circular:
      return "it waits for the same piece from here";
    case RefuseReason::busy:
      return "too much is asked of it";
    case RefuseReason::failed:
      return "it cannot read the piece";
    case RefuseReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

const char* text_of(CloseReason reason) {
  switch (reason) {
    case CloseReason::none:
      return "none";
    case CloseReason::shutting_down:
      return "shutting down";
    case CloseReason::duplicate:
      return "another link stays";
    case CloseReason::superseded:
      return "the node was started anew";
    case CloseReason::silent:
      return "nothing was heard of the peer";
    case CloseReason::handshake_late:
      return "the peer did not authenticate in time";
    case CloseReason::too_many:
      return "too many links or peers";
    case CloseReason::frame_magic:
      return "not a frame of sluice";
    case CloseReason::frame_version:
      return "another version of the protocol: run the same sluice on all nodes";
    case CloseReason::frame_checksum:
      return "a frame with a wrong checksum or tag";
    case CloseReason::frame_reserved:
      return "a frame with reserved bits set";
    case CloseReason::frame_kind:
      return "a frame of an unknown kind";
    case CloseReason::frame_body:
      return "a malformed frame";
    case CloseReason::frame_number:
      return "a frame that was repeated or lost";
    case CloseReason::frame_early:
      return "a frame before authentication";
    case CloseReason::frame_late:
      return "a handshake after authentication";
    case CloseReason::frame_credit:
      return "frames beyond the credit";
    case CloseReason::bad_role:
      return "role or transport do not fit";
    case CloseReason::bad_chunk_size:
      return "chunks of another size: give all nodes the same --chunk";
    case CloseReason::old_epoch:
      return "an older start of the node";
    case CloseReason::own_id:
      return "our own name: each node needs its own";
    case CloseReason::bad_proof:
      return "not the same cluster key";
    case CloseReason::bad_record:
      return "parts of a record that do not fit";
    case CloseReason::too_many_wants:
      return "more wants than may be open";
    case CloseReason::small_writes:
      return "the transport cannot write a whole chunk at once: use smaller chunks";
  }
  return "unknown";
}

}  // namespace sluice::replica
