#include "http/status.h"

#include "base/assert.h"

namespace sluice::http {
namespace {

struct StatusRow {
  Status status;
  std::string_view text;
  stats::Counter counter;
};

constexpr StatusRow rows[] = {
    {Status::ok, "200 OK", stats::Counter::http_status_200},
    {Status::partial_content, "206 Partial Content", stats::Counter::http_status_206},
    {Status::moved_permanently, "301 Moved Permanently", stats::Counter::http_status_301},
    {Status::not_modified, "304 Not Modified", stats::Counter::http_status_304},
    {Status::bad_request, "400 Bad Request", stats::Counter::http_status_400},
    {Status::forbidden, "403 Forbidden", stats::Counter::http_status_403},
    {Status::not_found, "404 Not Found", stats::Counter::http_status_404},
    {Status::method_not_allowed, "405 Method Not Allowed", stats::Counter::http_status_405},
    {Status::request_timeout, "408 Request Timeout", stats::Counter::http_status_408},
    {Status::precondition_failed, "412 Precondition Failed", stats::Counter::http_status_412},
    {Status::content_too_large, "413 Content Too Large", stats::Counter::http_status_413},
    {Status::uri_too_long, "414 URI Too Long", stats::Counter::http_status_414},
    {Status::range_not_satisfiable, "416 Range Not Satisfiable", stats::Counter::http_status_416},
    {Status::expectation_failed, "417 Expectation Failed", stats::Counter::http_status_417},
    {Status::misdirected_request, "421 Misdirected Request", stats::Counter::http_status_421},
    {Status::header_fields_too_large, "431 Request Header Fields Too Large",
     stats::Counter::http_status_431},
    {Status::internal_server_error, "500 Internal Server Error", stats::Counter::http_status_500},
    {Status::not_implemented, "501 Not Implemented", stats::Counter::http_status_501},
    {Status::service_unavailable, "503 Service Unavailable", stats::Counter::http_status_503},
    {Status::version_not_supported, "505 HTTP Version Not Supported",
     stats::Counter::http_status_505},
};

const StatusRow& row_of(Status status) {
  for (const StatusRow& row : rows) {
    if (row.status == status) return row;
  }
  ASSERT(false);  // a status without a row
  return rows[0];
}

}  // namespace

std::string_view status_text(Status status) {
  return row_of(status).text;
}

stats::Counter counter_of(Status status) {
  return row_of(status).counter;
}

}  // namespace sluice::http
