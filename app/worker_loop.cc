#include "worker_loop.h"

#include <rte_pause.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>

#include "base/assert.h"
#include "clock.h"

namespace sluice::app {
namespace {

using stats::Counter;

// Bounds of one turn, so that no part starves another.
constexpr uint32_t messages_per_turn = 256;
constexpr uint32_t frames_per_turn = 64;
// An idle worker polls on for this long before its first sleep: the next segment of a busy
// connection comes sooner.
constexpr Duration spin = 50_us;
constexpr Duration sleep_min = 20_us;
// Wall clock, gauges: ten times a second.
constexpr Duration tick_interval = 100_ms;
constexpr Duration long_turn = 1_ms;
// Connection numbers looked at for one page.
constexpr uint32_t page_scan_max = 65'536;

}  // namespace

Worker::Worker(const WorkerOptions& options)
    : adaptive_(options.adaptive),
      sleep_max_(options.sleep_max),
      bell_(options.bell),
      sleep_(sleep_min) {
  ASSERT(!adaptive_ || bell_ != nullptr);
  lanes_.reserve(options.lanes.size());
  for (const Lane& lane : options.lanes) lanes_.emplace_back(lane);
}

void Worker::run() {
  prctl(PR_SET_TIMERSLACK, 1UL);  // nanoseconds; the default of 50 us would lengthen every sleep
  last_work_ = last_turn_ = tick_due_ = clock_now();
  while (true) {
    const Instant now = std::max(clock_now(), last_turn_);
    account(now, last_worked_);
    if (const uint32_t orders = orders_.load(std::memory_order_acquire); orders != 0) {
      if (!obey(now, orders)) return;
    }
    if (now >= tick_due_) tick(now);
    last_worked_ = false;
    for (LaneState& lane : lanes_) last_worked_ |= turn(lane, now);
    if (last_worked_) {
      last_work_ = now;
      sleep_ = sleep_min;
    } else {
      idle(now);
    }
  }
}

// Everything of one turn that concerns one port.
bool Worker::turn(LaneState& lane, Instant now) {
  bool worked = lane.has_port && receive(lane, now);
  content::ToWorker message;
  for (uint32_t n = 0; n < messages_per_turn && lane.parts.mailbox->receive(message); ++n) {
    lane.parts.engine->handle_message(now, message);
    worked = true;
  }
  if (lane.has_port) lane.parts.queue.reap();
  lane.parts.engine->handle_timeout(now);
  if (lane.has_port) {
    worked |= send(lane, now);
    worked |= lane.parts.queue.flush();
  } else {
    throw_away(lane, now);
  }
  post(lane);
  return worked;
}

bool Worker::receive(LaneState& lane, Instant now) {
  if (lane.parts.queue.receive(lane.burst) == 0) return lane.burst.handed_over > 0;
  for (const wire::RxFrame& frame : lane.burst.view()) lane.parts.engine->handle_frame(now, frame);
  lane.parts.queue.release(lane.burst);
  return true;
}

bool Worker::send(LaneState& lane, Instant now) {
  uint32_t room = lane.parts.queue.room();
  if (room == 0) {
    lane.parts.counters->add(Counter::worker_tx_stalls);
    return false;
  }
  uint32_t sent = 0;
  while (sent < frames_per_turn && room > 0 && lane.parts.engine->poll_frame(now, lane.frame)) {
    lane.parts.queue.send(lane.frame);
    room = lane.parts.queue.room();
    ++sent;
  }
  return sent > 0;
}

void Worker::post(LaneState& lane) {
  content::ToStore message;
  for (uint32_t n = 0; n < messages_per_turn; ++n) {
    if (lane.held) {
      message = *lane.held;
      lane.held.reset();
    } else if (!lane.parts.engine->poll_message(message)) {
      break;
    }
    if (!lane.parts.mailbox->send(message)) {
      lane.held = message;
      lane.parts.counters->add(Counter::worker_mailbox_full);
      break;
    }
  }
  lane.parts.mailbox->ring_if_asleep();
}

// A turn lasts from one reading of the clock to the next.
void Worker::account(Instant now, bool worked) {
  stats::Counters& counters = *lanes_.front().parts.counters;
  counters.add(Counter::worker_turns);
  if (worked) {
    const Duration took = now - last_turn_;
    const auto took_ns = static_cast<uint64_t>(took.ns());
    counters.add(Counter::worker_busy_turns);
    counters.add(Counter::worker_busy_ns, took_ns);
    if (took > long_turn) counters.add(Counter::worker_long_turns);
    turn_ns_.record(took_ns);
  }
  last_turn_ = now;
}

void Worker::idle(Instant now) {
  if (!adaptive_ || now - last_work_ < spin) {
    rte_pause();
    return;
  }
  Instant until = now + sleep_;
  for (const LaneState& lane : lanes_) {
    until = std::min(until, lane.parts.engine->next_timeout());
    if (lane.held) until = now;
  }
  sleep_ = std::min(sleep_ * 2, sleep_max_);
  if (until <= now) return;
  bell_->announce();
  const bool has_mail = std::any_of(lanes_.begin(), lanes_.end(), [](const LaneState& lane) {
    return lane.has_port && lane.parts.queue.has_mail();
  });
  if (has_mail) {
    bell_->stay_awake();
    return;
  }
  bell_->wait(until - now);
  lanes_.front().parts.counters->add(Counter::worker_sleeps);
}

// Returns false when the loop is to end.
bool Worker::obey(Instant now, uint32_t orders) {
  if ((orders & order_stop) != 0) return false;
  if ((orders & order_page) != 0) {
    orders_.fetch_and(~order_page, std::memory_order_acquire);
    if (page_state_.load(std::memory_order_acquire) == Page::asked) {
      fill_page();
      page_state_.store(Page::ready, std::memory_order_release);
    }
  }
  if ((orders & order_leave) != 0) {
    orders_.fetch_and(~order_leave, std::memory_order_acquire);
    leave_ports(now);
  }
  if ((orders & order_drain) != 0 && !draining_) {
    draining_ = true;
    for (LaneState& lane : lanes_) lane.parts.engine->begin_drain(now);
  }
  if ((orders & order_abort) != 0 && !aborted_) {
    aborted_ = true;
    for (LaneState& lane : lanes_) lane.parts.engine->abort_all(now);
  }
  if (draining_) {
    const bool drained = std::all_of(lanes_.begin(), lanes_.end(), [](const LaneState& lane) {
      return lane.parts.engine->is_drained();
    });
    drained_.store(drained, std::memory_order_relaxed);
  }
  return true;
}

void Worker::leave_ports(Instant now) {
  const uint32_t wanted = to_leave_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < lanes_.size(); ++i) {
    LaneState& lane = lanes_[i];
    if ((wanted >> i & 1u) == 0 || !lane.has_port) continue;
    lane.has_port = false;
    lane.parts.engine->abort_all(now);
    left_.fetch_or(uint32_t{1} << i, std::memory_order_release);
  }
}

