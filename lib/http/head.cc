#include "http/head.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/assert.h"
#include "http/entity_tag.h"
#include "http/media_types.h"
#include "http/syntax.h"

namespace sluice::http {
namespace {

constexpr std::string_view allow_line = "Allow: GET, HEAD, OPTIONS\r\n";

// Appends to a head slot. Nothing is written past its end: what does not fit sets `overflowed`.
class Writer {
 public:
  explicit Writer(HeadBuffer out) : start_(out.data()), at_(start_), end_(start_ + out.size()) {}

  void put(std::string_view text) {
    if (static_cast<size_t>(end_ - at_) < text.size()) {
      overflowed_ = true;
      return;
    }
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void put_number(uint64_t value) {
    const std::to_chars_result result = std::to_chars(at_, end_, value);
    overflowed_ = overflowed_ || result.ec != std::errc();
    at_ = result.ptr;
  }
  // Percent-encodes what is not of the class.
  void put_encoded(std::string_view text, uint8_t plain_classes) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (const char c : text) {
      if (is_in(c, plain_classes)) {
        put({&c, 1});
        continue;
      }
      const auto byte = static_cast<unsigned char>(c);
      const char encoded[] = {'%', digits[byte >> 4], digits[byte & 15]};
      put({encoded, sizeof encoded});
    }
  }
  [[nodiscard]] bool overflowed() const { return overflowed_; }
  [[nodiscard]] size_t finish() const {
    ASSERT(!overflowed_);
    return static_cast<size_t>(at_ - start_);
  }

