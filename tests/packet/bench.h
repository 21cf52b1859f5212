// Bench: a Stack with everything around it, in virtual time: content that is a pattern, a catalog
// that is answered at once or when asked, and a record of what was sent.
//
// For the packet scripts and the fuzz target. One thread; a run is a function of its calls.
#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "content/catalog.h"
#include "content/head_slots.h"
#include "tcp/stack.h"
#include "wire/tcp.h"

namespace sluice::packet {

/// Byte `offset` of the stream that the application sends, and of the one that the peer sends.
inline std::byte sent_pattern(uint64_t offset) {
  return static_cast<std::byte>((offset * 7 + offset / 251) & 0xff);
}
inline std::byte received_pattern(uint64_t offset) {
  return static_cast<std::byte>((offset * 13 + offset / 241 + 1) & 0xff);
}

/// One segment as the wire would carry it.
struct Sent {
  Instant at;
  tcp::Flow flow;
  wire::TcpHeader header;
  wire::TcpOptions options;
  std::vector<std::byte> payload;
  uint8_t ecn = 0;
};

class Bench {
 public:
  static constexpr uint32_t chunk_bytes = 256 * 1024;
  static constexpr uint32_t chunk_count = 16;
  static constexpr uint32_t head_slot_count = 64;
  static constexpr uint64_t object_bytes = uint64_t{chunk_bytes} * chunk_count;

  explicit Bench(const tcp::Config& config)
      : pins(chunk_count, head_slot_count),
        head_memory_(size_t{head_slot_count} * content::head_slot_bytes),
        arena{content_memory(), chunk_count, chunk_bytes, head_memory_.data(), head_slot_count},
        head_slots(arena, pins),
        catalog({.objects_max = 4,
                 .pieces_max = config.max_connections + 2 * chunk_count,
                 .waiters_max = config.max_connections,
                 .chunk_count = chunk_count,
                 .chunk_bytes = chunk_bytes,
                 .readahead_pieces = 1,
                 .fresh_for = Duration::from_s(1'000'000)},
                pins, counters),
        stack(config, catalog, pins, counters) {
    object = catalog.insert(Instant::from_ns(1), {1, 2},
                            {.id = {1, 1}, .size_bytes = object_bytes, .etag = 1}, {});
    ASSERT(!object.is_none());
    catalog.acquire(object);
  }

  /// Queues [from, from + length) of the pattern. Returns false when the queue is full.
  [[nodiscard]] bool send(tcp::ConnectionIndex connection, uint64_t from, uint64_t length) {
    ASSERT(from + length <= object_bytes);
    catalog.acquire(object);
    if (stack.send_object(connection, object, from, length)) return true;
    catalog.release(object);
    return false;
  }

  /// As send(), from a head slot. Requires: length <= head_slot_bytes.
  [[nodiscard]] bool send_from_slot(tcp::ConnectionIndex connection, uint64_t from,
                                    uint32_t length) {
    const content::ChunkIndex slot = head_slots.take();
    if (slot.is_none()) return false;
    for (uint32_t i = 0; i < length; ++i) head_slots.bytes(slot)[i] = sent_pattern(from + i);
    if (stack.send_slot(connection, slot, 0, length)) return true;
    pins.unpin(slot);
    return false;
  }

  /// Takes out whatever the stack has to send and to tell.
  void drain() {
    for (int turn = 0; turn < 100'000; ++turn) {
      answer_catalog();
      drain_events();
      tcp::Flow flow;
      if (stack.poll_reply(segment_, flow)) {
        record(flow);
        continue;
      }
      const tcp::ConnectionIndex connection = stack.next_sender(now);
      if (connection.is_none()) {
        if (is_quiet()) return;
        continue;
      }
      poll(connection);
    }
    const bool stack_comes_to_rest = false;
    ASSERT(stack_comes_to_rest);
  }

  /// Lets time pass until `until`, or until something was sent if `stop_when_sent`.
  void run(Instant until, bool stop_when_sent) {
    int without_progress = 0;
    drain();
    while (!(stop_when_sent && !sent.empty())) {
      const Instant next = stack.next_timeout();
      if (next > until) break;
      without_progress = next <= now ? without_progress + 1 : 0;
      ASSERT(without_progress < 1000);  // next_timeout() has to advance
      now = std::max(now, next);
      stack.handle_timeout(now);
      drain();
    }
    if (!(stop_when_sent && !sent.empty())) now = std::max(now, until);
  }

  // While the next hop is unknown, connections are parked as the engine would.
  void lose_path() { path_lost_ = true; }
  void find_path() {
    path_lost_ = false;
    stack.unpark_all();
  }

  void hold_pieces() { pieces_held_ = true; }
  void give_pieces() {
    pieces_held_ = false;
    drain();
  }

