// resolve_target: from a request's encoded path to a file's path beneath the root.
//
// Read first: RFC 3986 sections 2.1, 5.2.4 and 6.2.2. The result is what content::Lookup wants:
// relative, decoded, no "." or ".." part, no empty part, no NUL. The kernel's RESOLVE_BENEATH
// stands behind this; neither relies on the other.
#pragma once

#include <span>
#include <string_view>

#include "http/request.h"
#include "http/status.h"

namespace sluice::http {

struct ResolvedTarget {
  Status status = Status::ok;  // ok, or the error to answer
  std::string_view path;       // into `out`; empty: the root itself
  bool is_directory = false;   // the target ends in "/" (or "/." or "/.."), so it names a directory
};

/// Decodes `request.path` into `out`.
/// Errors: 400 for a "%" without two hex digits, %00, or more ".." than there are parts before;
/// 404 for %2F (no file name holds a slash); 414 when `out` is too short.
/// Runs of slashes count as one. The query is not looked at.
[[nodiscard]] ResolvedTarget resolve_target(const Request& request, std::span<char> out);

}  // namespace sluice::http
