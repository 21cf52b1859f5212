#include "script.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace sluice::packet {
namespace {

constexpr std::pair<char, uint8_t> flag_letters[] = {
    {'S', wire::tcp_flag::syn}, {'F', wire::tcp_flag::fin}, {'R', wire::tcp_flag::rst},
    {'P', wire::tcp_flag::psh}, {'.', wire::tcp_flag::ack}, {'E', wire::tcp_flag::ece},
    {'W', wire::tcp_flag::cwr}, {'U', wire::tcp_flag::urg},
};

std::vector<std::string> split(const std::string& text, const char* separators) {
  std::vector<std::string> words;
  size_t at = 0;
  while ((at = text.find_first_not_of(separators, at)) != std::string::npos) {
    const size_t end = text.find_first_of(separators, at);
    words.push_back(text.substr(at, end - at));
    if (end == std::string::npos) break;
    at = end;
  }
  return words;
}

// Negative numbers stand for sequence numbers before the initial one.
bool parse_number(const std::string& text, uint32_t& out) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  out = static_cast<uint32_t>(value);
  return true;
}

bool parse_seconds(std::string text, Duration& out) {
  if (!text.empty() && text[0] == '+') text.erase(0, 1);
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || seconds < 0) return false;
  out = Duration::from_ns(std::llround(seconds * 1e9));
  return true;
}

bool parse_flags(const std::string& text, uint8_t& out) {
  out = 0;
  if (text == "-") return true;  // no flag at all
  for (const char letter : text) {
    bool known = false;
    for (const auto& [name, bit] : flag_letters) {
      if (letter != name) continue;
      out |= bit;
      known = true;
    }
    if (!known) return false;
  }
  return true;
}

// "1:1461(1460)"
bool parse_sequence(const std::string& text, PacketSpec& packet) {
  if (text == "*") return packet.any_sequence = true;
  const std::vector<std::string> parts = split(text, ":()");
  uint32_t end = 0;
  if (parts.size() != 3 || !parse_number(parts[0], packet.begin) || !parse_number(parts[1], end) ||
      !parse_number(parts[2], packet.length)) {
    return false;
  }
  return end - packet.begin == packet.length;
}

bool parse_timestamp_value(const std::string& text, std::optional<uint32_t>& out) {
  if (text == "*") return true;
  uint32_t value = 0;
  if (!parse_number(text, value)) return false;
  out = value;
  return true;
}

bool parse_option(const std::string& text, OptionsSpec& options) {
  const std::vector<std::string> words = split(text, " ");
  if (words.empty()) return false;
  uint32_t number = 0;
  if (words[0] == "nop") return words.size() == 1;
  if (words[0] == "sackOK") return options.sack_permitted = true;
  if (words[0] == "mss" && words.size() == 2 && parse_number(words[1], number)) {
    options.mss = static_cast<uint16_t>(number);
    return true;
  }
  if (words[0] == "wscale" && words.size() == 2 && words[1] == "*") {
    return options.any_window_scale = true;
  }
  if (words[0] == "wscale" && words.size() == 2 && parse_number(words[1], number)) {
    options.window_scale = static_cast<uint8_t>(number);
    return true;
  }
  if (words[0] == "FO" && words.size() <= 2) {
    options.fast_open = words.size() == 2 ? words[1] : "";
    return true;
  }
  if (words[0] == "TS" && words.size() == 5 && words[1] == "val" && words[3] == "ecr") {
    TimestampSpec timestamps;
    if (!parse_timestamp_value(words[2], timestamps.value) ||
        !parse_timestamp_value(words[4], timestamps.echo)) {
      return false;
    }
    options.timestamps = timestamps;
    return true;
  }
  if (words[0] != "sack" || words.size() < 2) return false;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::vector<std::string> edges = split(words[i], ":");
    uint32_t left = 0;
    uint32_t right = 0;
    if (edges.size() != 2 || !parse_number(edges[0], left) || !parse_number(edges[1], right)) {
      return false;
    }
    options.sack.emplace_back(left, right);
  }
  return true;
}

