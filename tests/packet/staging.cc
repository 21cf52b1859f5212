// What a script's `config` lines ask for.

#include <utility>

#include "player.h"
#include "words.h"

namespace sluice::packet {
namespace {

constexpr std::pair<const char*, Duration tcp::Config::*> times[] = {
    {"time_wait", &tcp::Config::time_wait},
    {"fin_wait_2", &tcp::Config::fin_wait_2},
    {"user_timeout", &tcp::Config::user_timeout},
    {"stall_timeout", &tcp::Config::stall_timeout},
    {"stall_grace", &tcp::Config::stall_grace},
    {"keep_alive_after", &tcp::Config::keep_alive_after},
    {"keep_alive_interval", &tcp::Config::keep_alive_interval},
};
constexpr std::pair<const char*, uint32_t tcp::Config::*> counts[] = {
    {"max_connections", &tcp::Config::max_connections},
    {"max_half_open", &tcp::Config::max_half_open},
    {"time_wait_max", &tcp::Config::time_wait_max},
    {"receive_buffers", &tcp::Config::receive_buffers},
    {"send_queues", &tcp::Config::send_queues},
    {"sent_runs", &tcp::Config::sent_runs},
    {"recoveries", &tcp::Config::recoveries},
    {"fast_open_pending_max", &tcp::Config::fast_open_pending_max},
};

bool set_one(const std::vector<std::string>& words, Staging& out) {
  const std::string name = words[0];
  if (name == "ipv6") return out.ipv6 = true;
  if (words.size() != 2) return false;
  const std::string& value = words[1];
  for (const auto& [known, member] : times) {
    if (name != known) continue;
    out.config.*member = seconds(value);
    return true;
  }
  for (const auto& [known, member] : counts) {
    if (name != known) continue;
    out.config.*member = number(value);
    return true;
  }
  if (name == "source_connections_max") {
    out.config.source_limits.connections_max = number(value);
    return true;
  }
  if (name == "source_half_open_max") {
    out.config.source_limits.half_open_max = number(value);
    return true;
  }
  if (name == "mss_max") {
    out.config.mss_max = static_cast<uint16_t>(number(value));
    return true;
  }
  if (name == "consume" && value == "manual") return out.consume_manually = true;
  if (name == "pieces" && value == "none") return out.hold_pieces = true;
  if (name == "congestion") {
    using Algorithm = tcp::CongestionAlgorithm;
    for (const auto algorithm :
         {Algorithm::cubic, Algorithm::new_reno, Algorithm::bbr, Algorithm::dctcp}) {
      if (value != tcp::to_string(algorithm)) continue;
      out.config.congestion = algorithm;
      return true;
    }
    return false;
  }
  if (name == "ecn" || name == "pacing") {
    (name == "ecn" ? out.config.ecn : out.config.pacing) = value == "on";
    return value == "on" || value == "off";
  }
  if (name == "mtu") {
    out.config.mtu = static_cast<uint16_t>(number(value));
    return true;
  }
  if (name == "keep_alive_probes") {
    out.config.keep_alive_probes = static_cast<uint8_t>(number(value));
    return true;
  }
  return false;
}

}  // namespace

bool make_staging(const Script& script, Staging& out, std::string& error) {
  out.config.max_connections = 64;
  out.config.max_half_open = 32;
  out.config.time_wait_max = 32;
  out.config.receive_buffers = 16;
  out.config.send_queues = 32;
  out.config.sent_runs = 64;
  out.config.recoveries = 32;
  out.config.key = {11, 22};
  ASSERT(out.config.ports.push_back(80));
  for (const auto& words : script.config) {
    if (set_one(words, out)) continue;
    error = "unknown config " + words[0];
    return false;
  }
  return true;
}

}  // namespace sluice::packet
