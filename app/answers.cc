#include "answers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "clock.h"
#include "inet/address.h"
#include "replica_answers.h"
#include "stats/catalogue.h"

namespace sluice::app {
namespace {

using stats::Counter;

// How long a worker may take to list connections: it looks at its orders every turn.
constexpr Duration page_patience = 1_s;

// Numbers between commas: "0,1,24". Returns false when it is anything else.
bool parse_numbers(std::string_view text, std::array<uint32_t, 3>& out) {
  size_t n = 0;
  while (!text.empty()) {
    if (n == out.size()) return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out[n++]);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (text.empty()) return true;
    if (text.front() != ',') return false;
    text.remove_prefix(1);
    if (text.empty()) return false;
  }
  return true;
}

using CounterList = std::vector<const stats::Counters*>;

void add_worker(const Worker& worker, CounterList& list) {
  for (size_t i = 0; i < worker.lane_count(); ++i) list.push_back(worker.lane(i).counters);
}

uint64_t sum(const CounterList& list, Counter counter) {
  uint64_t total = 0;
  for (const stats::Counters* each : list) total += each->get(counter);
  return total;
}

// {"layer": {"counter": value}}: a dictionary of DPDK's takes at most 256 entries. Without the
// layer `replica`, or that alone: together they are longer than an answer may be.
Json by_layer(const CounterList& list, bool replica) {
  Json out = Json::object();
  for (size_t i = 0; i < stats::counter_count; ++i) {
    const stats::CounterRow& row = stats::row(stats::counter_at(i));
    // The registry's counters are the replica's to tell, too.
    if ((row.layer == "replica" || row.layer == "cluster") != replica) continue;
    out[std::string(row.layer)][std::string(row.name)] = sum(list, stats::counter_at(i));
  }
  return out;
}

std::optional<Json> stats_answer(const Running& running, std::string_view parameters) {
  CounterList list;
  if (parameters.empty() || parameters == "total") {
    for (const Worker* worker : running.workers) add_worker(*worker, list);
    list.push_back(&running.store->counters());
  } else if (parameters == "store") {
    list.push_back(&running.store->counters());
  } else if (parameters == "replica") {
    if (running.replica != nullptr) {
      list.push_back(&running.replica->counters());
      if (running.replica->registry_counters() != nullptr) {
        list.push_back(running.replica->registry_counters());
      }
    }
    return by_layer(list, true);
  } else {
    std::array<uint32_t, 3> numbers{};
    if (!parse_numbers(parameters, numbers) || parameters.find(',') != std::string_view::npos ||
        numbers[0] >= running.workers.size()) {
      return std::nullopt;
    }
    add_worker(*running.workers[numbers[0]], list);
  }
  return by_layer(list, false);
}

Json workers_answer(const Running& running) {
  Json out = Json::array();
  for (size_t i = 0; i < running.workers.size(); ++i) {
    const Worker& worker = *running.workers[i];
    CounterList list;
    add_worker(worker, list);
    stats::HistogramSnapshot turns;
    turns.add(worker.turn_ns());
    Json row = {{"worker", i},
                {"core", running.eal->core(static_cast<uint32_t>(i))},
                {"draining", running.is_draining()},
                {"drained", worker.is_drained()}};
    for (const Counter counter :
         {Counter::worker_turns, Counter::worker_busy_turns, Counter::worker_busy_ns,
          Counter::worker_sleeps, Counter::worker_long_turns, Counter::tcp_connections,
          Counter::rx_frames, Counter::tx_frames, Counter::tx_bytes}) {
      row[std::string(stats::row(counter).name)] = sum(list, counter);
    }
    stats::HistogramSnapshot first_byte;
    worker.add_first_byte_ns(first_byte);
    row["requests_timed"] = first_byte.count();
    row["first_byte_ns_median"] = first_byte.quantile(500);
    row["first_byte_ns_p99"] = first_byte.quantile(990);
    row["first_byte_ns_max"] = first_byte.quantile(1000);
    row["busy_turn_ns_median"] = turns.quantile(500);
    row["busy_turn_ns_p99"] = turns.quantile(990);
    row["busy_turn_ns_max"] = turns.quantile(1000);
    out.push_back(row);
  }
  return out;
}

std::string mac_text(const nic::MacAddress& mac) {
  return fmt::format("{:02x}", fmt::join(mac, ":"));
}

std::string offloads_text(const nic::Offloads& offloads) {
  std::string out;
  const auto add = [&](bool has, const char* name) {
    if (!has) return;
    out += out.empty() ? "" : " ";
    out += name;
  };
  add(offloads.rx_checksum, "rx_checksum");
  add(offloads.tx_checksum, "tx_checksum");
  add(offloads.tcp_segmentation, "tso");
  add(offloads.chained_mbufs, "chained_mbufs");
  return out.empty() ? "none" : out;
}

Json ports_answer(const Running& running) {
  Json out = Json::array();
  for (size_t i = 0; i < running.ports.size(); ++i) {
    const nic::PortFacts& facts = running.ports[i]->facts();
    const nic::PortCounters counters = running.ports[i]->counters();
    Json addresses = Json::array();
    for (const inet::Prefix& prefix : running.options->ports[i].addresses) {
      addresses.push_back(std::string(inet::format(prefix).view()));
    }
    out.push_back({{"spec", facts.spec},
                   {"device", facts.device},
                   {"driver", facts.driver},
                   {"interface", facts.interface},
                   {"mac", mac_text(facts.mac)},
                   {"addresses", addresses},
                   {"mtu", facts.mtu},
                   {"link_up", running.ports[i]->link_up()},
                   {"removed", running.ports[i]->is_wanted_back()},
                   {"rx_queues", facts.rx_queues},
                   {"tx_queues", facts.tx_queues},
                   {"offloads", offloads_text(facts.offloads)},
                   {"steering", nic::steering_name(facts.steering)},
                   {"device_missed", counters.missed},
                   {"device_rx_errors", counters.rx_errors},
                   {"device_tx_errors", counters.tx_errors},
                   {"device_no_mbuf", counters.no_mbuf},
                   {"rx_mbufs_out", counters.rx_mbufs},
                   {"tx_mbufs_out", counters.tx_mbufs}});
  }
  return out;
}

Json info_answer(const Running& running) {
  return {{"version", SLUICE_VERSION},
          {"pid", static_cast<uint64_t>(getpid())},
          {"instance", running.eal->instance()},
          {"root", running.options->root},
          {"http_port", running.options->http_port},
          {"uptime_s", static_cast<uint64_t>((clock_now() - running.started).ms() / 1000)},
          {"workers", running.workers.size()},
          {"ports", running.ports.size()},
          {"draining", running.is_draining()},
          {"arena", running.arena->description()},
          {"disk", running.store->description()},
          {"clock", clock_description()}};
}

Json budget_answer(const Running& running) {
  Json out = Json::array();
  for (const BudgetLine& line : running.budget->lines) {
    out.push_back(
        {{"what", line.what}, {"needs", line.needs}, {"has", line.has}, {"note", line.note}});
  }
  return out;
}

std::string endpoint(const inet::Address& address, uint16_t port) {
  const std::string text(inet::format(address).view());
  return address.is_v4() ? fmt::format("{}:{}", text, port) : fmt::format("[{}]:{}", text, port);
}

uint64_t us(Duration duration) {
  return static_cast<uint64_t>(duration.us());
}

std::string_view state_name(tcp::State state) {
  switch (state) {
    case tcp::State::closed:
      return "closed";
    case tcp::State::syn_received:
      return "syn-received";
    case tcp::State::established:
      return "established";
    case tcp::State::close_wait:
      return "close-wait";
    case tcp::State::fin_wait_1:
      return "fin-wait-1";
    case tcp::State::closing:
      return "closing";
    case tcp::State::last_ack:
      return "last-ack";
    case tcp::State::fin_wait_2:
      return "fin-wait-2";
  }
  return "?";
}

Json connection_row(const tcp::Info& info, const inet::Inet& inet) {
  std::string state(state_name(info.state));
  if (info.blocked) state += " waits-for-content";
  if (info.parked) state += " waits-for-neighbor";
  return {{"peer", endpoint(info.flow.remote, info.flow.remote_port)},
          {"local", endpoint(inet.local_address(info.flow.local), info.flow.local_port)},
          {"state", state},
          {"congestion", tcp::to_string(info.congestion)},
          {"ecn", info.ecn},
          {"mss", info.mss},
          {"cwnd", info.cwnd_bytes},
          {"ssthresh", info.ssthresh_bytes},
          {"pacing_bytes_per_s", info.pacing_bytes_per_s},
          {"pipe_ack", info.pipe_ack_bytes},
          {"bandwidth_bytes_per_s", info.bandwidth_bytes_per_s},
          {"bandwidth_min_rtt_us", us(info.bandwidth_min_rtt)},
          {"marked_per_10000", info.marked_per_10000},
          {"in_flight", info.in_flight_bytes},
          {"pipe", info.pipe_bytes},
          {"sacked", info.sacked_bytes},
          {"lost", info.lost_bytes},
          {"peer_window", info.peer_window_bytes},
          {"srtt_us", us(info.srtt)},
          {"rttvar_us", us(info.rttvar)},
          {"min_rtt_us", us(info.min_rtt)},
          {"rto_us", us(info.rto)},
          {"retransmissions", info.retransmissions},
          {"after_loss", info.again.after_loss},
          {"after_timeout", info.again.after_timeout},
          {"tail_probes", info.again.probes},
          {"duplicates_reported", info.duplicates_reported},
          {"bytes_lost", info.bytes_lost},
          {"marked_bytes", info.marked_bytes},
          {"reordering", info.reordering_seen ? 1 : 0},
          {"reordering_window_us", us(info.reordering_window)},
          {"delivered", info.delivered_bytes},
          {"delivery_rate", info.delivery_rate},
          {"app_limited_us", us(info.application_limited)},
          {"rwnd_limited_us", us(info.window_limited)},
          {"cwnd_limited_us", us(info.congestion_limited)},
          {"back_off", info.retransmission_back_off},
          {"acknowledged", info.bytes_acknowledged},
          {"received", info.bytes_received},
          {"queued", info.bytes_queued}};
}

// A page, and in "next" the parameters of the following one ("" at the end).
class ConnectionPager {
 public:
  explicit ConnectionPager(const Running& running) : running_(running) {}

