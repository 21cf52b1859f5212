// From one described frame, or train of frames, to the headers of each frame on the wire.
//
// A TxFrame describes up to 65,000 bytes of TCP payload under one header. Where the port has no
// TSO, the frames of the train are made here: frame i carries payload [i * segment_size,
// (i + 1) * segment_size), its sequence number is advanced by as much, FIN and PSH are on the last
// frame only and CWR on the first only, lengths and checksums are its own. Frames that are not TCP
// (l4_length == 0) are complete and are copied as they are.
//
// The header's share of every checksum is summed once per train.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/frame.h"

namespace sluice::wire {

/// The part of a train's payload that one frame carries.
struct PayloadRange {
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;
};

class Train {
 public:
  /// Requires: `frame` outlives this, and was made by inet::Inet and a TCP header.
  explicit Train(const TxFrame& frame);

  [[nodiscard]] uint32_t frame_count() const { return count_; }
  [[nodiscard]] PayloadRange payload(uint32_t index) const;

  /// Writes the header of frame `index`, checksums complete. `payload_sum` is sum_bytes() (or a
  /// Checksum's sum()) over payload(index); it is ignored for frames that are not TCP.
  /// Returns: bytes written, the frame's header_length. Requires: that much room.
  size_t emit(uint32_t index, uint16_t payload_sum, MutableBytes out) const;

  struct Offload {
    bool ip_checksum = true;  // the NIC fills in the IPv4 header checksum
  };
  /// As emit(), for a port that sums TCP (DPDK's TX_TCP_CKSUM): the TCP checksum field holds the
  /// pseudo-header's sum, not complemented, length included.
  size_t emit_offloaded(uint32_t index, Offload offload, MutableBytes out) const;

  /// The header of the whole train, for a port that segments (DPDK's TX_TCP_SEG): the TCP checksum
  /// field holds the pseudo-header's sum without the length, the IPv4 checksum is zero.
  size_t emit_whole(MutableBytes out) const;

 private:
  void patch(uint32_t index, std::byte* header) const;
  void store_ip_checksum(std::byte* header) const;
  [[nodiscard]] uint16_t tcp_length(uint32_t index) const;

  const TxFrame& frame_;
  uint32_t count_ = 1;
  uint64_t pseudo_sum_ = 0;  // without the length
};

/// Offsets of what Train patches, for readers of its output.
inline constexpr size_t tcp_checksum_offset = 16;
inline constexpr size_t ipv4_checksum_offset = 10;

}  // namespace sluice::wire
