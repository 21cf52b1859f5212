// ReceiveBuffers: a pool of buffers for bytes that the session has not consumed yet, and for bytes
// that came out of order. A connection has one only while there are such bytes.
//
//   bytes   | consumed | unread, in order | gap | waiting | free |
//           0          begin              ^ RCV.NXT               receive_buffer_bytes
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/fixed_array.h"
#include "base/index_pool.h"
#include "tcp/config.h"
#include "tcp/reassembler.h"

namespace sluice::tcp {

struct ReceiveBuffer {
  Reassembler reassembler;
  StreamOffset fin_at;  // where the peer's FIN stands, if it came behind a gap; 0: it did not
  uint32_t begin = 0;
  uint32_t unread = 0;

  /// The most that may be promised from RCV.NXT on.
  [[nodiscard]] uint32_t window_max() const { return receive_buffer_bytes - unread; }
  [[nodiscard]] bool is_idle() const { return unread == 0 && reassembler.is_empty(); }
};

class ReceiveBuffers {
 public:
  explicit ReceiveBuffers(uint32_t count)
      : buffers_(count), bytes_(size_t{count} * receive_buffer_bytes), pool_(count) {}

  /// Returns IndexPool::none when all are taken; otherwise an empty one that begins at `next`.
  [[nodiscard]] uint32_t take(StreamOffset next) {
    const uint32_t index = pool_.take();
    if (index == IndexPool::none) return index;
    buffers_[index].reassembler.reset(next);
    buffers_[index].fin_at = StreamOffset();
    buffers_[index].begin = 0;
    buffers_[index].unread = 0;
    return index;
  }
  void give_back(uint32_t index) { pool_.give_back(index); }

  [[nodiscard]] ReceiveBuffer& operator[](uint32_t index) { return buffers_[index]; }
  [[nodiscard]] const ReceiveBuffer& operator[](uint32_t index) const { return buffers_[index]; }

  [[nodiscard]] Bytes unread(uint32_t index) const {
    const ReceiveBuffer& buffer = buffers_[index];
    return {memory(index) + buffer.begin, buffer.unread};
  }
  /// The place of the byte at RCV.NXT and all behind it, after making it as large as it can be.
  [[nodiscard]] MutableBytes window(uint32_t index) {
    ReceiveBuffer& buffer = buffers_[index];
    std::byte* memory_begin = bytes_.begin() + size_t{index} * receive_buffer_bytes;
    if (buffer.begin > 0) {
      const size_t used = buffer.unread + buffer.reassembler.span_bytes();
      std::memmove(memory_begin, memory_begin + buffer.begin, used);
      buffer.begin = 0;
    }
    return {memory_begin + buffer.unread, receive_buffer_bytes - buffer.unread};
  }

  [[nodiscard]] uint32_t available() const { return pool_.available(); }
  [[nodiscard]] uint32_t in_use() const { return pool_.in_use(); }
  [[nodiscard]] static uint64_t memory_bytes(uint32_t count) {
    return uint64_t{count} * (sizeof(ReceiveBuffer) + receive_buffer_bytes + sizeof(uint32_t));
  }

 private:
  [[nodiscard]] const std::byte* memory(uint32_t index) const {
    return bytes_.begin() + size_t{index} * receive_buffer_bytes;
  }

  FixedArray<ReceiveBuffer> buffers_;
  FixedArray<std::byte> bytes_;
  IndexPool pool_;
};

}  // namespace sluice::tcp
