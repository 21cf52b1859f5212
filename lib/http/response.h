// plan_*: from a request, and what is known of its resource, to what will be answered.
//
// Read first: RFC 9110 sections 13.2.2 (precedence of
// preconditions), 14.2, 15.3.7, 15.4.5, 15.5.17. The order in a session: parse_request ->
// plan_method -> resolve_target -> Lookup -> plan_response
// -> emit_response. docs/formats/http.md has the whole table of causes and statuses.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/byte_range.h"
#include "http/request.h"
#include "http/status.h"

namespace sluice::http {

/// Content of a request is read and thrown away up to this much; more is refused with 413 where the
/// length is declared, and ends the connection where it is chunked.
inline constexpr uint64_t body_drain_max_bytes = 65'536;

/// What to do with a parsed request before its target is looked at.
enum class MethodAction : uint8_t {
  serve,    // GET or HEAD: resolve the target
  options,  // answer emit_options()
  refuse,   // answer emit_error(status)
};

struct MethodPlan {
  MethodAction action = MethodAction::serve;
  Status status = Status::ok;  // of refuse: 405, 413, 417 or 501
  // The connection can go on after the answer (and after the content, if any, is drained). False:
  // say "Connection: close" and close.
  bool keep_alive = false;
};

/// Errors: 501 for an unknown method, 405 for a known one that is not allowed here, 417 for an
/// expectation other than 100-continue, 413 for a declared content beyond `body_drain_max_bytes`.
/// 100 (Continue) is never sent: the final status is sent at once, and since a client may then send
/// the content or not, a request with an expectation and content ends its connection. So does
/// CONNECT, behind which there may be bytes for a tunnel.
[[nodiscard]] MethodPlan plan_method(const Request& request);

/// The version of a file that a request selected.
struct Resource {
  uint64_t size_bytes = 0;
  int64_t modified_unix_s = 0;
  uint64_t etag = 0;
  std::string_view media_type;  // must stay until the head is emitted
};

/// An answer, complete but for Date.
struct ResponsePlan {
  Status status = Status::ok;  // 200, 206, 304, 412 or 416
  bool keep_alive = false;
  bool is_head = false;          // HEAD: the same head without content
  bool says_keep_alive = false;  // HTTP/1.0: persistence must be said
  // The validators and Content-Type: not repeated to a client that has them (206 after If-Range).
  bool is_after_if_range = false;
  ByteRange body;      // content to be sent from the resource; empty for HEAD, 304, 412, 416
  ByteRange selected;  // 200: all; 206: what Content-Range says
  Resource resource;
};

/// Decides how a GET or HEAD of an existing resource is answered.
/// `keep_alive` is MethodPlan::keep_alive, or false while the server drains.
/// Units: `now_unix_s` is the second of the Date that will be sent.
struct PlanOptions {
  int64_t now_unix_s = 0;
  bool keep_alive = false;
};
[[nodiscard]] ResponsePlan plan_response(const Request& request, const Resource& resource,
                                         const PlanOptions& options);

}  // namespace sluice::http
