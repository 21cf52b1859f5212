// The session's side of the Stack: what it reads, queues and ends.
#include "tcp/stack.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice::tcp {

using stats::Counter;

Bytes Stack::readable(ConnectionIndex connection) const {
  const Connection& c = connections_[connection.value()];
  if (c.state == State::closed) return {};
  if (borrowed_.connection == connection.value()) return borrowed_.bytes;
  return c.buffer == none ? Bytes{} : buffers_.unread(c.buffer);
}

void Stack::consume(ConnectionIndex connection, size_t n) {
  const uint32_t index = connection.value();
  Connection& c = connections_[index];
  if (c.state == State::closed) return;
  if (borrowed_.connection == index) {
    const Bytes rest = borrowed_.bytes.subspan(n);
    borrowed_ = {};
    if (!rest.empty() && fin_queued(c.state)) {
      counters_.add(Counter::tcp_drop_after_close, rest.size());
    } else if (!rest.empty()) {
      if (!take_buffer(index, c.rcv_nxt - rest.size())) {
        c.rcv_nxt = c.rcv_nxt - rest.size();  // not acknowledged: the peer sends it again
      } else {
        static_cast<void>(buffers_[c.buffer].reassembler.insert(c.rcv_nxt - rest.size(), rest,
                                                                buffers_.window(c.buffer)));
        buffers_[c.buffer].unread = static_cast<uint32_t>(rest.size());
      }
    }
  } else if (c.buffer != none) {
    ReceiveBuffer& buffer = buffers_[c.buffer];
    ASSERT(n <= buffer.unread);
    buffer.begin += static_cast<uint32_t>(n);
    buffer.unread -= static_cast<uint32_t>(n);
    if (buffer.is_idle()) release_buffer(c);
  }
  // A window that was as good as closed and is open again: RFC 9293 section 3.8.6.2.2.
  const uint32_t offered = c.rcv_window();
  if (offered < receive_buffer_bytes / 4 && window_max(c) - offered >= receive_buffer_bytes / 2 &&
      may_receive(c.state)) {
    c.ack_now = true;
  }
  refresh(index);
}

// Nobody consumed what was borrowed: it is kept, as if consume(0) had been called.
void Stack::settle() {
  if (borrowed_.connection != none) consume(ConnectionIndex(borrowed_.connection), 0);
}

void Stack::want_sender(Connection& c) {
  counters_.add(Counter::tcp_send_queues_exhausted);
  if (c.sender_wanted) return;
  c.sender_wanted = true;
  ++sender_wanted_;
}

bool Stack::take_sender(Connection& c) {
  const auto self = ConnectionIndex(static_cast<uint32_t>(&c - connections_.begin()));
  if (sender_pool_.available() == 0) shed_stalled(self);
  const uint32_t index = sender_pool_.take();
  if (index == none) {
    want_sender(c);
    return false;
  }
  if (c.sender_wanted) {
    c.sender_wanted = false;
    --sender_wanted_;
  }
  c.sender = index;
  recall_path(c);
  Sender& sender = senders_[index];
  sender.queue.reset(c.snd_nxt());
  sender.congestion = start_congestion(c, bbr_.size() > 0 ? &bbr_[index] : nullptr);
  sender.pacer.set_train(sender.congestion.send_quantum());
  sender.held = false;
  start_pacing(c, sender);
  sender.recovery.reset(c.snd_nxt(), c.path_memory);
  sender.limited.reset(now_us());
  sender.again = {};
  sender.marked_bytes = 0;
  sender.connection = static_cast<uint32_t>(&c - connections_.begin());
  sender.window_max = c.snd_wnd;
  sender.limited_to = low_half(c.snd_nxt());
  sender.progress_ms = now_ms();
  sender.path = {};
  sender.path.again_ms = now_ms();
  if (c.mss >= c.mss_high)
    sender.path.again_ms += static_cast<uint32_t>(PathSearch::raise_after.ms());
  sender.probe_due = false;
  sender.override_due = false;
  c.probes = 0;
  return true;
}

// A Sender came free and somebody was refused one: tells the next of them, in table order. Bounded:
// one walk around the table.
void Stack::offer_sender() {
  for (size_t steps = 0; steps < connections_.size(); ++steps) {
    sender_wanted_cursor_ = (sender_wanted_cursor_ + 1) % connections_max();
    Connection& c = connections_[sender_wanted_cursor_];
    if (!c.sender_wanted) continue;
    c.sender_wanted = false;
    --sender_wanted_;
    add_event(sender_wanted_cursor_, EventKind::acknowledged);
    return;
  }
}

