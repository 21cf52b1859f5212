// Any bytes as a request: what the parser takes, what is planned and emitted for it, and where its
// content ends. The invariants stand in lib/http's headers; each has a check here.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "http/body_drain.h"
#include "http/head.h"
#include "http/http_date.h"
#include "http/media_types.h"
#include "http/request_parser.h"
#include "http/response.h"
#include "http/syntax.h"
#include "http/target.h"

namespace {

using namespace sluice::http;

void check(bool holds) {
  if (!holds) std::abort();
}

bool is_same(const ParseResult& a, const ParseResult& b) {
  return a.state == b.state && a.rejection == b.rejection && a.head_bytes == b.head_bytes &&
         a.is_head == b.is_head;
}

// Every call gets memory of its own, so that a view kept from an earlier one would be found.
ParseResult parse_copy(std::string_view bytes, ParseProgress& progress, Request& request) {
  const std::vector<char> copy(bytes.begin(), bytes.end());
  return parse_request({copy.data(), copy.size()}, progress, request);
}

void check_cuts(std::string_view bytes, const ParseResult& whole) {
  Request request;
  const size_t step = 1 + bytes.size() / 300;
  for (size_t cut = 0; cut < bytes.size(); cut += step) {
    ParseProgress progress;
    ParseResult result = parse_copy(bytes.substr(0, cut), progress, request);
    if (result.state == ParseState::incomplete) result = parse_copy(bytes, progress, request);
    check(is_same(result, whole));
  }
  ParseProgress progress;
  ParseResult grown;
  for (size_t size = 0; grown.state == ParseState::incomplete; size += step) {
    grown = parse_copy(bytes.substr(0, size), progress, request);
    if (size >= bytes.size()) break;
  }
  check(is_same(grown, whole));
}

void check_within(std::string_view view, std::string_view bytes) {
  if (view.empty() || view == "/")
    return;  // an absolute-form target without a path has our own "/"
  check(view.data() >= bytes.data() && view.data() + view.size() <= bytes.data() + bytes.size());
}

void check_views(const Request& request, std::string_view head) {
  for (const std::string_view view :
       {request.method_text, request.target, request.path, request.query, request.host,
        request.fields, request.range.first, request.if_range.first, request.if_match.first,
        request.if_none_match.first, request.if_modified_since.first,
        request.if_unmodified_since.first}) {
    check_within(view, head);
  }
}

// What content::Lookup asks of a path.
void check_path(std::string_view path) {
  check(path.find('\0') == std::string_view::npos);
  if (path.empty()) return;
  check(path.front() != '/' && path.back() != '/');
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    check(!part.empty() && part != "." && part != "..");
    start = end + 1;
  }
}

// A head, and the content that stands in it, well-formed and of the length that it says.
void check_emitted(std::string_view bytes, bool has_content_here) {
  check(bytes.size() <= emit_max_bytes && bytes.starts_with("HTTP/1.1 "));
  const size_t end = bytes.find("\r\n\r\n");
  check(end != std::string_view::npos);
  FieldCursor cursor(bytes.substr(0, end + 2));
  std::string_view name;
  std::string_view value;
  check(cursor.next(name, value));  // the status line
  uint64_t length = 0;
  while (cursor.next(name, value)) {
    check(!name.empty() && run_length(name, character::token) == name.size());
    check(!value.empty() && run_length(value, character::field) == value.size());
    if (name == "Content-Length" && value.size() < 5) {
      length = static_cast<uint64_t>(std::stoull(std::string(value)));
    }
  }
  const size_t content = bytes.size() - end - 4;
  check(has_content_here ? content == length : content == 0);
}

template <typename Emit>
std::string emitted(const Emit& emit) {
  std::array<char, emit_max_bytes + 16> memory;
  memory.fill('~');
  const size_t bytes = emit(HeadBuffer(memory.data(), emit_max_bytes));
  check(bytes <= emit_max_bytes);
  for (size_t i = emit_max_bytes; i < memory.size(); ++i) check(memory[i] == '~');
  return {memory.data(), bytes};
}

void check_response(const Request& request, uint64_t size_bytes, const DateCache& date) {
  const Resource resource{.size_bytes = size_bytes,
                          .modified_unix_s = 784'111'777,
                          .etag = 0xbeef,
                          .media_type = default_media_type};
  const ResponsePlan plan =
      plan_response(request, resource, {.now_unix_s = date.unix_s(), .keep_alive = true});
  check(plan.body.offset_bytes <= size_bytes);
  check(plan.body.length_bytes <= size_bytes - plan.body.offset_bytes);
  check(plan.status != Status::partial_content || plan.body.length_bytes > 0);
  check(plan.status != Status::ok || plan.selected.length_bytes == size_bytes);
  check(!plan.is_head || plan.body.length_bytes == 0);
  const bool has_note =
      plan.status == Status::precondition_failed || plan.status == Status::range_not_satisfiable;
  check_emitted(emitted([&](HeadBuffer out) { return emit_response(plan, date, out); }),
                has_note && !plan.is_head);
}

void check_answers(const Request& request) {
  const DateCache date(784'111'777 + 100);
  const MethodPlan method = plan_method(request);
  const AnswerOptions options = answer_options(request, method.keep_alive);
  check(!method.keep_alive || request.keep_alive);
  if (method.action == MethodAction::refuse) {
    check(method.status != Status::ok);
    check_emitted(
        emitted([&](HeadBuffer out) { return emit_error(method.status, options, date, out); }),
        !options.is_head);
  }
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1} << 40,
                              std::numeric_limits<uint64_t>::max()}) {
    check_response(request, size, date);
  }
  for (const size_t room : {size_t{0}, size_t{7}, size_t{4096}}) {
    std::vector<char> memory(room);
    const ResolvedTarget target = resolve_target(request, memory);
    if (target.status != Status::ok) continue;
    check_path(target.path);
    check_emitted(emitted([&](HeadBuffer out) {
                    return emit_directory_redirect(request, target.path, options, date, out).bytes;
                  }),
                  !options.is_head);
  }
}

void check_drain(const Request& request, std::string_view bytes) {
  BodyDrain whole(request, body_drain_max_bytes);
  const size_t taken = whole.drain(bytes);
  check(taken <= bytes.size() && taken <= body_drain_max_bytes);
  check(whole.state() != DrainState::more || taken == bytes.size());
  for (const size_t step : {size_t{1}, size_t{3}, size_t{64}}) {
    BodyDrain cut(request, body_drain_max_bytes);
    size_t at = 0;
    while (at < bytes.size() && cut.state() == DrainState::more) {
      at += cut.drain(bytes.substr(at, step));
    }
    check(at == taken && cut.state() == whole.state());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ParseProgress progress;
  Request request;
  const ParseResult whole = parse_request(bytes, progress, request);
  check(size < head_max_bytes || whole.state != ParseState::incomplete);
  check_cuts(bytes, whole);
  if (whole.state == ParseState::rejected) {
    check(static_cast<int>(status_of(whole.rejection)) >= 400);
    (void)counter_of(whole.rejection);
  }
  if (whole.state == ParseState::complete) {
    check(whole.head_bytes <= size && whole.head_bytes <= head_max_bytes);
    check_views(request, bytes.substr(0, whole.head_bytes));
    check_answers(request);
    check_drain(request, bytes.substr(whole.head_bytes));
  } else {
    // Bytes that are no head may still be a chunked body.
    request = Request{};
    request.body = BodyFraming::chunked;
    check_drain(request, bytes);
  }
  return 0;
}