  /// Ends every connection and looks for what was left behind. Returns: what leaked, or nullptr.
  [[nodiscard]] const char* tear_down() {
    pieces_held_ = false;
    if (path_lost_) find_path();
    for (uint32_t i = 0; i < stack.connections_max(); ++i) {
      const tcp::ConnectionIndex connection(i);
      if (stack.is_open(connection)) stack.abort(now, connection);
    }
    stack.set_accepting(false);
    drain();
    const tcp::Usage usage = stack.usage();
    if (usage.connections != 0) return "connections";
    if (usage.half_open != 0) return "half-open connections";
    if (usage.send_queues != 0) return "send queues";
    if (usage.receive_buffers != 0) return "receive buffers";
    if (usage.sent_runs != 0) return "sent runs";
    if (usage.recoveries != 0) return "recoveries";
    if (pins.total() != 0) return "pins";
    for (uint32_t i = 0; i < chunk_count; ++i) {
      if (pins.leases(content::ChunkIndex(i)) != 0) return "leases";
    }
    catalog.release(object);
    if (catalog.objects_in_use() != 0) return "object references";
    return nullptr;
  }

  Instant now = Instant::from_ns(1'000'000'000'000);
  std::deque<Sent> sent;
  std::deque<tcp::Event> events;
  stats::Counters counters;
  content::ChunkPins pins;

 private:
  std::vector<std::byte> head_memory_;

 public:
  content::ArenaView arena;
  content::HeadSlots head_slots;
  content::Catalog catalog;
  tcp::Stack stack;
  content::ObjectHandle object;

 private:
  // Content never changes: all benches of a process share it.
  [[nodiscard]] static std::byte* content_memory() {
    static std::vector<std::byte> memory = [] {
      std::vector<std::byte> bytes(object_bytes);
      for (uint64_t i = 0; i < object_bytes; ++i) bytes[i] = sent_pattern(i);
      return bytes;
    }();
    return memory.data();
  }

  [[nodiscard]] bool is_quiet() const { return !catalog_busy_ && !events_busy_; }

  void answer_catalog() {
    catalog_busy_ = false;
    if (pieces_held_) return;
    content::ToStore message;
    while (catalog.poll_message(message)) {
      if (const auto* need = std::get_if<content::NeedPiece>(&message)) {
        catalog.handle(
            now,
            content::PieceReady{
                need->object, need->piece, {content::ChunkIndex(need->piece), 0, chunk_bytes}});
      }
      catalog_busy_ = true;
    }
    content::Catalog::Woken woken;
    while (catalog.poll_woken(woken)) {
      stack.unblock(stack.waiting(woken.waiter));
      catalog_busy_ = true;
    }
    content::ChunkIndex released;
    while (pins.poll_released(released)) {
      if (pins.is_head_slot(released)) {
        head_slots.give_back(released);
      } else {
        catalog.handle_released(released);
      }
    }
  }

  void drain_events() {
    events_busy_ = false;
    tcp::Event event;
    while (stack.poll_event(event)) {
      events.push_back(event);
      events_busy_ = true;
    }
  }

  void poll(tcp::ConnectionIndex connection) {
    if (path_lost_) return stack.park(connection);
    switch (stack.poll_segment(now, connection, segment_)) {
      case tcp::Poll::segment:
        return record(stack.flow(connection));
      case tcp::Poll::blocked:
        return catalog.wait(segment_.missing.object, segment_.missing.offset_bytes,
                            segment_.missing.waiter);
      case tcp::Poll::gone:
        return stack.abort(now, connection);
      case tcp::Poll::nothing:
        return;
    }
  }

  // Cuts a train into segments, as lib/wire/segmentation.h does.
  void record(const tcp::Flow& flow) {
    wire::TcpSegmentView view;
    ASSERT(wire::parse_tcp(segment_.header_bytes(), view) && view.payload.empty());
    wire::TcpOptions options;
    ASSERT(wire::parse_tcp_options(view.options, options));
    std::vector<std::byte> payload;
    for (const content::Extent& extent : segment_.payload) {
      const Bytes bytes = arena.bytes(extent);
      payload.insert(payload.end(), bytes.begin(), bytes.end());
    }
    ASSERT(payload.size() == segment_.payload_length);
    ASSERT(payload.empty() || segment_.segment_size > 0);
    constexpr uint8_t last_only = wire::tcp_flag::fin | wire::tcp_flag::psh;
    size_t begin = 0;
    do {
      const size_t length = std::min<size_t>(payload.size() - begin, segment_.segment_size);
      const bool is_last = begin + length == payload.size();
      Sent one{.at = now, .flow = flow, .header = view.header, .options = options, .payload = {}};
      one.header.sequence += static_cast<uint32_t>(begin);
      if (!is_last) one.header.flags = static_cast<uint8_t>(one.header.flags & ~last_only);
      if (begin > 0) one.header.flags &= static_cast<uint8_t>(~wire::tcp_flag::cwr);
      one.ecn = segment_.ecn;
      const auto from = payload.begin() + static_cast<ptrdiff_t>(begin);
      one.payload.assign(from, from + static_cast<ptrdiff_t>(length));
      sent.push_back(std::move(one));
      begin += length;
    } while (begin < payload.size());
  }

  tcp::SegmentOut segment_{};
  bool pieces_held_ = false;
  bool path_lost_ = false;
  bool catalog_busy_ = false;
  bool events_busy_ = false;
};

}  // namespace sluice::packet
