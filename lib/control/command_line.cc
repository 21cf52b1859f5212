#include "control/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "control/config_file.h"

namespace sluice::control {
namespace {

using Kind = OptionRow::Kind;

// What CLI11 fills in for one subcommand.
struct Parsed {
  CLI::App* app = nullptr;
  std::map<const CLI::Option*, const OptionRow*> options;
  std::string config_path;
};

void add_options(CLI::App& app, Parsed& parsed) {
  parsed.app = &app;
  for (const OptionRow& row : option_rows()) {
    const std::string name = "--" + std::string(row.name);
    const std::string help(row.help);
    CLI::Option* option = nullptr;
    if (row.kind == Kind::flag) {
      option = app.add_flag(name, help);
    } else {
      option = app.add_option(name, help)->type_name(std::string(row.value));
      if (row.kind == Kind::many) {
        option->type_size(1)->expected(1, 1024);
      } else {
        option->type_size(1)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
      }
    }
    parsed.options.emplace(option, &row);
  }
  app.add_option("--config", parsed.config_path, "Config file (TOML) with the same names")
      ->type_name("FILE");
}

// The settings in the order in which they stand on the command line.
std::vector<Setting> settings_in_order(const Parsed& parsed) {
  std::vector<Setting> settings;
  std::map<const CLI::Option*, size_t> taken;
  for (const CLI::Option* option : parsed.app->parse_order()) {
    const auto row = parsed.options.find(option);
    if (row == parsed.options.end()) continue;
    const std::string name(row->second->name);
    if (row->second->kind == Kind::flag) {
      settings.push_back({name, "true"});
      continue;
    }
    const std::vector<std::string>& values = option->results();
    size_t& next = taken[option];
    if (next < values.size()) settings.push_back({name, values[next++]});
  }
  return settings;
}

Result<ServeOptions> serve_options(const Parsed& parsed,
                                   const std::vector<std::string>& eal_arguments) {
  ConfigFile file;
  if (!parsed.config_path.empty()) {
    Result<ConfigFile> read = read_config(parsed.config_path);
    if (!read) return fail(read.error());
    file = *std::move(read);
  }
  Result<ServeOptions> options =
      understand(merge_settings(file.settings, settings_in_order(parsed)));
  if (!options) return options;
  options->eal_arguments = file.eal_arguments;
  options->eal_arguments.insert(options->eal_arguments.end(), eal_arguments.begin(),
                                eal_arguments.end());
  if (std::find(options->eal_arguments.begin(), options->eal_arguments.end(), "--no-huge") !=
      options->eal_arguments.end()) {
    options->no_huge = true;
  }
  return options;
}

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  // CLI11 takes its arguments last first.
  std::vector<std::string> ours(arguments.begin(), dashes);
  std::reverse(ours.begin(), ours.end());
  const std::vector<std::string> eal_arguments(dashes == arguments.end() ? dashes : dashes + 1,
                                               arguments.end());

  CLI::App app{"sluiced serves a directory over HTTP/1.1 through a DPDK port.", "sluiced"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "sluiced " SLUICE_VERSION);
  Parsed serve;
  Parsed check;
  CLI::App* serve_app = app.add_subcommand("serve", "Serve a directory");
  serve_app->footer(
      "What follows -- goes to DPDK's EAL as it is.\n"
      "Example: sluiced serve --root /srv --port tap:sluice0 --ip 10.9.0.1/24");
  add_options(*serve_app, serve);
  CLI::App* check_app =
      app.add_subcommand("check",
                         "Say whether this machine is ready for `serve` with the same options: "
                         "what it needs, what was "
                         "found, the cure of what is wrong. Exit status 0: ready");
  add_options(*check_app, check);
  bool without_trial = false;
  check_app->add_flag("--no-trial", without_trial,
                      "Do not start the ports for a moment to see queues, offloads and link");
  const CLI::App* counters_app =
      app.add_subcommand("counters", "Print the counter catalogue as Markdown");

  CommandLine out;
  try {
    app.parse(ours);
  } catch (const CLI::CallForAllHelp&) {
    out.text = app.help("", CLI::AppFormatMode::All);
    return out;
  } catch (const CLI::CallForHelp&) {
    out.text = app.help();
    return out;
  } catch (const CLI::CallForVersion&) {
    out.text = "sluiced " SLUICE_VERSION "\n";
    return out;
  } catch (const CLI::ParseError& error) {
    return fail(std::string(error.what()) + " (see sluiced --help)");
  }
  if (counters_app->parsed()) {
    out.action = CommandLine::Action::counters;
    return out;
  }
  const bool serves = serve_app->parsed();
  out.action = serves ? CommandLine::Action::serve : CommandLine::Action::check;
  Result<ServeOptions> options = serve_options(serves ? serve : check, eal_arguments);
  if (!options) return fail(options.error());
  out.options = *std::move(options);
  out.trial = !without_trial;
  return out;
}

}  // namespace sluice::control
