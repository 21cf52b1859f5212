// Request: what a request head says, as views into the bytes that it was parsed from.
//
// Read first: RFC 9112 sections 2, 3, 6 and 9 (framing), RFC 9110 sections 7 and 10. No state but
// what stands here; a Request is valid for as long as the bytes it was parsed from stay.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/status.h"

namespace sluice::http {

/// RFC 9110 section 9.1 and RFC 5789. Names are case-sensitive.
enum class Method : uint8_t {
  get,
  head,
  options,
  // Known, but not allowed on any resource here: 405.
  post,
  put,
  delete_,  // the word itself is C++'s
  connect,
  trace,
  patch,
  // Anything else: 501.
  unknown,
};

/// RFC 9112 section 3.2.
enum class TargetForm : uint8_t { origin, absolute, authority, asterisk };

/// How the request's content is framed (RFC 9112 section 6.3).
enum class BodyFraming : uint8_t { none, content_length, chunked };

/// A field that may come in several lines. `first` is the value of the first one; when `lines` is
/// more than 1, the others are found by walking Request::fields.
struct FieldLines {
  std::string_view first;
  uint16_t lines = 0;

  [[nodiscard]] bool is_present() const { return lines > 0; }
};

struct Request {
  Method method = Method::unknown;
  TargetForm form = TargetForm::origin;
  BodyFraming body = BodyFraming::none;
  uint8_t minor_version = 1;      // of HTTP/1.x; 1 for any that is higher
  bool keep_alive = false;        // the client lets the connection persist (RFC 9112 section 9.3)
  bool expects_continue = false;  // Expect: 100-continue, in HTTP/1.1
  bool expects_unknown = false;   // Expect: anything else, in HTTP/1.1
  uint64_t content_length = 0;    // of BodyFraming::content_length; saturates at 2^64 - 1

  std::string_view method_text;
  std::string_view target;  // as sent
  std::string_view path;    // path-absolute of the target, still encoded; "/" where it was empty
  std::string_view query;   // after "?", without it
  std::string_view host;    // of an absolute-form target, else of the Host field; may be empty
  std::string_view fields;  // all field lines, each with its CRLF

  // Fields that decide what is sent; see http/response.h.
  FieldLines range;
  FieldLines if_range;
  FieldLines if_match;
  FieldLines if_none_match;
  FieldLines if_modified_since;
  FieldLines if_unmodified_since;
};

}  // namespace sluice::http
