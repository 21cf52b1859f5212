#include "control/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/quantity.h"

namespace sluice::control {
namespace {

uint64_t number(const Json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_number_unsigned() ? at->get<uint64_t>() : 0;
}

std::string text(const Json& row, const char* key) {
  const auto at = row.find(key);
  return at != row.end() && at->is_string() ? at->get<std::string>() : "?";
}

}  // namespace

Json flatten(const Json& layers) {
  Json out = Json::object();
  if (!layers.is_object()) return out;
  for (const auto& layer : layers.items()) {
    if (!layer.value().is_object()) continue;
    for (const auto& row : layer.value().items()) {
      if (row.value().is_number_unsigned()) out[row.key()] = row.value();
    }
  }
  return out;
}

bool is_list(const Json& answer) {
  return answer.is_object() && answer.contains("0") && answer["0"].is_object();
}

Json as_list(const Json& answer) {
  Json out = Json::array();
  if (!answer.is_object()) return out;
  for (const auto& row : answer.items()) out.push_back(row.value());
  return out;
}

std::string format_stats(const Json& layers, const StatsText& options) {
  std::string out;
  if (!layers.is_object()) return out;
  for (const auto& layer : layers.items()) {
    if (!layer.value().is_object()) continue;
    std::string rows;
    for (const auto& row : layer.value().items()) {
      const uint64_t value = number(layer.value(), row.key().c_str());
      if (value == 0 && !options.zeros) continue;
      rows += fmt::format("  {:<36} {:>20}\n", row.key(), format_count(value));
    }
    if (!rows.empty()) out += layer.key() + "\n" + rows;
  }
  return out;
}

std::string format_rates(const Json& before, const Json& after, double elapsed_s) {
  std::string out;
  if (!after.is_object() || elapsed_s <= 0) return out;
  const Json old = flatten(before);
  const Json current = flatten(after);
  for (const auto& row : current.items()) {
    const auto now = row.value().get<uint64_t>();
    const uint64_t then = number(old, row.key().c_str());
    // Gauges may fall.
    const double rate =
        (now >= then ? static_cast<double>(now - then) : -static_cast<double>(then - now)) /
        elapsed_s;
    if (now == then) continue;
    out += fmt::format("  {:<36} {:>20} {:>16.0f}/s\n", row.key(), format_count(now), rate);
  }
  return out;
}

namespace {

// What is known since the connection last had nothing to send.
std::string format_sending(const Json& row) {
  const auto ms = [&](const char* key) { return number(row, key) / 1000; };
  return fmt::format(
      "    pipe:{} lost:{} delivered:{} delivery_rate:{} bytes_lost:{} marked:{} after_loss:{} "
      "after_timeout:{} probes:{} dsack:{} reordering:{} reo_wnd:{:.3f} ms "
      "limited app:{} rwnd:{} cwnd:{} ms\n",
      number(row, "pipe"), number(row, "lost"), number(row, "delivered"),
      number(row, "delivery_rate"), number(row, "bytes_lost"), number(row, "marked_bytes"),
      number(row, "after_loss"), number(row, "after_timeout"), number(row, "tail_probes"),
      number(row, "duplicates_reported"), number(row, "reordering"),
      static_cast<double>(number(row, "reordering_window_us")) / 1000, ms("app_limited_us"),
      ms("rwnd_limited_us"), ms("cwnd_limited_us"));
}

std::string format_control(const Json& row) {
  return fmt::format("    {}{} pacing:{}/s bandwidth:{}/s marked:{}/10000 pipe_ack:{}\n",
                     text(row, "congestion"), row.value("ecn", false) ? " ecn" : "",
                     number(row, "pacing_bytes_per_s"), number(row, "bandwidth_bytes_per_s"),
                     number(row, "marked_per_10000"), number(row, "pipe_ack"));
}

}  // namespace

std::string format_connection(const Json& row) {
  return fmt::format(
             "{:<24} {} -> {}\n"
             "    mss:{} cwnd:{} ssthresh:{} in_flight:{} sacked:{} peer_window:{} "
             "rtt:{:.3f}/{:.3f} ms "
             "min_rtt:{:.3f} rto:{:.0f} retrans:{} acked:{} received:{} queued:{}\n",
             text(row, "state"), text(row, "local"), text(row, "peer"), number(row, "mss"),
             number(row, "cwnd"), number(row, "ssthresh"), number(row, "in_flight"),
             number(row, "sacked"), number(row, "peer_window"),
             static_cast<double>(number(row, "srtt_us")) / 1000,
             static_cast<double>(number(row, "rttvar_us")) / 1000,
             static_cast<double>(number(row, "min_rtt_us")) / 1000,
             static_cast<double>(number(row, "rto_us")) / 1000, number(row, "retransmissions"),
             number(row, "acknowledged"), number(row, "received"), number(row, "queued")) +
         format_sending(row) + format_control(row);
}

std::string format_dictionary(const Json& dictionary) {
  std::string out;
  if (!dictionary.is_object()) return dictionary.dump() + "\n";
  size_t width = 0;
  for (const auto& row : dictionary.items()) width = std::max(width, row.key().size());
  for (const auto& row : dictionary.items()) {
    const std::string value =
        row.value().is_string() ? row.value().get<std::string>() : row.value().dump();
    out += fmt::format("{:<{}}  {}\n", row.key() + ":", width + 1, value);
  }
  return out;
}

}  // namespace sluice::control
