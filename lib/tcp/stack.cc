// Lookups, pools, ends, events and the senders' line of the Stack; the rest is in stack_*.cc.
#include "tcp/stack.h"

#include <algorithm>

#include "base/assert.h"
#include "tcp/isn.h"

namespace sluice::tcp {

using stats::Counter;

namespace {

// Replies wait for one turn of the loop at most.
constexpr uint32_t replies_max = 1024;

// A reset is as long as what asks for it, so this is no amplifier; but strays must not take the
// line. A client whose reset was left out asks again with its next segment.
constexpr uint32_t resets_per_second = 10'000;

// This share of the send queues answers those who are refused.
constexpr uint32_t sender_reserve_share = 16;

// Buffers looked at for one that may be taken back.
constexpr uint32_t reclaim_steps_max = 32;

// Beside the two that each send queue has for itself.
constexpr SpanPool::Sizes span_sizes(const Config& config) {
  return {.queues = config.send_queues, .shared = std::max(64u, config.send_queues / 2)};
}

constexpr RecoveryPools::Sizes recovery_sizes(const Config& config) {
  return {.runs = {.senders = config.send_queues, .shared = config.sent_runs},
          .episodes = config.recoveries};
}

// One algorithm is configured for all connections: each sender has its state, or none has.
constexpr uint32_t bbr_states(const Config& config) {
  return config.congestion == CongestionAlgorithm::bbr ? config.send_queues : 0;
}

constexpr uint8_t event_bit(EventKind kind) {
  return static_cast<uint8_t>(1u << static_cast<uint8_t>(kind));
}

}  // namespace

Stack::Stack(const Config& config, content::Catalog& catalog, content::ChunkPins& pins,
             stats::Counters& counters)
    : config_(config),
      catalog_(catalog),
      pins_(pins),
      counters_(counters),
      connections_(config.max_connections),
      connection_pool_(config.max_connections),
      table_(config.max_connections),
      time_wait_({.capacity = config.time_wait_max, .linger = config.time_wait}, config.key),
      half_open_(config.max_half_open),
      cookies_(config.key),
      fast_open_({.key = config.fast_open_key, .pending_max = config.fast_open_pending_max}),
      sources_(config.source_limits, config.max_connections, config.key),
      path_mtus_(config.key),
      senders_(config.send_queues),
      spans_(span_sizes(config)),
      sender_pool_(config.send_queues),
      senders_reserved_(config.send_queues / sender_reserve_share),
      recovery_pools_(recovery_sizes(config)),
      bbr_(bbr_states(config)),
      buffers_(config.receive_buffers),
      buffered_(config.receive_buffers),
      stalled_(config.send_queues),
      wheel_(config.max_connections),
      replies_(replies_max),
      challenges_(config.key),
      resets_({.per_second = resets_per_second, .burst = replies_max}) {
  ASSERT(config.max_connections > 0 && config.max_half_open > 0 && config.send_queues > 0);
  // A train is at least one segment, whatever its options.
  config_.train_max_bytes =
      std::clamp<uint32_t>(config.train_max_bytes, config.mtu, wire::TxFrame::payload_max_bytes);
}

uint64_t Stack::memory_bytes(const Config& config) {
  const uint64_t per_connection = sizeof(Connection) + sizeof(uint32_t) + 16;  // pool, wheel
  return config.max_connections * per_connection +
         ConnectionTable::capacity_for(config.max_connections) * 8 +
         config.send_queues * (uint64_t{sizeof(Sender)} + sizeof(uint32_t)) +
         SpanPool::memory_bytes(span_sizes(config)) +
         RecoveryPools::memory_bytes(recovery_sizes(config)) +
         bbr_states(config) * uint64_t{sizeof(BbrState)} +
         ReceiveBuffers::memory_bytes(config.receive_buffers) +
         SourceLimits::memory_bytes(config.source_limits, config.max_connections) +
         PathMtus::memory_bytes() + AgeList::memory_bytes(config.receive_buffers) +
         AgeList::memory_bytes(config.send_queues) + config.time_wait_max * uint64_t{72} +
         config.max_half_open * uint64_t{16} + replies_max * sizeof(Reply) + sizeof(Stack);
}

// Lookups.

uint32_t Stack::find(const Flow& flow) {
  if (recent_ != none) {
    const Connection& recent = connections_[recent_];
    if (recent.state != State::closed && recent.flow == flow) return recent_;
  }
  const uint32_t index =
      table_.find(hash_of(flow), [&](uint32_t i) { return connections_[i].flow == flow; });
  if (index != none) recent_ = index;
  return index;
}

uint64_t Stack::hash_of(const Flow& flow) {
  if (!(hashed_.flow == flow)) hashed_ = {flow, flow_hash(config_.key, flow)};
  return hashed_.hash;
}

bool Stack::is_open(ConnectionIndex connection) const {
  if (connection.value() >= connections_.size()) return false;
  const State state = connections_[connection.value()].state;
  return state != State::closed && state != State::syn_received;
}

uint16_t Stack::link_mss(const Flow& flow) const {
  // RFC 6691 section 2: fixed headers come off, options do not.
  const auto mss = static_cast<uint16_t>(config_.mtu - (flow.remote.is_v4() ? 40 : 60));
  return config_.mss_max > 0 ? std::min(mss, config_.mss_max) : mss;
}

// Ends.

void Stack::release_span(const Span& span) {
  if (span.is_object) {
    catalog_.release(content::ObjectHandle(span.source));
  } else {
    pins_.unpin(content::ChunkIndex(span.source));
  }
}

void Stack::release_sender(Connection& c) {
  if (c.sender == none) return;
  Sender& sender = senders_[c.sender];
  for (Span span; sender.queue.pop(spans_, span);) release_span(span);
  sender.queue.drop_lease(catalog_);
  c.congestion = sender.congestion.memory(now_);
  sender.recovery.release(recovery_pools_);
  c.path_memory = sender.recovery.path_memory() & 31;
  if (c.blocked) catalog_.cancel_wait(c.sender);
  stalled_.remove(c.sender);
  sender_pool_.give_back(c.sender);
  c.sender = none;
  c.blocked = false;
  if (sender_wanted_ > 0) offer_sender();
}

bool Stack::take_buffer(uint32_t index, StreamOffset next) {
  if (buffers_.available() == 0) reclaim_buffer();
  Connection& c = connections_[index];
  c.buffer = buffers_.take(next);
  if (c.buffer == none) {
    counters_.add(Counter::tcp_drop_receive_buffers);
    buffer_shortage_ = true;
    return false;
  }
  buffered_.add(c.buffer, {.owner = index, .since_ms = now_ms()});
  return true;
}

// What came out of order may be forgotten (RFC 2018 section 8): the peer sends it again.
void Stack::reclaim_buffer() {
  uint32_t buffer = buffered_.oldest();
  for (uint32_t steps = 0; steps < reclaim_steps_max && buffer != none; ++steps) {
    if (buffers_[buffer].unread == 0) {
      counters_.add(Counter::tcp_receive_buffers_reclaimed);
      release_buffer(connections_[buffered_.owner(buffer)]);
      return;
    }
    buffer = buffered_.newer(buffer);
  }
}

ConnectionIndex Stack::next_buffered(ConnectionIndex previous) const {
  const uint32_t buffer = previous.is_none()
                              ? buffered_.oldest()
                              : buffered_.newer(connections_[previous.value()].buffer);
  return buffer == none ? ConnectionIndex::none() : ConnectionIndex(buffered_.owner(buffer));
}

void Stack::release_buffer(Connection& c) {
  if (c.buffer == none) return;
  buffered_.remove(c.buffer);
  buffers_.give_back(c.buffer);
  c.buffer = none;
}

void Stack::leave_half_open(Connection& c) {
  half_open_.remove(c.deadline_ms);
  sources_.close_half(c.flow.remote);
}

void Stack::release_parts(uint32_t index) {
  Connection& c = connections_[index];
  if (c.state == State::syn_received) leave_half_open(c);
  if (c.fast_open) {
    c.fast_open = false;
    fast_open_.end();
  }
  sources_.close(c.flow.remote);
  if (c.sender_wanted) {
    c.sender_wanted = false;
    --sender_wanted_;
  }
  release_sender(c);
  release_buffer(c);
  if (c.in_line) line_remove(c.parked ? parked_line_ : senders_line_, index);
  wheel_.cancel(index);
  table_.remove(hash_of(c.flow), index);
  if (borrowed_.connection == index) borrowed_ = {};
  if (duplicates_[index % duplicates_.size()].connection == index) {
    duplicates_[index % duplicates_.size()] = {};
  }
}

// The connection is over. Its index lives on until the event is polled, if the session knows it.
void Stack::end(uint32_t index, CloseReason reason) {
  Connection& c = connections_[index];
  const bool known = c.state != State::syn_received;
  release_parts(index);
  c.state = State::closed;
  c.close_reason = static_cast<uint8_t>(reason) & 7;
  if (!known) {
    connection_pool_.give_back(index);
    return;
  }
  switch (reason) {
    case CloseReason::reset_by_peer:
      counters_.add(Counter::tcp_reset_by_peer);
      break;
    case CloseReason::aborted:
      counters_.add(Counter::tcp_aborted);
      break;
    case CloseReason::timed_out:
      counters_.add(Counter::tcp_timed_out);
      break;
    case CloseReason::finished:
    case CloseReason::none:
      counters_.add(Counter::tcp_finished);
      break;
  }
  c.events &= event_bit(EventKind::accepted);
  add_event(index, EventKind::closed);
}

void Stack::set_accepting(bool accepting) {
  accepting_ = accepting;
  if (accepting) return;
  // Bounded by max_half_open. Their ACKs will be answered with RST.
  for (uint32_t index = half_open_.oldest(); index != none; index = half_open_.oldest()) {
    counters_.add(Counter::tcp_half_open_reset);
    end(index, CloseReason::none);
  }
  for (uint32_t index = 0; index < connections_.size(); ++index) {
    if (connections_[index].state == State::fin_wait_2) end(index, CloseReason::finished);
  }
}

// Events.

void Stack::add_event(uint32_t index, EventKind kind) {
  Connection& c = connections_[index];
  c.events |= event_bit(kind);
  if (c.event_queued) return;
  c.event_queued = true;
  c.event_next = none;
  (event_last_ == none ? event_first_ : connections_[event_last_].event_next) = index;
  event_last_ = index;
}

bool Stack::poll_event(Event& out) {
  if (event_first_ == none) return false;
  const uint32_t index = event_first_;
  Connection& c = connections_[index];
  const auto kind = static_cast<EventKind>(__builtin_ctz(c.events));
  c.events = static_cast<uint8_t>(c.events & ~event_bit(kind));
  out = {.connection = ConnectionIndex(index),
         .kind = kind,
         .reason = static_cast<CloseReason>(c.close_reason),
         .all_acknowledged = c.sender == none};
  if (c.events != 0) return true;
  event_first_ = c.event_next;
  if (event_first_ == none) event_last_ = none;
  c.event_queued = false;
  if (kind == EventKind::closed) connection_pool_.give_back(index);
  return true;
}

// The line of those who have something to send, and the line of the parked.

void Stack::line_add(Line& line, uint32_t index) {
  Connection& c = connections_[index];
  c.in_line = true;
  c.line_next = none;
  c.line_previous = line.last;
  (line.last == none ? line.first : connections_[line.last].line_next) = index;
  line.last = index;
}

void Stack::line_remove(Line& line, uint32_t index) {
  Connection& c = connections_[index];
  (c.line_previous == none ? line.first : connections_[c.line_previous].line_next) = c.line_next;
  (c.line_next == none ? line.last : connections_[c.line_next].line_previous) = c.line_previous;
  c.in_line = false;
}

ConnectionIndex Stack::next_sender(Instant now) {
  now_ = std::max(now_, now);
  const uint32_t index = senders_line_.first;
  if (index == none) return ConnectionIndex::none();
  if (senders_line_.last != index) {
    line_remove(senders_line_, index);
    line_add(senders_line_, index);
  }
  return ConnectionIndex(index);
}

void Stack::park(ConnectionIndex connection) {
  Connection& c = connections_[connection.value()];
  if (c.state == State::closed || c.parked) return;
  if (c.in_line) line_remove(senders_line_, connection.value());
  c.parked = true;
  line_add(parked_line_, connection.value());
}

void Stack::unpark_all() {
  // Bounded: each leaves the line, and joins the other.
  for (uint32_t index = parked_line_.first; index != none; index = parked_line_.first) {
    line_remove(parked_line_, index);
    connections_[index].parked = false;
    line_add(senders_line_, index);
  }
}

ConnectionIndex Stack::waiting(uint32_t waiter) const {
  if (!sender_pool_.is_taken(waiter)) return ConnectionIndex::none();
  const uint32_t index = senders_[waiter].connection;
  return connections_[index].blocked ? ConnectionIndex(index) : ConnectionIndex::none();
}

void Stack::unblock(ConnectionIndex connection) {
  if (connection.is_none()) return;
  Connection& c = connections_[connection.value()];
  if (c.state == State::closed || !c.blocked) return;
  c.blocked = false;
  refresh(connection.value());
}

// After anything that may have changed what the connection has to send, or when.
void Stack::refresh(uint32_t index) {
  Connection& c = connections_[index];
  if (c.state == State::closed) return;
  const bool wants = has_output(c);
  if (wants && !c.in_line) {
    line_add(c.parked ? parked_line_ : senders_line_, index);
  } else if (!wants && c.in_line && !c.parked) {
    line_remove(senders_line_, index);
  }
  if (c.window_wanted && c.send_timer == SendTimer::none) {
    senders_[c.sender].progress_ms = now_ms();
    c.probes = 0;
    set_send_timer(c, SendTimer::persist, c.rtt.rto());
    stalled_.add(c.sender, {.owner = index, .since_ms = now_ms()});
  } else if (!c.window_wanted && c.send_timer == SendTimer::persist) {
    set_send_timer(c, SendTimer::none, Duration());
    stalled_.remove(c.sender);
  }
  schedule_wheel(index);
}

// Getters.

Usage Stack::usage() const {
  return {.connections = connection_pool_.in_use(),
          .half_open = half_open_.size(),
          .time_wait = time_wait_.size(),
          .send_queues = sender_pool_.in_use(),
          .receive_buffers = buffers_.in_use(),
          .sent_runs = recovery_pools_.runs.in_use(),
          .recoveries = recovery_pools_.episode_pool.in_use(),
          .fast_open = fast_open_.pending(),
          .stalled = stalled_.size()};
}

void Stack::publish_usage() const {
  const Usage now = usage();
  counters_.set(Counter::tcp_connections, now.connections);
  counters_.set(Counter::tcp_half_open, now.half_open);
  counters_.set(Counter::tcp_time_wait, now.time_wait);
  counters_.set(Counter::tcp_send_queues_in_use, now.send_queues);
  counters_.set(Counter::tcp_receive_buffers_in_use, now.receive_buffers);
  counters_.set(Counter::tcp_sent_runs_in_use, now.sent_runs);
  counters_.set(Counter::tcp_recoveries_in_use, now.recoveries);
}

void Stack::inform_of_sending(const Connection& c, Info& out) const {
  const Sender& sender = senders_[c.sender];
  const LossRecovery& recovery = sender.recovery;
  out.recovery = recovery.mode();
  out.pipe_bytes = recovery.pipe(flight(c));
  out.sacked_bytes = recovery.board().sacked_bytes();
  out.lost_bytes = recovery.board().lost_bytes();
  out.sent_runs = recovery.board().count();
  out.again = sender.again;
  out.duplicates_reported = recovery.duplicates_reported();
  out.delivered_bytes = recovery.rate().delivered();
  out.bytes_lost = recovery.rate().lost();
  out.marked_bytes = sender.marked_bytes;
  out.delivery_rate = recovery.rate().bytes_per_second();
  out.delivery_rate_app_limited = recovery.rate().rate_app_limited();
  out.reordering_seen = recovery.rack().reordering_seen();
  out.reordering_window = recovery.reordering_window(flight(c));
  out.application_limited = sender.limited.total(now_us(), LimitedBy::application);
  out.window_limited = sender.limited.total(now_us(), LimitedBy::window);
  out.congestion_limited = sender.limited.total(now_us(), LimitedBy::congestion);
}

Info Stack::info(ConnectionIndex connection) const {
  const Connection& c = connections_[connection.value()];
  Info out;
  out.flow = c.flow;
  out.state = c.state;
  out.timestamps = c.timestamps;
  out.sack = c.sack_permitted;
  out.blocked = c.blocked;
  out.parked = c.parked;
  out.peer_window_scale = c.snd_wscale;
  out.mss = c.mss;
  out.in_flight_bytes = c.in_flight;
  out.peer_window_bytes = c.snd_wnd;
  out.window_bytes = c.rcv_window();
  out.retransmissions = c.retransmissions;
  out.retransmission_back_off = c.rtt.back_off_count();
  // The SYN counts one, and so does a FIN that is acknowledged.
  const uint64_t una = c.snd_una.value();
  out.bytes_acknowledged = una > 0 ? una - 1 - (c.fin_sent && c.in_flight == 0 ? 1 : 0) : 0;
  const uint64_t next = c.rcv_nxt.value();
  const bool fin_received =
      c.state == State::close_wait || c.state == State::closing || c.state == State::last_ack;
  out.bytes_received = next > 0 ? next - 1 - (fin_received ? 1 : 0) : 0;
  out.bytes_queued = bytes_unacknowledged(connection);
  out.bytes_unread = static_cast<uint32_t>(readable(connection).size());
  BbrState passing;
  const CongestionControl congestion =
      c.sender == none ? start_congestion(c, &passing) : senders_[c.sender].congestion;
  out.congestion = congestion.algorithm();
  out.ecn = c.ecn;
  out.pacing_bytes_per_s = congestion.pacing_rate();
  out.pipe_ack_bytes = congestion.pipe_ack();
  out.marked_per_10000 = static_cast<uint32_t>(congestion.marked_share() * 10'000.0f);
  if (const BbrState* bbr = congestion.bbr(); bbr != nullptr) {
    out.bandwidth_bytes_per_s = static_cast<uint64_t>(bbr->bw);
    out.bandwidth_min_rtt = Duration::from_us(bbr->min_rtt_us);
  }
  out.cwnd_bytes = congestion.cwnd();
  out.ssthresh_bytes = congestion.ssthresh();
  if (c.sender != none) {
    inform_of_sending(c, out);
  }
  out.srtt = c.rtt.srtt();
  out.rttvar = c.rtt.rttvar();
  out.min_rtt = c.rtt.min_rtt();
  out.rto = c.rtt.rto();
  return out;
}

}  // namespace sluice::tcp
