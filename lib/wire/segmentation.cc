#include "wire/segmentation.h"

#include <algorithm>

#include "base/assert.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace sluice::wire {
namespace {

constexpr size_t ipv4_total_length_offset = 2;
constexpr size_t ipv6_payload_length_offset = 4;
constexpr size_t ip_addresses_offset_v4 = 12;
constexpr size_t ip_addresses_offset_v6 = 8;
constexpr size_t tcp_sequence_offset = 4;
constexpr size_t tcp_flags_offset = 13;

}  // namespace

Train::Train(const TxFrame& frame) : frame_(frame), count_(frame.frame_count()) {
  const size_t headers = size_t{frame.l2_length} + frame.l3_length + frame.l4_length;
  ASSERT(frame.header_length <= TxFrame::header_capacity);
  if (frame.l4_length == 0) {
    ASSERT(count_ == 1);
    return;
  }
  ASSERT(headers == frame.header_length && frame.l4_length >= tcp_header_bytes);
  ASSERT(frame.payload_length <= TxFrame::payload_max_bytes);
  const std::byte* ip = frame.header.data() + frame.l2_length;
  const Bytes addresses = frame.is_ipv6 ? Bytes{ip + ip_addresses_offset_v6, 32}
                                        : Bytes{ip + ip_addresses_offset_v4, 8};
  pseudo_sum_ = uint64_t{sum_bytes(addresses)} + protocol_tcp;
}

PayloadRange Train::payload(uint32_t index) const {
  ASSERT(index < count_);
  if (count_ == 1) return {0, frame_.payload_length};
  const uint32_t offset = index * frame_.segment_size;
  return {offset, std::min<uint32_t>(frame_.segment_size, frame_.payload_length - offset)};
}

uint16_t Train::tcp_length(uint32_t index) const {
  return static_cast<uint16_t>(frame_.l4_length + payload(index).length_bytes);
}

void Train::patch(uint32_t index, std::byte* header) const {
  std::memcpy(header, frame_.header.data(), frame_.header_length);
  if (count_ == 1) return;
  std::byte* ip = header + frame_.l2_length;
  std::byte* tcp = ip + frame_.l3_length;
  const uint16_t length = tcp_length(index);
  if (frame_.is_ipv6) {
    // Extension headers of our own would count; there are none, but l3_length knows.
    store_be16(ip + ipv6_payload_length_offset,
               static_cast<uint16_t>(length + frame_.l3_length - ipv6_header_bytes));
  } else {
    store_be16(ip + ipv4_total_length_offset, static_cast<uint16_t>(length + frame_.l3_length));
  }
  store_be32(tcp + tcp_sequence_offset,
             load_be32(tcp + tcp_sequence_offset) + payload(index).offset_bytes);
  uint8_t flags = load_u8(tcp + tcp_flags_offset);
  if (index + 1 < count_) flags &= static_cast<uint8_t>(~(tcp_flag::fin | tcp_flag::psh));
  // RFC 3168 section 6.1.2: CWR goes on the first new data segment after the window was reduced.
  if (index > 0) flags &= static_cast<uint8_t>(~tcp_flag::cwr);
  store_u8(tcp + tcp_flags_offset, flags);
}

void Train::store_ip_checksum(std::byte* header) const {
  if (frame_.is_ipv6) return;
  std::byte* ip = header + frame_.l2_length;
  store_be16(ip + ipv4_checksum_offset, 0);
  store_be16(ip + ipv4_checksum_offset, static_cast<uint16_t>(~sum_bytes({ip, frame_.l3_length})));
}

size_t Train::emit(uint32_t index, uint16_t payload_sum, MutableBytes out) const {
  ASSERT(out.size() >= frame_.header_length);
  patch(index, out.data());
  if (frame_.l4_length == 0) return frame_.header_length;
  store_ip_checksum(out.data());
  // The TCP header is a multiple of 4 long, so the payload begins at an even offset.
  std::byte* tcp = out.data() + frame_.l2_length + frame_.l3_length;
  store_be16(tcp + tcp_checksum_offset, 0);
  const uint64_t sum =
      pseudo_sum_ + tcp_length(index) + sum_bytes({tcp, frame_.l4_length}) + payload_sum;
  store_be16(tcp + tcp_checksum_offset, static_cast<uint16_t>(~fold_sum(sum)));
  return frame_.header_length;
}

size_t Train::emit_offloaded(uint32_t index, Offload offload, MutableBytes out) const {
  ASSERT(out.size() >= frame_.header_length);
  patch(index, out.data());
  if (frame_.l4_length == 0) return frame_.header_length;
  if (!offload.ip_checksum) store_ip_checksum(out.data());
  std::byte* tcp = out.data() + frame_.l2_length + frame_.l3_length;
  store_be16(tcp + tcp_checksum_offset, fold_sum(pseudo_sum_ + tcp_length(index)));
  return frame_.header_length;
}

size_t Train::emit_whole(MutableBytes out) const {
  ASSERT(out.size() >= frame_.header_length && frame_.l4_length > 0);
  std::memcpy(out.data(), frame_.header.data(), frame_.header_length);
  std::byte* tcp = out.data() + frame_.l2_length + frame_.l3_length;
  store_be16(tcp + tcp_checksum_offset, fold_sum(pseudo_sum_));
  return frame_.header_length;
}

}  // namespace sluice::wire
