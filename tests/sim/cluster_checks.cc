// What holds at every step of a Cluster's run.

#include <algorithm>

#include "cluster.h"
#include "stats/catalogue.h"

namespace sluice::sim {
namespace {

using stats::Counter;

// The longest that a retransmission or a probe may be put off: tcp::rto_max, and a tick.
constexpr Duration timer_max = 61_s;
// Turns in which a timer may say that it is due and nothing comes of it.
constexpr uint32_t idle_turns_max = 100;

// Frames dropped below TCP, each with its cause.
uint64_t dropped_below_tcp(const stats::Counters& counters) {
  static const std::vector<Counter> causes = [] {
    std::vector<Counter> found;
    for (size_t i = 0; i < stats::counter_count; ++i) {
      const stats::CounterRow& row = stats::row(stats::counter_at(i));
      if (row.name.starts_with("inet_drop_") && row.unit == "frames") {
        found.push_back(stats::counter_at(i));
      }
    }
    return found;
  }();
  uint64_t sum = 0;
  for (const Counter cause : causes) sum += counters.get(cause);
  return sum;
}

}  // namespace

void Cluster::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why + ", at " + std::to_string(now_ns_) + " ns";
}

void Cluster::check() {
  for (Worker& worker : workers_) {
    check_pins(worker);
    check_timers(worker);
    check_frames(worker);
    check_budget(worker);
  }
  for (const auto& path : paths_) {
    if (!path->down.is_balanced() || !path->up.is_balanced()) fail("a link lost count of frames");
  }
}

// Pins equal outstanding extents: a content chunk is pinned by frames in the ring and by nothing
// else; a head slot by them and by the send queue whose it is.
void Cluster::check_pins(const Worker& worker) {
  std::vector<uint32_t> in_ring(options_.chunk_count + options_.head_slots);
  for (const Train& train : worker.ring) {
    for (const content::Extent& extent : train.frame.payload) ++in_ring[extent.chunk.value()];
  }
  uint64_t total = 0;
  for (uint32_t i = 0; i < in_ring.size(); ++i) {
    const uint32_t pins = worker.pins->pins(content::ChunkIndex(i));
    total += pins;
    if (i < options_.chunk_count ? pins == in_ring[i] : pins >= in_ring[i]) continue;
    return fail("chunk " + std::to_string(i) + " has " + std::to_string(pins) + " pins and " +
                std::to_string(in_ring[i]) + " extents in the ring");
  }
  if (total != worker.pins->total() + worker.pins_for_good) fail("the sum of pins is wrong");
}

void Cluster::check_timers(Worker& worker) {
  const Instant timeout = worker.engine->next_timeout();
  // Due, and due again, and nothing moves: a timer that nobody handles.
  const bool stuck = timeout <= instant() && timeout == worker.timeout_seen && worker.ring.empty();
  worker.timeout_repeats = stuck ? worker.timeout_repeats + 1 : 0;
  worker.timeout_seen = timeout;
  if (worker.timeout_repeats > idle_turns_max) return fail("a timer is due and never handled");

  const tcp::Stack& tcp = worker.engine->tcp();
  if (tcp.next_timeout() <= instant() + timer_max) return;
  for (uint32_t i = 0; i < tcp.connections_max(); ++i) {
    const tcp::ConnectionIndex connection(i);
    if (!tcp.is_open(connection)) continue;
    const tcp::Info info = tcp.info(connection);
    const bool waits_elsewhere = info.blocked || info.parked || worker.ring.size() > 0;
    if (info.in_flight_bytes > 0 || (info.bytes_queued > 0 && !waits_elsewhere)) {
      return fail("a connection with " + std::to_string(info.in_flight_bytes) +
                  " bytes in flight and " + std::to_string(info.bytes_queued) +
                  " queued has no timer");
    }
  }
}

// Frames in are delivered, or dropped with a cause. Neighbour frames are both taken and dropped.
void Cluster::check_frames(const Worker& worker) {
  const stats::Counters& counters = *worker.counters;
  const uint64_t accounted =
      counters.get(Counter::tcp_segments_received) + dropped_below_tcp(counters) +
      counters.get(Counter::inet_path_mtu_messages) +
      counters.get(Counter::inet_unreachable_messages) + counters.get(Counter::inet_echo_answered);
  if (accounted <= worker.frames_in && accounted + worker.neighbor_frames_in >= worker.frames_in) {
    return;
  }
  fail(std::to_string(worker.frames_in) + " frames came (" +
       std::to_string(worker.neighbor_frames_in) + " of neighbours) and " +
       std::to_string(accounted) + " are accounted for");
}

void Cluster::check_budget(const Worker& worker) {
  const engine::Snapshot s = worker.engine->snapshot();
  if (s.connections > options_.connections_max || s.half_open > options_.connections_max) {
    fail("more connections than the budget");
  }
  if (s.send_queues > options_.send_queues) fail("more send queues than the budget");
  if (worker.engine->tcp().usage().sent_runs > options_.sent_runs + options_.send_queues) {
    fail("more records of what was sent than the budget");
  }
  if (worker.engine->tcp().usage().recoveries > options_.recoveries) {
    fail("more recoveries than the budget");
  }
  if (s.receive_buffers > options_.connections_max) fail("more receive buffers than the budget");
  if (s.head_slots_in_use > options_.head_slots) fail("more head slots than the budget");
  if (store_->open_files() > options_.open_files_max) fail("more open files than the budget");
}

std::string Cluster::leaks() const {
  std::string what;
  for (const Worker& worker : workers_) {
    const engine::Snapshot s = worker.engine->snapshot();
    const auto add = [&what](uint64_t left, const char* name) {
      if (left != 0) what += std::string(what.empty() ? "" : ", ") + name + " left";
    };
    add(s.pins, "pins");
    add(s.head_slots_in_use, "head slots");
    add(s.objects_in_use, "object references");
    add(s.lookups_open, "lookups");
    add(s.send_queues, "send queues");
    add(s.receive_buffers, "receive buffers");
    add(worker.engine->tcp().usage().sent_runs, "records of what was sent");
    add(worker.engine->tcp().usage().recoveries, "recoveries");
    for (uint32_t i = 0; i < options_.chunk_count; ++i) {
      if (worker.pins->leases(content::ChunkIndex(i)) != 0) {
        add(1, "leases");
        break;
      }
    }
  }
  return what;
}

}  // namespace sluice::sim