// The engine of a lane without a port lives on, so that its connections and their leases end in
// their own way: its frames take no pins and go nowhere.
void Worker::throw_away(LaneState& lane, Instant now) {
  for (uint32_t n = 0; n < frames_per_turn && lane.parts.engine->poll_frame(now, lane.frame); ++n) {
  }
}

void Worker::fill_page() {
  page_.count = 0;
  page_.next = 0;
  page_.total = 0;
  if (page_lane_ >= lanes_.size()) return;
  const tcp::Stack& tcp = lanes_[page_lane_].parts.engine->tcp();
  page_.total = tcp.connection_count();
  const uint32_t end = tcp.connections_max();
  uint32_t index = page_from_;
  uint32_t looked_at = 0;
  for (; index < end && looked_at < page_scan_max && page_.count < page_.rows.size(); ++index) {
    ++looked_at;
    const tcp::ConnectionIndex connection(index);
    if (tcp.is_open(connection)) page_.rows[page_.count++] = tcp.info(connection);
  }
  if (index < end) page_.next = index;
}

bool Worker::ask_connections(uint32_t lane, uint32_t from, Duration patience, ConnectionPage& out) {
  if (page_state_.load(std::memory_order_acquire) == Page::asked) return false;
  page_lane_ = lane;
  page_from_ = from;
  page_state_.store(Page::asked, std::memory_order_release);
  order(order_page);
  const timespec step{.tv_sec = 0, .tv_nsec = 200'000};
  for (int64_t waited_ns = 0; waited_ns < patience.ns(); waited_ns += step.tv_nsec) {
    if (page_state_.load(std::memory_order_acquire) == Page::ready) {
      out = page_;
      return true;
    }
    nanosleep(&step, nullptr);
  }
  return false;
}

void Worker::tick(Instant now) {
  tick_due_ = now + tick_interval;
  const WallTime wall = wall_clock_now();
  for (LaneState& lane : lanes_) {
    lane.parts.engine->set_wall_clock(wall);
    publish_gauges(lane);
  }
}

void Worker::publish_gauges(LaneState& lane) {
  const engine::Snapshot now = lane.parts.engine->snapshot();
  stats::Counters& counters = *lane.parts.counters;
  counters.set(Counter::tcp_connections, now.connections);
  counters.set(Counter::tcp_half_open, now.half_open);
  counters.set(Counter::tcp_time_wait, now.time_wait);
  counters.set(Counter::tcp_send_queues, now.send_queues);
  counters.set(Counter::tcp_receive_buffers, now.receive_buffers);
  counters.set(Counter::tcp_stalled, now.stalled);
  counters.set(Counter::head_slots_used, now.head_slots_in_use);
  counters.set(Counter::objects_used, now.objects_in_use);
  counters.set(Counter::lookups_open, now.lookups_open);
  counters.set(Counter::neighbors_known, now.neighbors);
  counters.set(Counter::nic_pins, now.pins);
  counters.set(Counter::nic_frames_in_flight, lane.has_port ? lane.parts.queue.in_flight() : 0);
}

}  // namespace sluice::app
