// What a segment carries: its text and its FIN. RFC 9293 section 3.10.7.4, seventh and eighth; RFC
// 5681 section 4.2 (when to acknowledge); RFC 2018 and 2883 (what is reported).
#include <algorithm>

#include "base/assert.h"
#include "tcp/stack.h"

namespace sluice::tcp {

using stats::Counter;
namespace flag = wire::tcp_flag;

// Seventh: the text. A FIN is looked at afterwards.
void Stack::receive_payload(uint32_t index, const Segment& segment, int32_t distance) {
  Connection& c = connections_[index];
  if (!may_receive(c.state)) return;  // behind the peer's FIN
  Bytes payload = segment.payload;
  const StreamOffset begin = unwrap(c.irs, segment.seq, c.rcv_nxt);
  StreamOffset offset = begin;
  if (distance < 0) {
    const size_t known = std::min(payload.size(), static_cast<size_t>(-int64_t{distance}));
    note_duplicate(index, {begin, begin + known});
    payload = payload.subspan(known);
    offset = c.rcv_nxt;
    c.ack_now = true;
  }
  const uint64_t ahead = offset - c.rcv_nxt;
  const uint64_t room = c.rcv_window() > ahead ? c.rcv_window() - ahead : 0;
  if (payload.size() > room) {
    counters_.add(Counter::tcp_drop_beyond_window);
    payload = payload.first(room);
    c.ack_now = true;
  }
  if (payload.empty()) return;
  if (fin_queued(c.state)) {
    if (ahead > 0) {
      c.ack_now = true;  // not kept: it will be sent again when the gap is closed
      return;
    }
    counters_.add(Counter::tcp_drop_after_close, payload.size());
    c.rcv_nxt += payload.size();
    schedule_ack(c);
    return;
  }
  if (c.buffer == none && ahead == 0) {
    borrowed_ = {index, payload};
    c.rcv_nxt += payload.size();
    counters_.add(Counter::tcp_payload_received_bytes, payload.size());
    schedule_ack(c);
    return;
  }
  keep_payload(index, offset, payload);
}

void Stack::keep_payload(uint32_t index, StreamOffset offset, Bytes payload) {
  Connection& c = connections_[index];
  if (c.buffer == none && !take_buffer(index, c.rcv_nxt)) {
    c.ack_now = true;
    return;
  }
  ReceiveBuffer& buffer = buffers_[c.buffer];
  const bool had_gaps = !buffer.reassembler.is_empty();
  MutableBytes window = buffers_.window(c.buffer);
  window = window.first(std::min<size_t>(window.size(), c.rcv_window()));
  const Reassembler::Inserted inserted = buffer.reassembler.insert(offset, payload, window);
  if (!inserted.duplicate.empty()) note_duplicate(index, inserted.duplicate);
  switch (inserted.outcome) {
    case Reassembler::Outcome::in_order:
      buffer.unread += inserted.newly_contiguous;
      c.rcv_nxt = buffer.reassembler.next();
      counters_.add(Counter::tcp_payload_received_bytes, inserted.newly_contiguous);
      schedule_ack(c);
      break;
    case Reassembler::Outcome::stored:
      counters_.add(Counter::tcp_out_of_order_segments);
      break;
    case Reassembler::Outcome::duplicate:
      counters_.add(Counter::tcp_duplicate_segments);
      break;
    case Reassembler::Outcome::outside_window:
      counters_.add(Counter::tcp_drop_beyond_window);
      break;
    case Reassembler::Outcome::too_many_gaps:
      counters_.add(Counter::tcp_drop_too_many_gaps);
      break;
  }
  // RFC 5681 section 4.2: at once, when it came out of order or fills a gap.
  if (had_gaps || inserted.outcome != Reassembler::Outcome::in_order) c.ack_now = true;
  if (buffer.is_idle()) release_buffer(c);
}

// RFC 5681 section 4.2: every second full segment, or after a while.
void Stack::schedule_ack(Connection& c) {
  const auto unacknowledged = static_cast<uint32_t>(wrap(c.irs, c.rcv_nxt) - c.last_ack_sent);
  const uint32_t full = link_mss(c.flow) - (c.timestamps ? uint32_t{timestamps_bytes} : 0);
  if (unacknowledged >= 2 * full) {
    c.ack_now = true;
  } else if (!c.ack_delayed && !c.ack_now) {
    c.ack_delayed = true;
    c.ack_deadline_ms = now_ms() + static_cast<uint32_t>(config_.delayed_ack.ms());
  }
}

void Stack::note_duplicate(uint32_t index, const StreamRange& range) {
  duplicates_[index % duplicates_.size()] = {index, range};
  connections_[index].ack_now = true;
}

// RFC 3168 section 6.1.3: a mark is echoed until the peer says CWR. RFC 8257 section 3.2: each is
// echoed once, and a change at once.
void Stack::receive_mark(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  if (segment.congestion_experienced) counters_.add(Counter::tcp_ecn_marks_received);
  if (config_.congestion == CongestionAlgorithm::dctcp) {
    if (segment.payload.empty() || c.ece_due == segment.congestion_experienced) return;
    c.ece_due = segment.congestion_experienced;
    c.ack_now = true;
    return;
  }
  if (segment.has(wire::tcp_flag::cwr)) c.ece_due = false;
  if (segment.congestion_experienced) c.ece_due = true;
}

// Eighth: the FIN bit.
void Stack::receive_fin(uint32_t index, const Segment& segment) {
  Connection& c = connections_[index];
  if (segment.has(flag::fin)) {
    const StreamOffset at = unwrap(c.irs, segment.seq, c.rcv_nxt) + segment.payload.size();
    // A borrowed payload may yet have to be given up, when no buffer is free to keep its rest: then
    // the FIN behind it has not been seen either.
    const bool uncertain = borrowed_.connection == index && buffers_.available() == 0;
    if (at == c.rcv_nxt && !uncertain) {
      handle_fin(index);
      return;
    }
    if (c.buffer != none && at > c.rcv_nxt) buffers_[c.buffer].fin_at = at;
    c.ack_now = true;
  } else if (c.buffer != none && buffers_[c.buffer].fin_at == c.rcv_nxt) {
    handle_fin(index);  // this segment closed the gap before it
  }
}

void Stack::handle_fin(uint32_t index) {
  Connection& c = connections_[index];
  c.rcv_nxt += 1;
  c.ack_now = true;
  switch (c.state) {
    case State::established:
      c.state = State::close_wait;
      add_event(index, EventKind::peer_closed);
      break;
    case State::fin_wait_1:
      c.state = State::closing;
      break;
    case State::fin_wait_2:
      enter_time_wait(index);
      break;
    case State::closed:
    case State::syn_received:
    case State::close_wait:
    case State::closing:
    case State::last_ack:
      break;
  }
}

// Both FINs are acknowledged, or will be by the ACK that leaves now.
void Stack::enter_time_wait(uint32_t index) {
  Connection& c = connections_[index];
  const bool recycled = time_wait_.insert(now_, c.flow,
                                          {.snd_nxt = wrap(c.iss, c.snd_nxt()),
                                           .rcv_nxt = wrap(c.irs, c.rcv_nxt),
                                           .ts_recent = c.ts_recent,
                                           .timestamp_offset = c.ts_offset,
                                           .has_timestamps = c.timestamps});
  if (recycled) counters_.add(Counter::tcp_time_wait_recycled);
  if (c.ack_now) reply(c.flow, header_for(c, c.snd_nxt(), flag::ack));
  end(index, CloseReason::finished);
}

}  // namespace sluice::tcp
