// Authorities: the host and port of a Host field, an absolute-form target or a CONNECT target.
//
// Read first: RFC 3986 section 3.2, RFC 9110 sections 4.2.1, 4.2.4 and 7.2.
#pragma once

#include <string_view>

namespace sluice::http {

struct AuthorityRules {
  bool may_be_empty = false;  // a Host field may (RFC 9112 section 3.2); an http URI may not
  bool needs_port = false;    // CONNECT does (RFC 9112 section 3.2.3)
};

/// True when `text` is uri-host [ ":" port ], the port at most 65535 (or empty, where it need not
/// be there). User information is not accepted anywhere: RFC 9110 section 4.2.4.
[[nodiscard]] bool is_authority(std::string_view text, const AuthorityRules& rules);

}  // namespace sluice::http
