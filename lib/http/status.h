// Status: the response codes that sluice sends (RFC 9110 section 15), and no others.
#pragma once

#include <cstdint>
#include <string_view>

#include "stats/catalogue.h"

namespace sluice::http {

enum class Status : uint16_t {
  ok = 200,
  partial_content = 206,
  moved_permanently = 301,
  not_modified = 304,
  bad_request = 400,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  request_timeout = 408,
  precondition_failed = 412,
  content_too_large = 413,
  uri_too_long = 414,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  misdirected_request = 421,
  header_fields_too_large = 431,
  internal_server_error = 500,
  not_implemented = 501,
  service_unavailable = 503,
  version_not_supported = 505,
};

/// "404 Not Found": code and reason phrase, as in the status line.
[[nodiscard]] std::string_view status_text(Status status);

/// The counter that counts responses of this status.
[[nodiscard]] stats::Counter counter_of(Status status);

}  // namespace sluice::http