 private:
  char* start_;
  char* at_;
  char* end_;
  bool overflowed_ = false;
};

void put_status_and_date(Writer& writer, Status status, const DateCache& date) {
  if (status == Status::ok) {
    writer.put("HTTP/1.1 200 OK\r\nServer: sluice\r\nDate: ");
  } else {
    writer.put("HTTP/1.1 ");
    writer.put(status_text(status));
    writer.put("\r\nServer: sluice\r\nDate: ");
  }
  writer.put(date.text());
  writer.put("\r\n");
}

void put_connection(Writer& writer, bool keep_alive, bool says_keep_alive) {
  if (!keep_alive) {
    writer.put("Connection: close\r\n");
  } else if (says_keep_alive) {
    writer.put("Connection: keep-alive\r\n");
  }
}

// The rest of a head with a short body that names its status, and that body.
void put_note(Writer& writer, Status status, bool is_head) {
  constexpr std::string_view before = "<!doctype html><title>";
  constexpr std::string_view between = "</title><h1>";
  constexpr std::string_view after = "</h1>\n";
  const std::string_view text = status_text(status);
  writer.put("Content-Type: text/html\r\nContent-Length: ");
  writer.put_number(before.size() + between.size() + after.size() + 2 * text.size());
  writer.put("\r\n\r\n");
  if (is_head) return;
  writer.put(before);
  writer.put(text);
  writer.put(between);
  writer.put(text);
  writer.put(after);
}

void put_last_modified(Writer& writer, const ResponsePlan& plan, const DateCache& date) {
  // RFC 9110 section 8.8.2.1: never later than Date.
  writer.put("\r\nLast-Modified: ");
  if (plan.resource.modified_unix_s >= date.unix_s()) {
    writer.put(date.text());
    return;
  }
  std::array<char, http_date_bytes> text;
  format_http_date(plan.resource.modified_unix_s, text);
  writer.put({text.data(), text.size()});
}

void put_content_range(Writer& writer, const ResponsePlan& plan) {
  const ByteRange& range = plan.selected;
  writer.put("\r\nContent-Range: bytes ");
  writer.put_number(range.offset_bytes);
  writer.put("-");
  writer.put_number(range.offset_bytes + range.length_bytes - 1);
  writer.put("/");
  writer.put_number(plan.resource.size_bytes);
}

// 200 and 206.
void put_representation(Writer& writer, const ResponsePlan& plan, const DateCache& date) {
  writer.put("Content-Length: ");
  writer.put_number(plan.selected.length_bytes);
  if (plan.status == Status::partial_content) put_content_range(writer, plan);
  // RFC 9110 section 15.3.7: after If-Range the client has the metadata, and SHOULD NOT get it
  // again.
  if (!plan.is_after_if_range) {
    const std::string_view type = plan.resource.media_type;
    writer.put("\r\nContent-Type: ");
    writer.put(type.empty() || type.size() > media_type_max_bytes ? default_media_type : type);
    put_last_modified(writer, plan, date);
  }
  writer.put("\r\nETag: ");
  writer.put(EntityTag(plan.resource.etag).text());
  writer.put("\r\nAccept-Ranges: bytes\r\n\r\n");
}

}  // namespace

size_t emit_response(const ResponsePlan& plan, const DateCache& date, HeadBuffer out) {
  Writer writer(out);
  put_status_and_date(writer, plan.status, date);
  put_connection(writer, plan.keep_alive, plan.says_keep_alive);
  switch (plan.status) {
    case Status::ok:
    case Status::partial_content:
      put_representation(writer, plan, date);
      break;
    case Status::not_modified:
      // RFC 9110 section 15.4.5: what a 200 would have said for caches; other metadata SHOULD NOT
      // be there, since there is an ETag.
      writer.put("ETag: ");
      writer.put(EntityTag(plan.resource.etag).text());
      writer.put("\r\n\r\n");
      break;
    case Status::range_not_satisfiable:
      writer.put("Content-Range: bytes */");
      writer.put_number(plan.resource.size_bytes);
      writer.put("\r\nAccept-Ranges: bytes\r\n");
      put_note(writer, plan.status, plan.is_head);
      break;
    default:
      put_note(writer, plan.status, plan.is_head);
      break;
  }
  return writer.finish();
}

AnswerOptions answer_options(const Request& request, bool keep_alive) {
  return {.keep_alive = keep_alive,
          .says_keep_alive = keep_alive && request.minor_version == 0,
          .is_head = request.method == Method::head};
}

size_t emit_error(Status status, const AnswerOptions& options, const DateCache& date,
                  HeadBuffer out) {
  Writer writer(out);
  put_status_and_date(writer, status, date);
  put_connection(writer, options.keep_alive, options.says_keep_alive);
  // RFC 9110 sections 15.5.6 and 15.6.4.
  if (status == Status::method_not_allowed) writer.put(allow_line);
  if (status == Status::service_unavailable) writer.put("Retry-After: 1\r\n");
  put_note(writer, status, options.is_head);
  return writer.finish();
}

size_t emit_overloaded(HeadBuffer out) {
  Writer writer(out);
  writer.put(
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
      "Content-Length: 0\r\n\r\n");
  return writer.finish();
}

size_t emit_options(const AnswerOptions& options, const DateCache& date, HeadBuffer out) {
  Writer writer(out);
  put_status_and_date(writer, Status::ok, date);
  put_connection(writer, options.keep_alive, options.says_keep_alive);
  writer.put(allow_line);
  writer.put("Accept-Ranges: bytes\r\nContent-Length: 0\r\n\r\n");
  return writer.finish();
}

Redirected emit_directory_redirect(const Request& request, std::string_view path,
                                   const AnswerOptions& options, const DateCache& date,
                                   HeadBuffer out) {
  struct Form {
    bool is_absolute;
    bool has_query;
  };
  constexpr Form forms[] = {{true, true}, {false, true}, {false, false}};
  const size_t slash = path.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? path : path.substr(slash + 1);
  for (const Form& form : forms) {
    Writer writer(out);
    put_status_and_date(writer, Status::moved_permanently, date);
    put_connection(writer, options.keep_alive, options.says_keep_alive);
    // "./" so that neither a colon nor an empty part in front changes what the reference means.
    writer.put(form.is_absolute ? "Location: /" : "Location: ./");
    writer.put_encoded(form.is_absolute ? path : last, character::plain);
    if (!path.empty()) writer.put("/");
    if (form.has_query && !request.query.empty()) {
      writer.put("?");
      writer.put_encoded(request.query, character::uri);
    }
    writer.put("\r\n");
    put_note(writer, Status::moved_permanently, options.is_head);
    if (!writer.overflowed()) return {writer.finish(), Status::moved_permanently};
  }
  return {emit_error(Status::uri_too_long, options, date, out), Status::uri_too_long};
}

}  // namespace sluice::http
