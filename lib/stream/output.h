// What waits to leave on one connection: frames on the control connection, writes on a data
// connection. The payload of a write is sent from where it lies in the arena; only its header is
// kept here. Pure: says what to send next, and is told how much of it went.
//
// A write is done when the kernel has it all: by copy, when sendmsg() took it; by MSG_ZEROCOPY,
// when the kernel's notice says that it lets go of the pages (networking/msg_zerocopy.rst).
#pragma once

#include <array>
#include <bitset>
#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "replica/mover.h"
#include "stream/record.h"

namespace sluice::stream {

/// What to give to one sendmsg(): a header, or the rest of it, and then payload.
struct Outgoing {
  Bytes head;
  Bytes body;
  [[nodiscard]] size_t size() const { return head.size() + body.size(); }
};

class FrameOutput {
 public:
  /// Requires: room. What a link may have uncredited, and as much again for credits themselves.
  void push(const replica::Frame& frame) {
    ASSERT(tail_ - head_ < slots);
    Record& record = records_[tail_++ % slots];
    emit(Header{.kind = Kind::frame, .length_bytes = replica::frame_bytes},
         std::span(record).first<header_bytes>());
    std::copy(frame.begin(), frame.end(), record.begin() + header_bytes);
  }
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] Outgoing next() const {
    return {.head = Bytes(records_[head_ % slots]).subspan(sent_), .body = {}};
  }
  /// Returns the frames that are sent with this.
  uint32_t advance(size_t count) {
    sent_ += count;
    if (sent_ < sizeof(Record)) return 0;
    ASSERT(sent_ == sizeof(Record));
    sent_ = 0;
    ++head_;
    return 1;
  }

 private:
  using Record = std::array<std::byte, header_bytes + replica::frame_bytes>;
  static constexpr uint64_t slots = 2 * replica::frames_in_flight_max;
  std::array<Record, slots> records_{};
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
  size_t sent_ = 0;  // of the first
};

class WriteOutput {
 public:
  /// Notices that may be outstanding: beyond these, sends are copies.
  static constexpr uint32_t notices_max = 1024;

  /// Requires: fewer than writes_in_flight_max are not done.
  void push(uint32_t write, const Header& header, Bytes payload) {
    ASSERT(tail_ - done_ < slots);
    Slot& slot = at(tail_++);
    slot.write = write;
    slot.payload = payload;
    slot.notices_until = 0;
    emit(header, slot.header);
  }
  [[nodiscard]] bool has_unsent() const { return next_ != tail_; }
  /// Requires: has_unsent().
  [[nodiscard]] Outgoing next() const {
    const Slot& slot = at(next_);
    if (sent_ < header_bytes) return {Bytes(slot.header).subspan(sent_), slot.payload};
    return {.head = {}, .body = slot.payload.subspan(sent_ - header_bytes)};
  }
  [[nodiscard]] bool may_zero_copy() const { return notices_next_ - notices_until_ < notices_max; }
  /// `zero_copy`: a notice will come for this.
  void advance(size_t count, bool zero_copy) {
    Slot& slot = at(next_);
    sent_ += count;
    if (zero_copy) slot.notices_until = ++notices_next_;
    ASSERT(sent_ <= header_bytes + slot.payload.size());
    if (sent_ < header_bytes + slot.payload.size()) return;
    // What comes later on this connection is not done before what came first.
    sent_ = 0;
    ++next_;
  }
  /// The kernel's notice: the sends numbered `first` to `last` (32 bits of them) are let go of.
  void handle_notice(uint32_t first, uint32_t last) {
    for (uint32_t i = 0; i <= last - first && i < notices_max; ++i) {
      const uint64_t number = notices_until_ + uint32_t(first + i - uint32_t(notices_until_));
      if (number >= notices_next_) continue;  // long known, or none of ours
      noticed_.set(number % notices_max);
    }
    while (notices_until_ < notices_next_ && noticed_.test(notices_until_ % notices_max)) {
      noticed_.reset(notices_until_++ % notices_max);
    }
  }
  /// Returns false when no more is done.
  [[nodiscard]] bool poll_done(uint32_t& write, uint32_t& bytes) {
    if (done_ == next_ || at(done_).notices_until > notices_until_) return false;
    write = at(done_).write;
    bytes = static_cast<uint32_t>(at(done_++).payload.size());
    return true;
  }
  [[nodiscard]] bool has_notices_outstanding() const { return notices_until_ != notices_next_; }

 private:
  struct Slot {
    uint32_t write = 0;
    uint64_t notices_until = 0;  // done when these many notices came
    Bytes payload;
    std::array<std::byte, header_bytes> header{};
  };
  static constexpr uint64_t slots = replica::writes_in_flight_max;
  [[nodiscard]] Slot& at(uint64_t i) { return slots_[i % slots]; }
  [[nodiscard]] const Slot& at(uint64_t i) const { return slots_[i % slots]; }

  std::array<Slot, slots> slots_{};
  uint64_t done_ = 0;
  uint64_t next_ = 0;  // being sent
  uint64_t tail_ = 0;
  size_t sent_ = 0;  // of the one being sent, its header included
  uint64_t notices_next_ = 0;
  uint64_t notices_until_ = 0;  // all below came
  std::bitset<notices_max> noticed_;
};

}  // namespace sluice::stream