  std::optional<Json> answer(std::string_view parameters) {
    std::array<uint32_t, 3> at{};  // worker, lane, from
    if (!parse_numbers(parameters, at)) return std::nullopt;
    if (at[0] >= running_.workers.size() || at[1] >= running_.workers[at[0]]->lane_count()) {
      return std::nullopt;
    }
    const std::lock_guard lock(mutex_);
    Worker& worker = *running_.workers[at[0]];
    if (!worker.ask_connections(at[1], at[2], page_patience, page_)) {
      return Json{{"error", fmt::format("worker {} did not answer in time", at[0])}};
    }
    Json rows = Json::array();
    for (size_t i = 0; i < page_.count; ++i) {
      rows.push_back(connection_row(page_.rows[i], worker.lane(at[1]).engine->inet()));
    }
    return Json{{"worker", at[0]},
                {"lane", at[1]},
                {"total", page_.total},
                {"next", next(at)},
                {"connections", rows}};
  }

 private:
  [[nodiscard]] std::string next(const std::array<uint32_t, 3>& at) const {
    if (page_.next != 0) return fmt::format("{},{},{}", at[0], at[1], page_.next);
    if (at[1] + 1 < running_.workers[at[0]]->lane_count()) {
      return fmt::format("{},{},0", at[0], at[1] + 1);
    }
    if (at[0] + 1 < running_.workers.size()) return fmt::format("{},0,0", at[0] + 1);
    return "";
  }

