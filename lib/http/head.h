// emit_*: response heads (and the few short bodies that are not files) as bytes.
//
// Read first: RFC 9112 section 4, RFC 9110 sections 6.6.1 (Date), 8.8.2.1 (Last-Modified is never
// later than Date) and 10.2.1 (Allow). Everything emitted fits into one head slot of 1024 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "http/http_date.h"
#include "http/request.h"
#include "http/response.h"
#include "http/status.h"

namespace sluice::http {

/// All that emit_* writes fits, whatever the request was.
inline constexpr size_t emit_max_bytes = 1024;
using HeadBuffer = std::span<char, emit_max_bytes>;

/// Writes the head of a plan; for 412 and 416 also a short HTML body (but not to HEAD).
/// Returns: bytes written. The caller then sends plan.body of the resource, if it is not empty.
[[nodiscard]] size_t emit_response(const ResponsePlan& plan, const DateCache& date, HeadBuffer out);

struct AnswerOptions {
  bool keep_alive = false;       // false: "Connection: close"
  bool says_keep_alive = false;  // HTTP/1.0 with keep_alive
  bool is_head = false;          // no content
};
/// Options of an answer to a parsed request.
[[nodiscard]] AnswerOptions answer_options(const Request& request, bool keep_alive);

/// Writes an error head and a short HTML body. 405 carries Allow, 503 Retry-After.
[[nodiscard]] size_t emit_error(Status status, const AnswerOptions& options, const DateCache& date,
                                HeadBuffer out);

/// A whole 503 with Retry-After that depends on nothing, so that it can be written once: it ends
/// the connection, has no content, and no Date (RFC 9110 section 6.6.1 lets a 5xx be without).
[[nodiscard]] size_t emit_overloaded(HeadBuffer out);

/// The answer to OPTIONS: 200 with Allow and no content.
[[nodiscard]] size_t emit_options(const AnswerOptions& options, const DateCache& date,
                                  HeadBuffer out);

/// Redirects to the same path with a slash at its end (301, Location, short HTML body), keeping the
/// query. `path` is what resolve_target gave. When the absolute path does not fit, the Location is
/// relative; when even that does not, the query is left out.
/// Errors: where nothing fits, the answer written is 414.
struct Redirected {
  size_t bytes = 0;
  Status status = Status::moved_permanently;
};
[[nodiscard]] Redirected emit_directory_redirect(const Request& request, std::string_view path,
                                                 const AnswerOptions& options,
                                                 const DateCache& date, HeadBuffer out);

}  // namespace sluice::http
