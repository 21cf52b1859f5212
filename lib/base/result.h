// Result<T>: the outcome of start-up and control work that can fail (STYLE.md, errors of kind 1).
//
// An Error is one human sentence. Each level that passes it on may put its own context in front, so
// that the line finally printed reads from the general to the particular:
//   "port tap0: cannot start queue 1: No such device".
// Not for the data path: there, outcomes are named enumerators with counters.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace sluice {

struct Error {
  std::string message;

  /// Returns this error with "context: " in front of the message.
  [[nodiscard]] Error in(const std::string& context) const { return {context + ": " + message}; }
};

template <typename T>
using Result = tl::expected<T, Error>;

/// Makes a failed Result: `return fail("no such port");`
[[nodiscard]] inline tl::unexpected<Error> fail(std::string message) {
  return tl::unexpected<Error>(Error{std::move(message)});
}

[[nodiscard]] inline tl::unexpected<Error> fail(const Error& error) {
  return tl::unexpected<Error>(error);
}

}  // namespace sluice
