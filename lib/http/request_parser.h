// The request parser: bytes of a connection in, a Request or a rejection out.
//
// Read first: RFC 9112 sections 2 to 6, 9.3 and 11.2 (request smuggling). Strict: nothing that two
// recipients could read in two ways is accepted. What is refused, and why, is the table
// `Rejection`.
//
// Invariants. The answer depends on the bytes alone, not on how they were cut into calls: bytes are
// judged in the order in which they came, each line as soon as it is whole. A view of
// `head_max_bytes` is always decided. Nothing is written but `progress` and `out`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/request.h"
#include "http/status.h"
#include "stats/catalogue.h"

namespace sluice::http {

// RFC 9112 section 3: recipients SHOULD support request lines of at least 8000 octets.
inline constexpr size_t request_line_max_bytes = 8192;  // without CRLF; longer: 414
inline constexpr size_t head_max_bytes = 16'384;        // with the empty line; longer: 431
inline constexpr size_t method_max_bytes = 32;          // longer: 501

/// Why a request head was refused. The connection is closed after the answer, whatever the reason:
/// where the next request begins is not known, or not to be trusted.
enum class Rejection : uint8_t {
  none,
  method_malformed,        // 400
  method_too_long,         // 501
  request_line_malformed,  // 400: not three words with one space between them
  request_line_too_long,   // 414
  target_malformed,        // 400: a byte no URI has, a bad form for the method, bad authority
  target_misdirected,      // 421: absolute-form of a scheme other than http
  version_malformed,       // 400
  version_unsupported,     // 505
  head_too_large,          // 431
  line_malformed,          // 400: control byte, bare CR or LF
  field_malformed,         // 400: no colon, space before the colon, folded line, bad name
  host_missing,            // 400
  host_malformed,          // 400: also more than one
  length_malformed,        // 400: Content-Length not one number, or twice
  coding_malformed,        // 400: Transfer-Encoding not ending in chunked, or in HTTP/1.0
  coding_unknown,          // 501: a transfer coding before chunked
  framing_ambiguous,       // 400: Transfer-Encoding and Content-Length
  count_,
};

[[nodiscard]] Status status_of(Rejection rejection);
[[nodiscard]] stats::Counter counter_of(Rejection rejection);

/// What was already looked at. Starts as {} for each request; belongs to one growing run of bytes.
struct ParseProgress {
  uint16_t line_start = 0;  // all lines before it are whole and well-formed
  uint16_t scanned = 0;     // no line ends before it
  bool has_request_line = false;
  bool is_head = false;  // the request line named HEAD
};

enum class ParseState : uint8_t { incomplete, complete, rejected };

struct ParseResult {
  ParseState state = ParseState::incomplete;
  Rejection rejection = Rejection::none;
  bool is_head = false;   // HEAD: an error answer has no content either
  size_t head_bytes = 0;  // complete: length of the head, empty line included
};

/// Parses the head that `bytes` starts with; what follows it is not looked at.
/// On `incomplete`, call again with the same bytes and more behind them (at any address), and the
/// same `progress`. To parse a complete head again, pass a new ParseProgress.
/// Ensures: `out` is meaningful on `complete` only; head_bytes <= bytes.size() and
/// <= head_max_bytes.
[[nodiscard]] ParseResult parse_request(std::string_view bytes, ParseProgress& progress,
                                        Request& out);

}  // namespace sluice::http
