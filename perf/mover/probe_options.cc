#include "probe_options.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <string_view>

namespace sluice::perf {
namespace {

Result<uint32_t> number(const std::string& word) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size()) {
    return fail(fmt::format("'{}' is no number", word));
  }
  return value;
}

}  // namespace

Result<ProbeOptions> parse_options(int count, char** words) {
  ProbeOptions out;
  std::map<std::string, std::string> values;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--no-verify") {
      out.verify = false;
    } else if (word == "--no-windows") {
      out.mover.use_memory_windows = false;
    } else if (word == "--trust-windows") {
      out.mover.trust_memory_windows = true;
    } else if (word == "--may-be-absent") {
      out.mover.may_be_absent = true;
    } else if (word == "--no-zero-copy") {
      out.mover.use_zero_copy = false;
    } else if (word.starts_with("--") && i + 1 < count) {
      values[word.substr(2)] = words[++i];
    } else {
      return fail(fmt::format("what is {}?", word));
    }
  }
  const std::map<std::string, uint32_t*> numbers{
      {"mib", &out.mib},     {"write-bytes", &out.write_bytes}, {"window", &out.window},
      {"links", &out.links}, {"watch-s", &out.watch_s},         {"lanes", &out.mover.lanes}};
  const std::map<std::string, std::string*> texts{{"listen", &out.mover.listen},
                                                  {"dial", &out.dial},
                                                  {"local", &out.mover.local},
                                                  {"device", &out.mover.device}};
  const std::map<std::string, Fault> faults{{"none", Fault::none},
                                            {"wrong-key", Fault::wrong_key},
                                            {"beyond", Fault::beyond},
                                            {"revoked", Fault::revoked}};
  for (const auto& [key, value] : values) {
    if (const auto found = numbers.find(key); found != numbers.end()) {
      const Result<uint32_t> parsed = number(value);
      if (!parsed) return fail(parsed.error().in("--" + key));
      *found->second = *parsed;
    } else if (const auto text = texts.find(key); text != texts.end()) {
      *text->second = value;
    } else if (key == "fault" && faults.contains(value)) {
      out.fault = faults.at(value);
    } else if (key == "transport" && (value == "tcp" || value == "rdma")) {
      out.transport = value == "tcp" ? replica::Transport::tcp : replica::Transport::rdma;
    } else if (key == "direction" && (value == "from" || value == "to" || value == "both")) {
      out.fetch = value != "to";
      out.give = value != "from";
    } else {
      return fail(fmt::format("what is --{} {}?", key, value));
    }
  }
  if (out.mover.listen.empty() && out.dial.empty()) return fail("--listen or --dial HOST:PORT");
  if (out.window == 0 || out.window > replica::grants_max) return fail("--window: 1 to 64");
  if (out.write_bytes < 1024 || out.write_bytes > 4u << 20) {
    return fail("--write-bytes: 1024 to 4194304");
  }
  return out;
}

}  // namespace sluice::perf
