// The fixed sizes of the nic edge, in one place.
#pragma once

#include <cstdint>

namespace sluice::nic {

/// Frames per rx_burst and tx_burst at most; a profile may ask for fewer.
inline constexpr uint16_t burst_max = 64;
/// Frames on their way from one worker to another (received, or to be sent).
inline constexpr uint32_t handover_ring_frames = 1024;
/// Mbufs that each lcore keeps at hand of a pool. At most RTE_MEMPOOL_CACHE_MAX_SIZE (512).
inline constexpr uint32_t pool_cache_mbufs = 256;
/// Data room of a header mbuf: head room (128, which some drivers use for headers of their own) and
/// wire::TxFrame::header_capacity.
inline constexpr uint32_t header_data_bytes = 128 + 128;
/// Private area of a payload mbuf (PayloadTag).
inline constexpr uint32_t payload_tag_bytes = 64;
/// Frames given to the device between two flush() calls, after which room() is 0 till the next: a
/// driver that never refuses (it sends within tx_burst) would else keep the worker from receiving.
/// 256 frames are 0.2 to 0.4 ms on the software ports.
inline constexpr uint32_t frames_per_turn_max = 256;
/// One mbuf of a umem, all included: a page, which is also the most that the kernel takes.
inline constexpr uint32_t umem_object_bytes = 4096;
inline constexpr uint32_t umem_mtu_max = 3'584;
/// Frames described but not cut yet, per worker.
inline constexpr uint32_t pending_trains_max = 32;
/// Mbufs chained into one frame at most, the header's included.
inline constexpr uint32_t mbufs_per_frame_limit = 48;
inline constexpr uint32_t workers_max = 64;
/// wire::TxFrame::payload_max_bytes.
inline constexpr uint32_t wire_payload_max_bytes = 65'000;
inline constexpr uint32_t rx_queues_per_worker_max = 16;

}  // namespace sluice::nic
