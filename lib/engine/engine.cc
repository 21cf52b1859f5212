#include "engine/engine.h"

#include <algorithm>
#include <cstring>
#include <variant>

namespace sluice::engine {
namespace {

using stats::Counter;

// Replies to peers whose link address is being asked for. More than that are a flood.
constexpr size_t waiting_replies_max = 64;

content::CatalogLimits catalog_limits(const Config& config, const content::ArenaView& arena) {
  content::CatalogLimits limits = config.catalog;
  limits.chunk_count = arena.chunk_count;
  limits.chunk_bytes = arena.chunk_bytes;
  limits.waiters_max = config.tcp.send_queues;
  return limits;
}

}  // namespace

Engine::Engine(const Config& config, const content::ArenaView& arena, content::ChunkPins& pins,
               stats::Counters& counters)
    : pins_(pins),
      counters_(counters),
      slots_(arena, pins),
      catalog_(catalog_limits(config, arena), pins, counters),
      inet_(config.inet, slots_, pins, counters),
      tcp_(config.tcp, catalog_, pins, counters),
      sessions_(config.session, config.tcp.max_connections, tcp_, catalog_, slots_, first_byte_,
                counters),
      waiting_replies_(waiting_replies_max) {}

// Input
// ---------------------------------------------------------------------------------------------

void Engine::handle_frame(Instant now, const wire::RxFrame& frame) {
  const inet::Delivery delivery = inet_.handle_frame(now, frame);
  if (const auto* segment = std::get_if<inet::TcpSegment>(&delivery)) {
    const tcp::Received received = tcp_.handle_segment(now, *segment);
    if (!received.connection.is_none()) sessions_.handle_received(now, received);
    if (tcp_.take_buffer_shortage()) sessions_.handle_buffers_short(now);
    handle_events(now);
  } else if (const auto* path_mtu = std::get_if<inet::PathMtu>(&delivery)) {
    tcp_.handle_path_mtu(now, *path_mtu);
  }
}

void Engine::handle_message(Instant now, const content::ToWorker& message) {
  if (const auto* answer = std::get_if<content::LookupAnswer>(&message)) {
    sessions_.handle_answer(now, *answer);
    handle_events(now);
  } else if (const auto* ready = std::get_if<content::PieceReady>(&message)) {
    catalog_.handle(now, *ready);
  } else if (const auto* failed = std::get_if<content::PieceFailed>(&message)) {
    catalog_.handle(now, *failed);
  } else if (const auto* retire = std::get_if<content::Retire>(&message)) {
    catalog_.handle(now, *retire);
  } else if (const auto* revalidate = std::get_if<content::Revalidate>(&message)) {
    catalog_.handle(now, *revalidate);
  }
}

void Engine::handle_timeout(Instant now) {
  handle_released(now);
  inet_.handle_timeout(now);
  tcp_.handle_timeout(now);
  handle_events(now);
}

// What the NIC, and send queues, have let go of.
void Engine::handle_released(Instant now) {
  bool slots_came_free = false;
  for (content::ChunkIndex chunk; pins_.poll_released(chunk);) {
    if (pins_.is_head_slot(chunk)) {
      slots_.give_back(chunk);
      slots_came_free = true;
    } else {
      catalog_.handle_released(chunk);
    }
  }
  if (slots_came_free) sessions_.handle_slots_free(now);
}

void Engine::handle_events(Instant now) {
  for (tcp::Event event; tcp_.poll_event(event);) {
    // RFC 4861 section 7.3.1: forward progress confirms the neighbour.
    if (event.kind == tcp::EventKind::acknowledged) {
      inet_.confirm(now, tcp_.path(event.connection));
    }
    sessions_.handle_event(now, event);
  }
}

void Engine::handle_woken(Instant now) {
  for (content::Catalog::Woken woken; catalog_.poll_woken(woken);) {
    const tcp::ConnectionIndex connection = tcp_.waiting(woken.waiter);
    if (connection.is_none()) continue;  // it ended after it was woken
    if (woken.failed) {
      counters_.add(Counter::engine_responses_cut);
      tcp_.abort(now, connection);
    } else {
      tcp_.unblock(connection);
    }
  }
  handle_events(now);
}

// Output
// --------------------------------------------------------------------------------------------

void Engine::emit(const inet::PathRef& path, const tcp::Flow& flow, const tcp::SegmentOut& segment,
                  wire::TxFrame& out) {
  out.clear();
  inet_.emit(path, flow.remote, flow.local,
             {.ecn = segment.ecn, .l4_bytes = segment.header_length + segment.payload_length}, out);
  std::memcpy(out.header.data() + out.header_length, segment.header.data(), segment.header_length);
  out.header_length = static_cast<uint16_t>(out.header_length + segment.header_length);
  out.l4_length = static_cast<uint8_t>(segment.header_length);
  out.segment_size = segment.segment_size;
  out.payload_length = segment.payload_length;
  out.payload = segment.payload;
}

bool Engine::poll_reply(Instant now, wire::TxFrame& out) {
  if (poll_waiting_reply(now, out)) return true;
  for (tcp::Flow flow; tcp_.poll_reply(segment_, flow);) {
    inet::PathRef path;
    const inet::PathState state = inet_.resolve(now, flow.remote, path);
    if (state == inet::PathState::ready) {
      emit(path, flow, segment_, out);
      return true;
    }
    const bool waits = state != inet::PathState::unreachable &&
                       waiting_replies_.push({flow, segment_.header, segment_.header_length});
    if (!waits) counters_.add(Counter::engine_drop_reply_unresolved);
  }
  return false;
}

bool Engine::poll_waiting_reply(Instant now, wire::TxFrame& out) {
  WaitingReply waiting;
  while (waiting_again_ > 0 && waiting_replies_.pop(waiting)) {
    --waiting_again_;
    inet::PathRef path;
    const inet::PathState state = inet_.resolve(now, waiting.flow.remote, path);
    if (state == inet::PathState::ready) {
      segment_.header = waiting.header;
      segment_.header_length = waiting.header_length;
      segment_.payload.clear();
      segment_.payload_length = 0;
      segment_.segment_size = 0;
      emit(path, waiting.flow, segment_, out);
      return true;
    }
    // There is room for it: it was there just now.
    const bool waits = state != inet::PathState::unreachable && waiting_replies_.push(waiting);
    if (!waits) counters_.add(Counter::engine_drop_reply_unresolved);
  }
  return false;
}

bool Engine::poll_connection(Instant now, tcp::ConnectionIndex connection, wire::TxFrame& out) {
  const tcp::Flow& flow = tcp_.flow(connection);
  inet::PathRef& path = tcp_.path(connection);
  const inet::PathState state = inet_.resolve(now, flow.remote, path);
  if (state != inet::PathState::ready) {
    tcp_.park(connection);
    // A SYN from an address that nobody has; an open connection may find its way again.
    if (state == inet::PathState::unreachable) tcp_.drop_half_open(connection);
    return false;
  }
  switch (tcp_.poll_segment(now, connection, segment_)) {
    case tcp::Poll::segment:
      if (segment_.payload_length > 0) first_byte_.sent(now, connection.value());
      emit(path, flow, segment_, out);
      return true;
    case tcp::Poll::blocked:
      catalog_.wait(segment_.missing.object, segment_.missing.offset_bytes,
                    segment_.missing.waiter);
      return false;
    case tcp::Poll::gone:
      counters_.add(Counter::engine_responses_cut);
      tcp_.abort(now, connection);
      handle_events(now);
      return false;
    case tcp::Poll::nothing:
      return false;
  }
  return false;
}

bool Engine::poll_frame(Instant now, wire::TxFrame& out) {
  handle_woken(now);
  out.clear();
  if (aborting_ && abort_next_ < tcp_.connections_max()) continue_abort(now);
  if (inet_.poll_frame(now, out)) return true;
  if (inet_.take_path_changes()) {
    tcp_.unpark_all();
    waiting_again_ = waiting_replies_.size();
  }
  // A flood of strays must not take every turn from the connections.
  replied_ = !replied_ && poll_reply(now, out);
  if (replied_) return true;
  // Bounded: whoever cannot send leaves the stack's list of senders.
  for (auto connection = tcp_.next_sender(now); !connection.is_none();
       connection = tcp_.next_sender(now)) {
    if (poll_connection(now, connection, out)) return true;
  }
  // The question for a link address that one of them has just raised leaves in this turn.
  return poll_reply(now, out) || inet_.poll_frame(now, out);
}

bool Engine::poll_message(content::ToStore& out) {
  if (catalog_.poll_message(out)) return true;
  content::Lookup lookup;
  if (!sessions_.poll_lookup(lookup)) return false;
  out = lookup;
  return true;
}

Instant Engine::next_timeout() const {
  return std::min(inet_.next_timeout(), tcp_.next_timeout());
}

// Control
// -------------------------------------------------------------------------------------------

void Engine::begin_drain(Instant now) {
  tcp_.set_accepting(false);
  sessions_.begin_drain(now);
  handle_events(now);
}

void Engine::abort_all(Instant now) {
  aborting_ = true;
  abort_next_ = 0;
  continue_abort(now);
}

void Engine::continue_abort(Instant now) {
  for (; abort_next_ < tcp_.connections_max() && tcp_.replies_room() > 0; ++abort_next_) {
    const tcp::ConnectionIndex connection(abort_next_);
    if (tcp_.is_open(connection)) tcp_.abort(now, connection);
  }
  handle_events(now);
}

Snapshot Engine::snapshot() const {
  const tcp::Usage usage = tcp_.usage();
  return {.connections = usage.connections,
          .half_open = usage.half_open,
          .time_wait = usage.time_wait,
          .send_queues = usage.send_queues,
          .receive_buffers = usage.receive_buffers,
          .stalled = usage.stalled,
          .pins = pins_.total(),
          .head_slots_in_use = slots_.in_use(),
          .objects_in_use = catalog_.objects_in_use(),
          .lookups_open = sessions_.lookups_open(),
          .neighbors = inet_.neighbor_count()};
}

uint64_t Engine::memory_bytes(const Config& config, const content::ArenaView& arena) {
  return inet::Inet::memory_bytes(config.inet) + tcp::Stack::memory_bytes(config.tcp) +
         content::Catalog::memory_bytes(catalog_limits(config, arena)) +
         Sessions::memory_bytes(config.session, config.tcp.max_connections) +
         content::HeadSlots::memory_bytes(arena.head_slot_count) +
         waiting_replies_max * sizeof(WaitingReply);
}

}  // namespace sluice::engine
