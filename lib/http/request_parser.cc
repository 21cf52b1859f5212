#include "http/request_parser.h"

#include <algorithm>
#include <limits>

#include "base/assert.h"
#include "http/authority.h"
#include "http/syntax.h"

namespace sluice::http {
namespace {

constexpr std::string_view line_end = "\r\n";

struct RejectionRow {
  Status status;
  stats::Counter counter;
};

const RejectionRow& row_of(Rejection rejection) {
  using C = stats::Counter;
  static constexpr RejectionRow rows[] = {
      {Status::bad_request, C::http_reject_method_malformed},
      {Status::not_implemented, C::http_reject_method_too_long},
      {Status::bad_request, C::http_reject_request_line_malformed},
      {Status::uri_too_long, C::http_reject_request_line_too_long},
      {Status::bad_request, C::http_reject_target_malformed},
      {Status::misdirected_request, C::http_reject_target_misdirected},
      {Status::bad_request, C::http_reject_version_malformed},
      {Status::version_not_supported, C::http_reject_version_unsupported},
      {Status::header_fields_too_large, C::http_reject_head_too_large},
      {Status::bad_request, C::http_reject_line_malformed},
      {Status::bad_request, C::http_reject_field_malformed},
      {Status::bad_request, C::http_reject_host_missing},
      {Status::bad_request, C::http_reject_host_malformed},
      {Status::bad_request, C::http_reject_length_malformed},
      {Status::bad_request, C::http_reject_coding_malformed},
      {Status::not_implemented, C::http_reject_coding_unknown},
      {Status::bad_request, C::http_reject_framing_ambiguous},
  };
  static_assert(std::size(rows) == static_cast<size_t>(Rejection::count_) - 1);
  ASSERT(rejection > Rejection::none && rejection < Rejection::count_);
  return rows[static_cast<size_t>(rejection) - 1];
}

Method method_of(std::string_view name) {
  if (name == "GET") return Method::get;
  if (name == "HEAD") return Method::head;
  if (name == "OPTIONS") return Method::options;
  if (name == "POST") return Method::post;
  if (name == "PUT") return Method::put;
  if (name == "DELETE") return Method::delete_;
  if (name == "CONNECT") return Method::connect;
  if (name == "TRACE") return Method::trace;
  if (name == "PATCH") return Method::patch;
  return Method::unknown;
}

// What only counts while the head is being read.
struct Framing {
  uint32_t host_lines = 0;
  uint32_t length_lines = 0;
  uint32_t coding_lines = 0;
  bool is_host_bad = false;
  bool is_length_bad = false;
  bool is_coding_bad = false;    // an empty member, or chunked with parameters or twice
  bool is_last_chunked = false;  // the last coding so far is chunked
  bool has_other_coding = false;
  bool has_close = false;
  bool has_keep_alive = false;
};

// path-abempty [ "?" query ]
Rejection parse_path_and_query(std::string_view text, Request& out) {
  const size_t path_length = run_length(text, character::path);
  out.path = text.substr(0, path_length);
  out.query = {};
  if (path_length == text.size()) return Rejection::none;
  if (text[path_length] != '?') return Rejection::target_malformed;
  out.query = text.substr(path_length + 1);
  if (run_length(out.query, character::query) != out.query.size()) {
    return Rejection::target_malformed;
  }
  return Rejection::none;
}

// absolute-URI = scheme ":" hier-part [ "?" query ]; of scheme http only.
Rejection parse_absolute_form(std::string_view target, Request& out) {
  const size_t colon = target.find(':');
  if (colon == 0 || colon == std::string_view::npos) return Rejection::target_malformed;
  const char first = static_cast<char>(target[0] | 0x20);
  if (first < 'a' || first > 'z') return Rejection::target_malformed;
  for (const char c : target.substr(1, colon - 1)) {
    const bool is_scheme = is_in(c, character::token) && is_in(c, character::reg_name) &&
                           std::string_view("!$&'*_~").find(c) == std::string_view::npos;
    if (!is_scheme) return Rejection::target_malformed;
  }
  std::string_view rest = target.substr(colon + 1);
  if (!equals_any_case(target.substr(0, colon), "http")) {
    // RFC 9110 section 7.4: an https target that did not come over a secured connection MUST be
    // rejected; no other scheme is served here either.
    const size_t length = run_length(rest, character::query);
    return length == rest.size() ? Rejection::target_misdirected : Rejection::target_malformed;
  }
  if (!rest.starts_with("//")) return Rejection::target_malformed;
  rest.remove_prefix(2);
  const size_t authority_length = std::min(rest.find_first_of("/?"), rest.size());
  out.host = rest.substr(0, authority_length);
  if (!is_authority(out.host, {})) return Rejection::target_malformed;
  const Rejection rejection = parse_path_and_query(rest.substr(authority_length), out);
  // RFC 9112 section 3.2.1: an empty path is "/".
  if (out.path.empty()) out.path = "/";
  return rejection;
}

Rejection parse_target(std::string_view target, Request& out) {
  out.target = target;
  out.host = {};
  out.path = {};
  out.query = {};
  if (out.method == Method::connect) {
    out.form = TargetForm::authority;
    out.host = target;
    return is_authority(target, {.needs_port = true}) ? Rejection::none
                                                      : Rejection::target_malformed;
  }
  if (target[0] == '/') {
    out.form = TargetForm::origin;
    return parse_path_and_query(target, out);
  }
  if (target == "*") {
    out.form = TargetForm::asterisk;
    // RFC 9112 section 3.2.4: for OPTIONS only. What an unknown method may do is not for us to say.
    const bool is_allowed = out.method == Method::options || out.method == Method::unknown;
    return is_allowed ? Rejection::none : Rejection::target_malformed;
  }
  out.form = TargetForm::absolute;
  return parse_absolute_form(target, out);
}

// HTTP-version = "HTTP/" DIGIT "." DIGIT
Rejection parse_version(std::string_view version, Request& out) {
  out.minor_version = 1;
  if (version == "HTTP/1.1") return Rejection::none;
  const bool is_version = version.size() == 8 && version.starts_with("HTTP/") &&
                          is_in(version[5], character::digit) && version[6] == '.' &&
                          is_in(version[7], character::digit);
  if (!is_version) return Rejection::version_malformed;
  if (version[5] != '1') return Rejection::version_unsupported;
  // RFC 9110 section 2.5: a higher minor version is taken as the highest that is known.
  if (version[7] == '0') out.minor_version = 0;
  return Rejection::none;
}

// method SP request-target SP HTTP-version. The method was checked by judge_method.
Rejection parse_request_line(std::string_view line, Request& out) {
  const size_t method_length = line.find(' ');
  const size_t target_start = method_length + 1;
  const size_t target_end = line.find(' ', target_start);
  if (target_end == std::string_view::npos || target_end == target_start) {
    return Rejection::request_line_malformed;
  }
  out.method_text = line.substr(0, method_length);
  out.method = method_of(out.method_text);
  const std::string_view version = line.substr(target_end + 1);
  if (version.empty() || version.find(' ') != std::string_view::npos)
    return Rejection::request_line_malformed;
  const Rejection rejection = parse_version(version, out);
  if (rejection != Rejection::none) return rejection;
  return parse_target(line.substr(target_start, target_end - target_start), out);
}

// Judges the start of a request line before its end is there, so that garbage (a TLS handshake,
// say) is refused at once.
Rejection judge_method(std::string_view bytes) {
  const size_t length = run_length(bytes.substr(0, method_max_bytes + 1), character::token);
  if (length > method_max_bytes) return Rejection::method_too_long;
  if (length == bytes.size()) return Rejection::none;
  return length > 0 && bytes[length] == ' ' ? Rejection::none : Rejection::method_malformed;
}

void add_line(FieldLines& field, std::string_view value) {
  if (field.lines == 0) field.first = value;
  ++field.lines;  // a head of 16 KiB has fewer than 2^16 lines
}

void read_content_length(std::string_view value, Request& out, Framing& framing) {
  constexpr uint64_t max = std::numeric_limits<uint64_t>::max();
  ++framing.length_lines;
  if (value.empty() || run_length(value, character::digit) != value.size()) {
    framing.is_length_bad = true;
    return;
  }
  uint64_t length = 0;
  for (const char c : value) {
    const auto digit = static_cast<uint64_t>(c - '0');
    length = length > (max - digit) / 10 ? max : length * 10 + digit;
  }
  out.content_length = length;
}

void read_transfer_encoding(std::string_view value, Framing& framing) {
  ++framing.coding_lines;
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view member = trim_space(value.substr(0, comma));
    const std::string_view name = trim_space(member.substr(0, member.find(';')));
    // An empty member is legal in a list, but nobody who means well sends one here.
    if (name.empty() || framing.is_last_chunked) framing.is_coding_bad = true;
    framing.is_last_chunked = equals_any_case(name, "chunked");
    if (framing.is_last_chunked) {
      // RFC 9112 section 7.1: chunked has no parameters; their presence is an error.
      if (member.size() != name.size()) framing.is_coding_bad = true;
    } else {
      framing.has_other_coding = true;
    }
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

void read_connection(std::string_view value, Framing& framing) {
  ListCursor list(value);
  std::string_view option;
  while (list.next(option)) {
    if (equals_any_case(option, "close")) framing.has_close = true;
    if (equals_any_case(option, "keep-alive")) framing.has_keep_alive = true;
  }
}

void read_expect(std::string_view value, Request& out) {
  // RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation MUST be ignored.
  if (out.minor_version == 0) return;
  ListCursor list(value);
  std::string_view member;
  while (list.next(member)) {
    if (equals_any_case(member, "100-continue")) {
      out.expects_continue = true;
    } else {
      out.expects_unknown = true;
    }
  }
}

void read_host(std::string_view value, Request& out, Framing& framing) {
  ++framing.host_lines;
  if (!is_authority(value, {.may_be_empty = true})) framing.is_host_bad = true;
  // RFC 9112 section 3.2.2: the host of an absolute-form target wins.
  if (out.form == TargetForm::origin || out.form == TargetForm::asterisk) out.host = value;
}

// Takes up the fields that matter; a name's length tells nearly all of them apart.
void read_field(std::string_view name, std::string_view value, Request& out, Framing& framing) {
  switch (name.size()) {
    case 4:
      if (equals_any_case(name, "host")) read_host(value, out, framing);
      return;
    case 5:
      if (equals_any_case(name, "range")) add_line(out.range, value);
      return;
    case 6:
      if (equals_any_case(name, "expect")) read_expect(value, out);
      return;
    case 8:
      if (equals_any_case(name, "if-match")) add_line(out.if_match, value);
      if (equals_any_case(name, "if-range")) add_line(out.if_range, value);
      return;
    case 10:
      if (equals_any_case(name, "connection")) read_connection(value, framing);
      return;
    case 13:
      if (equals_any_case(name, "if-none-match")) add_line(out.if_none_match, value);
      return;
    case 14:
      if (equals_any_case(name, "content-length")) read_content_length(value, out, framing);
      return;
    case 17:
      if (equals_any_case(name, "if-modified-since")) add_line(out.if_modified_since, value);
      if (equals_any_case(name, "transfer-encoding")) read_transfer_encoding(value, framing);
      return;
    case 19:
      if (equals_any_case(name, "if-unmodified-since")) add_line(out.if_unmodified_since, value);
      return;
    default:
      return;
  }
}

// field-line = field-name ":" OWS field-value OWS
Rejection parse_field_line(std::string_view line, Request& out, Framing& framing) {
  const size_t name_length = run_length(line, character::token);
  // RFC 9112 sections 5.1 and 5.2: no space before the colon, no folded line.
  if (name_length == 0 || name_length == line.size() || line[name_length] != ':') {
    return Rejection::field_malformed;
  }
  read_field(line.substr(0, name_length), trim_space(line.substr(name_length + 1)), out, framing);
  return Rejection::none;
}

// Judges the head as a whole.
Rejection finish(const Framing& framing, Request& out) {
  // RFC 9112 section 3.2.
  if (framing.host_lines == 0 && out.minor_version >= 1) return Rejection::host_missing;
  if (framing.host_lines > 1 || framing.is_host_bad) return Rejection::host_malformed;

  if (framing.length_lines > 1 || framing.is_length_bad) return Rejection::length_malformed;
  if (framing.coding_lines > 0) {
    // RFC 9112 section 6.1 lets a server reject it, and asks it to close in any case.
    if (framing.length_lines > 0) return Rejection::framing_ambiguous;
    if (out.minor_version == 0) return Rejection::coding_malformed;
    if (framing.is_coding_bad || !framing.is_last_chunked) return Rejection::coding_malformed;
    if (framing.has_other_coding) return Rejection::coding_unknown;
    out.body = BodyFraming::chunked;
  } else if (framing.length_lines > 0) {
    out.body = BodyFraming::content_length;
  }
  // RFC 9112 section 9.3.
  out.keep_alive = !framing.has_close && (out.minor_version >= 1 || framing.has_keep_alive);
  return Rejection::none;
}

ParseResult rejected(Rejection rejection, const ParseProgress& progress) {
  return {.state = ParseState::rejected, .rejection = rejection, .is_head = progress.is_head};
}

// The end of the line that starts at progress.line_start: `end` is where its CRLF stands.
struct Line {
  ParseState state = ParseState::incomplete;
  Rejection rejection = Rejection::none;
  size_t end = 0;
};

Line find_line(std::string_view window, ParseProgress& progress) {
  if (!progress.has_request_line) {
    const std::string_view line = window.substr(progress.line_start);
    // RFC 9112 section 2.2: at least one empty line before the request line SHOULD be ignored; one.
    const bool may_be_empty = progress.line_start == 0 && line.starts_with('\r');
    const Rejection rejection = may_be_empty ? Rejection::none : judge_method(line);
    progress.is_head = line.starts_with("HEAD ");
    if (rejection != Rejection::none) return {ParseState::rejected, rejection};
  }
  const size_t end = find_control(window, progress.scanned);
  if (!progress.has_request_line && end > progress.line_start + request_line_max_bytes) {
    return {ParseState::rejected, Rejection::request_line_too_long};
  }
  progress.scanned = static_cast<uint16_t>(end);
  // RFC 9112 section 2.2: a bare CR is invalid; a bare LF may be taken for a line end, and is not.
  const std::string_view found = window.substr(end, line_end.size());
  if (!line_end.starts_with(found)) return {ParseState::rejected, Rejection::line_malformed};
  if (found.size() < line_end.size()) {
    if (window.size() == head_max_bytes) return {ParseState::rejected, Rejection::head_too_large};
    return {};
  }
  return {ParseState::complete, Rejection::none, end};
}

// One pass over the lines from progress.line_start on.
ParseResult parse_lines(std::string_view bytes, ParseProgress& progress, Request& out) {
  const std::string_view window = bytes.substr(0, head_max_bytes);
  const bool is_whole = progress.line_start == 0;
  size_t fields_start = 0;
  Framing framing;
  while (true) {
    const Line found = find_line(window, progress);
    if (found.state == ParseState::rejected) return rejected(found.rejection, progress);
    if (found.state == ParseState::incomplete) return {};

    const size_t next = found.end + line_end.size();
    const std::string_view line =
        window.substr(progress.line_start, found.end - progress.line_start);
    Rejection rejection = Rejection::none;
    if (!progress.has_request_line) {
      if (!line.empty()) {
        rejection = parse_request_line(line, out);
        progress.has_request_line = true;
        fields_start = next;
      }
    } else if (!line.empty()) {
      rejection = parse_field_line(line, out, framing);
    } else {
      out.fields = window.substr(fields_start, progress.line_start - fields_start);
      if (is_whole) rejection = finish(framing, out);
      if (rejection != Rejection::none) return rejected(rejection, progress);
      return {.state = ParseState::complete, .is_head = progress.is_head, .head_bytes = next};
    }
    if (rejection != Rejection::none) return rejected(rejection, progress);
    progress.line_start = progress.scanned = static_cast<uint16_t>(next);
  }
}

}  // namespace

Status status_of(Rejection rejection) {
  return row_of(rejection).status;
}

stats::Counter counter_of(Rejection rejection) {
  return row_of(rejection).counter;
}

ParseResult parse_request(std::string_view bytes, ParseProgress& progress, Request& out) {
  if (progress.scanned > bytes.size())
    progress = {};  // fewer bytes than before: another run of them
  const bool was_cut = progress.line_start > 0;
  out = Request{};
  const ParseResult result = parse_lines(bytes, progress, out);
  if (!was_cut || result.state != ParseState::complete) return result;
  // The lines before were judged in earlier calls, at another address perhaps: once more, whole.
  progress = ParseProgress{};
  out = Request{};
  return parse_lines(bytes, progress, out);
}

}  // namespace sluice::http