bool Stack::queue_span(uint32_t index, const Span& span) {
  Connection& c = connections_[index];
  if (!may_send(c.state)) return false;
  if (c.sender == none && !take_sender(c)) return false;
  if (!senders_[c.sender].queue.push(spans_, span)) return false;
  refresh(index);
  return true;
}

bool Stack::send_slot(ConnectionIndex connection, content::ChunkIndex slot, uint32_t offset_bytes,
                      uint32_t length_bytes) {
  ASSERT(length_bytes > 0);
  return queue_span(connection.value(), {.offset_bytes = offset_bytes,
                                         .length_bytes = length_bytes,
                                         .source = slot.value(),
                                         .is_object = false});
}

bool Stack::send_object(ConnectionIndex connection, content::ObjectHandle object,
                        uint64_t offset_bytes, uint64_t length_bytes) {
  ASSERT(length_bytes > 0);
  return queue_span(connection.value(), {.offset_bytes = offset_bytes,
                                         .length_bytes = length_bytes,
                                         .source = object.value(),
                                         .is_object = true});
}

size_t Stack::spans_free(ConnectionIndex connection) {
  Connection& c = connections_[connection.value()];
  if (!may_send(c.state)) return 0;
  if (c.sender != none) {
    return SendQueue::spans_free(spans_, senders_[c.sender].queue.span_count());
  }
  if (sender_pool_.available() > senders_reserved_ || shed_stalled(connection)) {
    return SendQueue::spans_free(spans_, 0);
  }
  want_sender(c);
  return 0;
}

uint64_t Stack::bytes_unacknowledged(ConnectionIndex connection) const {
  const Connection& c = connections_[connection.value()];
  if (c.sender == none) return 0;
  return senders_[c.sender].queue.end() - std::min(c.snd_una, senders_[c.sender].queue.end());
}

void Stack::close(Instant now, ConnectionIndex connection) {
  now_ = std::max(now_, now);
  const uint32_t index = connection.value();
  Connection& c = connections_[index];
  if (!may_send(c.state)) return;
  c.state = c.state == State::established ? State::fin_wait_1 : State::last_ack;
  // What the session has not read it never will.
  if (borrowed_.connection != index && c.buffer != none) {
    ReceiveBuffer& buffer = buffers_[c.buffer];
    counters_.add(Counter::tcp_drop_after_close, buffer.unread);
    release_buffer(c);
  }
  refresh(index);
}

void Stack::drop_half_open(ConnectionIndex connection) {
  if (connections_[connection.value()].state != State::syn_received) return;
  counters_.add(Counter::tcp_half_open_unreachable);
  end(connection.value(), CloseReason::none);
}

void Stack::abort(Instant now, ConnectionIndex connection) {
  now_ = std::max(now_, now);
  const uint32_t index = connection.value();
  if (!is_open(connection)) return;
  Connection& c = connections_[index];
  reply(c.flow, header_for(c, c.snd_nxt(), wire::tcp_flag::rst | wire::tcp_flag::ack));
  end(index, CloseReason::aborted);
}

bool Stack::shed_stalled(ConnectionIndex except) {
  uint32_t sender = stalled_.oldest();
  if (sender != none && stalled_.owner(sender) == except.value()) sender = stalled_.newer(sender);
  if (sender == none) return false;
  const auto stalled_ms = static_cast<int32_t>(now_ms() - stalled_.since_ms(sender));
  if (stalled_ms < config_.stall_grace.ms()) return false;
  counters_.add(Counter::tcp_stalled_shed);
  give_up(stalled_.owner(sender));
  return true;
}

void Stack::set_deadline(Instant now, ConnectionIndex connection, Duration after) {
  if (!is_open(connection)) return;
  now_ = std::max(now_, now);
  Connection& c = connections_[connection.value()];
  c.deadline_ms = now_ms() + static_cast<uint32_t>(after.ms()) + 1;  // never early
  c.timed = true;
  schedule_wheel(connection.value());
}

void Stack::clear_deadline(ConnectionIndex connection) {
  connections_[connection.value()].timed = false;
}

const Flow& Stack::flow(ConnectionIndex connection) const {
  return connections_[connection.value()].flow;
}

inet::PathRef& Stack::path(ConnectionIndex connection) {
  return connections_[connection.value()].path;
}

}  // namespace sluice::tcp
