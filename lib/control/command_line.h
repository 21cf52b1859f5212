// The command line of sluiced, understood. Control thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/serve_options.h"

namespace sluice::control {

struct CommandLine {
  enum class Action : uint8_t {
    print,     // `text` to stdout, then exit 0: --help, --version
    serve,     // start with `options`
    check,     // say whether this machine is ready for `options`
    counters,  // print the counter catalogue
  };
  Action action = Action::print;
  std::string text;
  ServeOptions options;
  bool trial = true;  // check: start the ports for a moment too
};

/// `arguments`: without the program's name. Reads the --config file if one is named.
/// Errors: one line that says what to change.
[[nodiscard]] Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments);

}  // namespace sluice::control
