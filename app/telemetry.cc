#include "telemetry.h"

#include <fmt/format.h>
#include <rte_telemetry.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace sluice::app {
namespace {

// DPDK 22.11, lib/telemetry/telemetry.c: MAX_OUTPUT_LEN, less room for the command's name.
constexpr size_t answer_bytes_max = 16 * 1024 - 128;
constexpr size_t string_bytes_max = RTE_TEL_MAX_STRING_LEN - 1;

// DPDK's callbacks carry no context, and cannot be taken back.
std::shared_mutex commands_mutex;
std::vector<Command> commands;

// DPDK's writer escapes nothing: leave out what would end a string.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, string_bytes_max)) {
    const bool safe = static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
    out += safe ? c : '?';
  }
  return out;
}

int put_dict(const Json& from, rte_tel_data* to);
int put_array(const Json& from, rte_tel_data* to);

int put_container(const Json& from, rte_tel_data* to) {
  return from.is_object() ? put_dict(from, to) : put_array(from, to);
}

int put_member(const std::string& key, const Json& value, rte_tel_data* to) {
  const char* name = key.c_str();
  if (value.is_string()) {
    return rte_tel_data_add_dict_string(to, name, plain(value.get<std::string>()).c_str());
  }
  if (value.is_number_unsigned()) {
    return rte_tel_data_add_dict_u64(to, name, value.get<uint64_t>());
  }
  if (value.is_boolean()) return rte_tel_data_add_dict_int(to, name, value.get<bool>() ? 1 : 0);
  if (value.is_number()) return rte_tel_data_add_dict_int(to, name, value.get<int>());
  rte_tel_data* inner = rte_tel_data_alloc();
  if (inner == nullptr) return -ENOMEM;
  int error = put_container(value, inner);
  if (error == 0) error = rte_tel_data_add_dict_container(to, name, inner, 0);
  if (error != 0) rte_tel_data_free(inner);
  return error;
}

int put_dict(const Json& from, rte_tel_data* to) {
  int error = rte_tel_data_start_dict(to);
  for (auto member = from.begin(); error == 0 && member != from.end(); ++member) {
    error = put_member(member.key(), member.value(), to);
  }
  return error;
}

// All elements are of the first one's kind. DPDK 22.11 takes no dictionaries in arrays: those
// become a dictionary with the keys "0", "1" and so on.
int put_array(const Json& from, rte_tel_data* to) {
  const bool strings = !from.empty() && from.front().is_string();
  const bool numbers = from.empty() || from.front().is_number();
  if (!strings && !numbers) {
    int error = rte_tel_data_start_dict(to);
    for (size_t i = 0; error == 0 && i < from.size(); ++i) {
      error = put_member(fmt::format("{}", i), from[i], to);
    }
    return error;
  }
  int error = rte_tel_data_start_array(to, strings ? RTE_TEL_STRING_VAL : RTE_TEL_U64_VAL);
  for (auto element = from.begin(); error == 0 && element != from.end(); ++element) {
    error = strings ? rte_tel_data_add_array_string(to, plain(element->get<std::string>()).c_str())
                    : rte_tel_data_add_array_u64(to, element->get<uint64_t>());
  }
  return error;
}

int answer(const char* name, const char* parameters, rte_tel_data* out) {
  const std::shared_lock lock(commands_mutex);
  const auto command = std::find_if(commands.begin(), commands.end(),
                                    [&](const Command& each) { return each.name == name; });
  if (command == commands.end()) return -1;
  const std::optional<Json> json = command->answer(parameters == nullptr ? "" : parameters);
  if (!json) return -1;
  if (json->dump().size() > answer_bytes_max) {
    spdlog::error("telemetry: the answer to {} is too long", name);
    return -1;
  }
  const int error = put_container(*json, out);
  if (error != 0) spdlog::error("telemetry: the answer to {}: {}", name, std::strerror(-error));
  return error;
}

}  // namespace

Result<Telemetry> Telemetry::start(std::vector<Command> list) {
  Telemetry telemetry;
  for (const Command& command : list) {
    const int error =
        rte_telemetry_register_cmd(command.name.c_str(), answer, command.help.c_str());
    if (error != 0) {
      return fail(fmt::format("telemetry: {}: {}", command.name, std::strerror(-error)));
    }
  }
  const std::unique_lock lock(commands_mutex);
  commands = std::move(list);
  telemetry.owner_ = true;
  return telemetry;
}

Telemetry::Telemetry(Telemetry&& other) noexcept : owner_(std::exchange(other.owner_, false)) {}

Telemetry::~Telemetry() {
  if (!owner_) return;
  const std::unique_lock lock(commands_mutex);
  commands.clear();
}

}  // namespace sluice::app
