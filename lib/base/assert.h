// ASSERT: a check on our own invariants, on in every build (STYLE.md, errors of kind 4).
//
// No packet, request, command or disk answer may reach a failing ASSERT: those are rejected with a
// named reason and a counter. Fuzzers prove it.
#pragma once

namespace sluice {

/// Prints the expression and where it stood, then aborts the process.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace sluice

#define ASSERT(expression)                                    \
  (__builtin_expect(!!(expression), 1) ? static_cast<void>(0) \
                                       : ::sluice::assert_failed(#expression, __FILE__, __LINE__))
