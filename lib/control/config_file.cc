#include "control/config_file.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <fstream>
#include <sstream>

namespace sluice::control {
namespace {

std::string at_line(const toml::node& node) {
  return fmt::format("line {}", node.source().begin.line);
}

// A string, a number or a truth value, as it would be written on the command line.
Result<std::string> as_argument(const toml::node& node, std::string_view key) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto number = node.value_exact<int64_t>()) return fmt::format("{}", *number);
  if (const auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  return fail(fmt::format("{}: {} must be a string or a whole number", at_line(node), key));
}

Result<void> add_values(std::string_view key, const toml::node& node,
                        std::vector<std::string>& out) {
  const toml::array* array = node.as_array();
  if (array == nullptr) {
    Result<std::string> value = as_argument(node, key);
    if (!value) return fail(value.error());
    out.push_back(*std::move(value));
    return {};
  }
  for (const toml::node& each : *array) {
    Result<std::string> value = as_argument(each, key);
    if (!value) return fail(value.error());
    out.push_back(*std::move(value));
  }
  return {};
}

Result<void> add_setting(const OptionRow& row, const toml::node& node, ConfigFile& out) {
  if (row.kind == OptionRow::Kind::flag && !node.is_boolean()) {
    return fail(fmt::format("{}: {} must be true or false", at_line(node), row.name));
  }
  if (row.kind != OptionRow::Kind::many && node.is_array()) {
    return fail(fmt::format("{}: {} takes one value", at_line(node), row.name));
  }
  std::vector<std::string> values;
  if (Result<void> done = add_values(row.name, node, values); !done) return done;
  for (std::string& value : values) out.settings.push_back({std::string(row.name), value});
  return {};
}

const OptionRow* find_row(std::string_view name) {
  for (const OptionRow& row : option_rows()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

bool is_tables(const toml::node& node) {
  const toml::array* array = node.as_array();
  return array != nullptr && !array->empty() && array->front().is_table();
}

Result<void> add_port_table(const toml::table& table, ConfigFile& out) {
  const toml::node* spec = table.get("spec");
  if (spec == nullptr || !spec->is_string()) {
    return fail(fmt::format("{}: [[port]] needs a spec, as in spec = \"tap\"", at_line(table)));
  }
  out.settings.push_back({"port", spec->value_or(std::string())});
  for (const auto& [key, node] : table) {
    if (key == "spec") continue;
    const OptionRow* row = find_row(key.str());
    if (row == nullptr || !row->of_port) {
      return fail(fmt::format("{}: a [[port]] has no {}", at_line(node), key.str()));
    }
    if (Result<void> done = add_setting(*row, node, out); !done) return done;
  }
  return {};
}

Result<void> add_ports(const toml::node& node, ConfigFile& out) {
  if (!is_tables(node)) return add_setting(*find_row("port"), node, out);
  for (const toml::node& each : *node.as_array()) {
    const toml::table* table = each.as_table();
    if (table == nullptr) return fail(fmt::format("{}: mixed with [[port]]", at_line(each)));
    if (Result<void> done = add_port_table(*table, out); !done) return done;
  }
  return {};
}

Result<ConfigFile> from_table(const toml::table& root) {
  ConfigFile out;
  const toml::node* port = root.get("port");
  if (port != nullptr) {
    if (Result<void> done = add_ports(*port, out); !done) return fail(done.error());
  }
  const auto several =
      std::count_if(out.settings.begin(), out.settings.end(),
                    [](const Setting& setting) { return setting.name == "port"; }) > 1;
  for (const auto& [key, node] : root) {
    if (key == "port") continue;
    if (key == "eal") {
      if (Result<void> done = add_values("eal", node, out.eal_arguments); !done) {
        return fail(done.error());
      }
      continue;
    }
    const OptionRow* row = find_row(key.str());
    if (row == nullptr) {
      return fail(fmt::format("{}: there is no option {}", at_line(node), key.str()));
    }
    if (row->of_port && several) {
      return fail(fmt::format("{}: with several ports {} belongs into a [[port]] table",
                              at_line(node), key.str()));
    }
    if (Result<void> done = add_setting(*row, node, out); !done) return fail(done.error());
  }
  return out;
}

}  // namespace

Result<ConfigFile> parse_config(std::string_view text) {
  // The one library here that reports by exception.
  try {
    return from_table(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return fail(
        fmt::format("line {}: {}", error.source().begin.line, std::string(error.description())));
  }
}

Result<ConfigFile> read_config(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(fmt::format("{}: cannot be read; is the path right?", path));
  std::ostringstream text;
  text << file.rdbuf();
  Result<ConfigFile> parsed = parse_config(text.str());
  if (!parsed) return fail(parsed.error().in(path));
  return parsed;
}

}  // namespace sluice::control
