#include "http/authority.h"

#include "http/syntax.h"

namespace sluice::http {
namespace {

// dec-octet "." dec-octet "." dec-octet "." dec-octet
bool is_ipv4(std::string_view text) {
  for (int part = 0; part < 4; ++part) {
    const size_t length = run_length(text.substr(0, 3), character::digit);
    if (length == 0 || (length > 1 && text[0] == '0')) return false;
    if (length == 3 && text.substr(0, 3) > "255") return false;
    text.remove_prefix(length);
    if (part == 3) return text.empty();
    if (text.empty() || text[0] != '.') return false;
    text.remove_prefix(1);
  }
  return false;
}

// Groups of one to four hex digits, eight of them, or fewer with one "::"; the last two may be an
// IPv4 address. No zone: RFC 6874 zones mean nothing beyond their own host.
bool is_ipv6(std::string_view text) {
  int groups = 0;
  bool is_shortened = false;
  if (text.starts_with("::")) {
    is_shortened = true;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    size_t length = 0;
    while (length < text.size() && hex_value(text[length]) >= 0) ++length;
    if (length < text.size() && text[length] == '.') {
      if (!is_ipv4(text)) return false;
      groups += 2;
      break;
    }
    if (length == 0 || length > 4 || ++groups > 8) return false;
    text.remove_prefix(length);
    if (text.empty()) break;
    if (text[0] != ':') return false;
    text.remove_prefix(1);
    if (text.empty()) return false;  // one ":" at the end
    if (text[0] == ':') {
      if (is_shortened) return false;
      is_shortened = true;
      text.remove_prefix(1);
    }
  }
  return is_shortened ? groups <= 7 : groups == 8;
}

// "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
bool is_ipv_future(std::string_view text) {
  if (text.empty() || (text[0] != 'v' && text[0] != 'V')) return false;
  size_t at = 1;
  while (at < text.size() && hex_value(text[at]) >= 0) ++at;
  if (at == 1 || at >= text.size() || text[at] != '.' || at + 1 == text.size()) return false;
  for (++at; at < text.size(); ++at) {
    if (!is_in(text[at], character::reg_name) && text[at] != ':') return false;
  }
  return true;
}

// Length of the reg-name that `text` starts with: *( unreserved / pct-encoded / sub-delims )
size_t reg_name_length(std::string_view text) {
  size_t at = 0;
  while (true) {
    at += run_length(text.substr(at), character::reg_name);
    if (at + 2 >= text.size() || text[at] != '%') return at;
    if (hex_value(text[at + 1]) < 0 || hex_value(text[at + 2]) < 0) return at;
    at += 3;
  }
}

bool is_port(std::string_view text) {
  constexpr uint32_t port_max = 65535;
  uint32_t value = 0;
  for (const char c : text) {
    if (!is_in(c, character::digit)) return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
    if (value > port_max) return false;
  }
  return true;
}

}  // namespace

bool is_authority(std::string_view text, const AuthorityRules& rules) {
  size_t host_length = 0;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return false;
    const std::string_view literal = text.substr(1, close - 1);
    if (!is_ipv6(literal) && !is_ipv_future(literal)) return false;
    host_length = close + 1;
  } else {
    host_length = reg_name_length(text);
    if (host_length == 0 && !(rules.may_be_empty && text.empty())) return false;
  }
  const std::string_view rest = text.substr(host_length);
  if (rest.empty()) return !rules.needs_port;
  if (rest[0] != ':' || !is_port(rest.substr(1))) return false;
  return rest.size() > 1 || !rules.needs_port;
}

}  // namespace sluice::http
