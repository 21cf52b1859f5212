// Engine: one worker's whole world on one port: addresses, neighbours, TCP connections, HTTP
// sessions and what it knows of content. Pure: frames, messages and time go in; frames, messages
// and the next timeout come out.
//
// A turn of the loop that drives it:
//
//   for each received frame      handle_frame(now, frame)
//   for each message from Store  handle_message(now, message)
//   handle_timeout(now)                               also notices what the NIC has let go of
//   while there is room          poll_frame(now, out)  -> pin its extents, send it, unpin on
//   completion while there is room          poll_message(out)     -> to the Store sleep, if idle,
//   until next_timeout() at the latest
//
// One thread. After construction nothing is allocated. The same calls with the same arguments give
// the same outputs: a run can be replayed.
#pragma once

#include <array>
#include <cstdint>

#include "base/bounded_queue.h"
#include "base/siphash.h"
#include "base/time.h"
#include "content/arena_view.h"
#include "content/catalog.h"
#include "content/chunk_pins.h"
#include "content/head_slots.h"
#include "content/message.h"
#include "engine/first_byte.h"
#include "engine/sessions.h"
#include "inet/inet.h"
#include "stats/counters.h"
#include "tcp/stack.h"
#include "wire/frame.h"

namespace sluice::engine {

struct Config {
  inet::Config inet;
  tcp::Config tcp;
  content::CatalogLimits catalog;  // chunk and waiter numbers are filled in by the engine
  SessionConfig session;
};

/// Moment's values for the stats; see Engine::snapshot().
struct Snapshot {
  uint64_t connections = 0;
  uint64_t half_open = 0;
  uint64_t time_wait = 0;
  uint64_t send_queues = 0;
  uint64_t receive_buffers = 0;
  uint64_t stalled = 0;
  uint64_t pins = 0;
  uint64_t head_slots_in_use = 0;
  uint64_t objects_in_use = 0;
  uint64_t lookups_open = 0;
  uint64_t neighbors = 0;
};

class Engine {
 public:
  /// `pins` is this worker's and is shared with the NIC edge, which pins what it sends.
  Engine(const Config& config, const content::ArenaView& arena, content::ChunkPins& pins,
         stats::Counters& counters);

  void handle_frame(Instant now, const wire::RxFrame& frame);
  void handle_message(Instant now, const content::ToWorker& message);
  void handle_timeout(Instant now);
  /// Returns false when nothing may be sent now. The frame's extents are to be pinned before the
  /// next call of any other member, and unpinned when the device is done with them.
  [[nodiscard]] bool poll_frame(Instant now, wire::TxFrame& out);
  [[nodiscard]] bool poll_message(content::ToStore& out);
  [[nodiscard]] Instant next_timeout() const;

  /// Tells the engine what the wall clock shows, a few times a second: for Date and for conditional
  /// requests.
  void set_wall_clock(WallTime wall) { sessions_.set_wall_clock(wall); }

  /// No new connections; idle ones are closed, running responses end with Connection: close.
  void begin_drain(Instant now);
  /// True once no connection is left, and after abort_all() no reset either.
  [[nodiscard]] bool is_drained() const {
    return tcp_.connection_count() == 0 && (!aborting_ || tcp_.replies_waiting() == 0);
  }
  /// Resets every connection that is left, for a drain that took too long: as many at a time as
  /// there is room for resets, the rest with the next poll_frame().
  void abort_all(Instant now);

  [[nodiscard]] Snapshot snapshot() const;
  /// Bytes that an engine reserves at construction, arena and pins apart: for the budget.
  [[nodiscard]] static uint64_t memory_bytes(const Config& config, const content::ArenaView& arena);
  /// How long requests waited for the first byte of their response. Units: nanoseconds.
  [[nodiscard]] const stats::Histogram& first_byte_ns() const { return first_byte_.waited_ns(); }
  [[nodiscard]] const tcp::Stack& tcp() const { return tcp_; }
  [[nodiscard]] const inet::Inet& inet() const { return inet_; }

 private:
  void handle_events(Instant now);
  void handle_woken(Instant now);
  void handle_released(Instant now);
  void continue_abort(Instant now);
  [[nodiscard]] bool poll_reply(Instant now, wire::TxFrame& out);
  [[nodiscard]] bool poll_waiting_reply(Instant now, wire::TxFrame& out);
  [[nodiscard]] bool poll_connection(Instant now, tcp::ConnectionIndex connection,
                                     wire::TxFrame& out);
  void emit(const inet::PathRef& path, const tcp::Flow& flow, const tcp::SegmentOut& segment,
            wire::TxFrame& out);

  content::ChunkPins& pins_;
  stats::Counters& counters_;
  content::HeadSlots slots_;
  content::Catalog catalog_;
  inet::Inet inet_;
  tcp::Stack tcp_;
  FirstByteClock first_byte_;
  Sessions sessions_;
  tcp::SegmentOut segment_;  // scratch
  bool replied_ = false;     // the last frame was a reply without a connection
  bool aborting_ = false;
  uint32_t abort_next_ = 0;  // connections below this one were aborted
  // A reply whose next hop is not known yet.
  struct WaitingReply {
    tcp::Flow flow;
    std::array<std::byte, wire::tcp_header_max_bytes> header;
    uint8_t header_length = 0;
  };
  BoundedQueue<WaitingReply> waiting_replies_;
  size_t waiting_again_ = 0;  // as many of them, from the first on, are worth another try
};

}  // namespace sluice::engine