  const Running& running_;
  std::mutex mutex_;
  ConnectionPage page_;
};

}  // namespace

std::vector<Command> make_commands(const Running& running) {
  // Shared by the commands, which are copied around.
  const auto state = std::make_shared<const Running>(running);
  const auto pager = std::make_shared<ConnectionPager>(*state);
  using Text = std::string_view;
  std::vector<Command> commands = {
      {"/sluice/info", "What runs, where, since when", [=](Text) { return info_answer(*state); }},
      {"/sluice/stats", "Counters. Parameter: total, store, replica or a worker",
       [=](Text parameters) { return stats_answer(*state, parameters); }},
      {"/sluice/workers", "Core, load and turns of each worker",
       [=](Text) { return workers_answer(*state); }},
      {"/sluice/connections", "A page of connections. Parameters: what \"next\" says",
       [=](Text parameters) { return pager->answer(parameters); }},
      {"/sluice/ports", "Device, driver and counters of each port",
       [=](Text) { return ports_answer(*state); }},
      {"/sluice/budget", "What was reserved at start", [=](Text) { return budget_answer(*state); }},
      {"/sluice/drain", "Ends it: running responses are finished first",
       [=](Text) {
         state->begin_drain();
         return Json{{"draining", true}};
       }},
  };
  for (Command& each : make_replica_commands(running.replica)) commands.push_back(std::move(each));
  return commands;
}

}  // namespace sluice::app