// "S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK>"
bool parse_packet(std::string text, PacketSpec& packet) {
  const size_t bracket = text.find('<');
  if (bracket != std::string::npos) {
    const size_t close = text.find('>', bracket);
    if (close == std::string::npos) return false;
    OptionsSpec options;
    for (const std::string& option : split(text.substr(bracket + 1, close - bracket - 1), ",")) {
      if (!parse_option(option, options)) return false;
    }
    packet.options = options;
    text.resize(bracket);
  }
  std::vector<std::string> words = split(text, " \t");
  if (!words.empty() && words[0] == "[ce]") {
    packet.congestion_marked = true;
    words.erase(words.begin());
  } else if (!words.empty() && (words[0] == "[ect0]" || words[0] == "[noecn]")) {
    packet.ecn = words[0] == "[ect0]" ? wire::ecn_capable_0 : wire::ecn_not_capable;
    words.erase(words.begin());
  }
  if (words.size() < 2 || !parse_flags(words[0], packet.flags) ||
      !parse_sequence(words[1], packet)) {
    return false;
  }
  for (size_t i = 2; i + 1 < words.size(); i += 2) {
    if (words[i] == "ack" && words[i + 1] == "*") {
      packet.any_ack = true;
      continue;
    }
    uint32_t number = 0;
    if (!parse_number(words[i + 1], number)) return false;
    if (words[i] == "ack") {
      packet.ack = number;
    } else if (words[i] == "win") {
      packet.window = number;
    } else {
      return false;
    }
  }
  return words.size() % 2 == 0;
}

}  // namespace

bool parse_packet_text(const std::string& text, PacketSpec& out) {
  return parse_packet(text, out);
}

namespace {

bool parse_step(const std::string& line, Step& step, std::string& error) {
  const size_t space = line.find_first_of(" \t");
  const size_t begin = line.find_first_not_of(" \t", space);
  if (begin == std::string::npos) {
    error = "a time and nothing else";
    return false;
  }
  const std::vector<std::string> times = split(line.substr(0, space), "~");
  if (times.empty() || times.size() > 2 || !parse_seconds(times.front(), step.earliest) ||
      !parse_seconds(times.back(), step.latest) || step.latest < step.earliest) {
    error = "not a time: " + line.substr(0, space);
    return false;
  }
  const std::string rest = line.substr(begin);
  PacketSpec packet;
  if (rest[0] == '<' || rest[0] == '>') {
    packet.as_train = rest.starts_with(">>") || rest.starts_with("<<");
    packet.last_of_all = rest.starts_with(">|");
    if (!parse_packet(rest.substr(packet.as_train || packet.last_of_all ? 2 : 1), packet)) {
      error = "not a packet: " + rest;
      return false;
    }
    if (rest[0] == '<') {
      step.what = Inbound{packet};
    } else {
      step.what = Outbound{packet};
    }
  } else {
    step.what = Action{split(rest, " \t")};
  }
  return true;
}

}  // namespace

bool parse_script(const std::string& text, Script& out, std::string& error) {
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const size_t comment = line.find("//");
    if (comment != std::string::npos) line.resize(comment);
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    if (line.starts_with("config ")) {
      if (!out.steps.empty()) {
        error = "line " + std::to_string(number) + ": config after the first step";
        return false;
      }
      out.config.push_back(split(line.substr(7), " \t"));
      continue;
    }
    Step step{.line = number, .text = line, .earliest = {}, .latest = {}, .what = Action{}};
    if (!parse_step(line, step, error)) {
      error = "line " + std::to_string(number) + ": " + error;
      return false;
    }
    out.steps.push_back(step);
  }
  return true;
}

std::string to_text(const PacketSpec& packet) {
  std::string text;
  for (const auto& [letter, bit] : flag_letters) {
    if ((packet.flags & bit) != 0) text += letter;
  }
  if (text.empty()) text = "-";
  text += " " + std::to_string(static_cast<int32_t>(packet.begin)) + ":" +
          std::to_string(static_cast<int32_t>(packet.begin + packet.length)) + "(" +
          std::to_string(packet.length) + ")";
  if (packet.ack) text += " ack " + std::to_string(static_cast<int32_t>(*packet.ack));
  if (packet.window) text += " win " + std::to_string(*packet.window);
  if (!packet.options) return text;
  std::string list;
  const auto add = [&list](const std::string& option) {
    list += (list.empty() ? "" : ",") + option;
  };
  const OptionsSpec& options = *packet.options;
  if (options.mss) add("mss " + std::to_string(*options.mss));
  if (options.sack_permitted) add("sackOK");
  if (options.timestamps) {
    const auto value = [](const std::optional<uint32_t>& number) {
      return number ? std::to_string(*number) : std::string("*");
    };
    add("TS val " + value(options.timestamps->value) + " ecr " + value(options.timestamps->echo));
  }
  if (options.window_scale) add("wscale " + std::to_string(*options.window_scale));
  if (options.fast_open) add("FO " + *options.fast_open);
  if (!options.sack.empty()) {
    std::string blocks = "sack";
    for (const auto& [left, right] : options.sack) {
      blocks += " " + std::to_string(static_cast<int32_t>(left)) + ":" +
                std::to_string(static_cast<int32_t>(right));
    }
    add(blocks);
  }
  return text + " <" + list + ">";
}

}  // namespace sluice::packet
