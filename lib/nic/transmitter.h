// Transmitter: one worker's way out of a port. From described frames to mbufs to tx_burst.
//
//   send() -> [pending trains] -> cut: header mbuf -> payload mbuf -> payload mbuf   (chained)
//                                    |  128 bytes     attached to the arena, pins its chunk
//                                 or: one mbuf, payload copied                        (copied)
//          -> out_[64] -> tx_burst, or the ring to the worker that has the tx queue
//
// A train is cut lazily: what the device does not take now stays a description, not mbufs. Nothing
// described is dropped: while the device does not keep up, room() is 0.
//
// The worker's thread only, but for abandon() and the destructor (after the workers have stopped).
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/bounded_queue.h"
#include "content/arena_view.h"
#include "nic/doorbell.h"
#include "nic/driver_profile.h"
#include "nic/limits.h"
#include "nic/pin_home.h"
#include "nic/send_memory.h"
#include "stats/counters.h"
#include "wire/checksum.h"
#include "wire/frame.h"
#include "wire/segmentation.h"

struct rte_mbuf;

namespace sluice::nic {

struct TransmitterConfig {
  uint16_t port = 0;
  uint16_t queue = 0;
  bool owns_queue = true;           // else frames go over `to_owner`
  rte_ring* to_owner = nullptr;     // frames of a worker without a queue of its own
  rte_ring* from_others = nullptr;  // frames of such workers, to be sent by this one
  Doorbell* owner_bell = nullptr;   // rung when something was put into `to_owner`; may be null
  rte_mempool* frames = nullptr;    // headers, or whole frames where they are copied
  rte_mempool* payloads = nullptr;  // chained only
  Offloads offloads;
  bool sums_ip = false;  // the device fills in IPv4 header checksums
  uint32_t train_max_bytes = 0;
  uint32_t segment_max_bytes = 0;
  uint16_t mbufs_per_frame_max = 0;
  uint16_t burst = 32;
  uint32_t frame_max_bytes = 0;  // longest frame the port takes
  IdleReap idle_reap = IdleReap::none;
  content::ArenaView view;
  bool is_far = false;  // the worker's core or the arena is on another NUMA node than the port
};

class Transmitter {
 public:
  Transmitter(const TransmitterConfig& config, PinHome& home, const SendMemory& memory,
              stats::Counters& counters);
  ~Transmitter();
  Transmitter(const Transmitter&) = delete;
  Transmitter& operator=(const Transmitter&) = delete;

  [[nodiscard]] uint32_t room() const {
    const bool keeps_up =
        !stalled_ && !current_ && pending_.empty() && frames_this_turn_ < frames_per_turn_max;
    return keeps_up ? pending_trains_max : 0;
  }
  void send(const wire::TxFrame& frame);
  /// Returns whether there were frames of other workers.
  bool flush();
  [[nodiscard]] bool has_mail() const {
    return config_.from_others != nullptr && !stalled_ && rte_ring_empty(config_.from_others) == 0;
  }
  void reap();
  /// Pins out, mbufs and trains that have not been given to the device.
  [[nodiscard]] uint64_t in_flight() const {
    return home_.outstanding() + out_count_ + pending_.size() + (current_ ? 1 : 0);
  }
  /// Gives up everything that the device has not taken. Returns the frames given up.
  uint64_t abandon();

 private:
  /// Where in a train cutting goes on.
  struct Cursor {
    uint32_t frame = 0;
    uint32_t extent = 0;
    uint32_t offset = 0;  // in the extent
  };
  /// A train on its way into mbufs. It does not move while `train` refers to `frame`.
  struct Current {
    explicit Current(const wire::TxFrame& described) : frame(described), train(frame) {}
    wire::TxFrame frame;
    wire::Train train;
    Cursor cursor;
  };
  enum class Built : uint8_t { done, no_mbuf, refused };

  // Cutting. `false`: the device or the pools do not keep up; the cursor says where to go on.
  [[nodiscard]] bool cut(const wire::TxFrame& frame, const wire::Train& train, Cursor& cursor);
  [[nodiscard]] bool make_way();
  [[nodiscard]] Built build(const wire::TxFrame& frame, const wire::Train& train, Cursor& cursor);
  [[nodiscard]] Built build_whole(const wire::TxFrame& frame, const wire::Train& train,
                                  Cursor& cursor);
  [[nodiscard]] Built build_chained(const wire::TxFrame& frame, const wire::Train& train,
                                    Cursor& cursor);
  [[nodiscard]] Built build_copied(const wire::TxFrame& frame, const wire::Train& train,
                                   Cursor& cursor);
  [[nodiscard]] bool device_cuts(const wire::TxFrame& frame, const Cursor& cursor) const;

  // Payload.
  [[nodiscard]] content::Extent next_piece(const wire::TxFrame& frame, Cursor& cursor,
                                           uint32_t left_bytes) const;
  [[nodiscard]] bool chain_payload(const wire::TxFrame& frame, uint32_t left_bytes, Cursor& cursor,
                                   rte_mbuf& head, wire::Checksum* sum);
  void copy_payload(const wire::TxFrame& frame, Cursor& cursor, MutableBytes to,
                    wire::Checksum* sum) const;
  [[nodiscard]] rte_mbuf* attach(content::Extent& piece);
  void mark_offloads(rte_mbuf& head, const wire::TxFrame& frame, uint64_t frames = 0) const;
  void append(rte_mbuf& head, uint64_t frames, uint64_t bytes);

  void pin_payload(const wire::TxFrame& frame);
  void unpin_payload(const wire::TxFrame& frame);

  // Towards the device.
  void cut_pending();
  [[nodiscard]] bool take_from_others();
  void push_out();
  void prepare();
  void drop_out(uint32_t index);
  void reap_device();

  TransmitterConfig config_;
  PinHome& home_;
  const SendMemory& memory_;
  stats::Counters& counters_;

  std::optional<Current> current_;       // cut in part; its payload is pinned
  BoundedQueue<wire::TxFrame> pending_;  // not begun; pinned likewise

  std::array<rte_mbuf*, burst_max> out_{};
  uint32_t out_count_ = 0;
  uint32_t prepared_ = 0;  // of out_, from the front: tx_prepare has seen them
  bool stalled_ = false;   // the device took less than it was offered, last time
  bool offers_ = false;    // something was offered to the device since the last reap()
  uint32_t frames_this_turn_ = 0;
  uint32_t idle_reaps_ = 0;
};

}  // namespace sluice::nic
