// What a script's `config` lines ask for.

#include <cstdlib>

#include "player.h"
#include "words.h"

namespace sluice::packet {
namespace {

bool set_one(const std::vector<std::string>& words, Staging& out) {
  const std::string& name = words[0];
  tcp::Config& config = out.config;
  if (name == "ipv6") return out.ipv6 = true;
  if (words.size() < 2) return false;
  const std::string& value = words[1];
  if (name == "consume") return out.consume_manually = value == "manual";
  if (name == "pieces") return out.hold_pieces = value == "none";
  if (name == "keep_alive") {  // idle I interval V probes N
    if (words.size() != 7) return false;
    config.keep_alive_after = seconds(words[2]);
    config.keep_alive_interval = seconds(words[4]);
    config.keep_alive_probes = static_cast<uint8_t>(number(words[6]));
  } else if (name == "mtu")
    config.mtu = static_cast<uint16_t>(number(value));
  else if (name == "time_wait")
    config.time_wait = seconds(value);
  else if (name == "time_wait_max")
    config.time_wait_max = number(value);
  else if (name == "fin_wait_2")
    config.fin_wait_2 = seconds(value);
  else if (name == "user_timeout")
    config.user_timeout = seconds(value);
  else if (name == "max_half_open")
    config.max_half_open = number(value);
  else if (name == "receive_buffers")
    config.receive_buffers = number(value);
  else if (name == "syn_ack_retries")
    config.syn_ack_retries = static_cast<uint8_t>(number(value));
  else if (name == "congestion") {
    config.congestion =
        value == "new_reno" ? tcp::CongestionAlgorithm::new_reno : tcp::CongestionAlgorithm::cubic;
  } else
    return false;
  return true;
}

}  // namespace

bool make_staging(const Script& script, Staging& out, std::string& error) {
  out.config.max_connections = 64;
  out.config.max_half_open = 32;
  out.config.time_wait_max = 32;
  out.config.receive_buffers = 16;
  out.config.send_queues = 32;
  out.config.scoreboards = 16;
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
