#include "http/head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "http/media_types.h"
#include "parsed.h"

namespace sluice::http {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const DateCache date(784'111'777);  // Sun, 06 Nov 1994 08:49:37 GMT
const std::string date_line = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const Resource resource{.size_bytes = 1000,
                        .modified_unix_s = 784'111'777 - 60,
                        .etag = 0xbeef,
                        .media_type = "video/mp4"};

// Calls emit(out) with a buffer that a write beyond its end would be seen in.
template <typename Emit>
std::string emitted(const Emit& emit) {
  std::array<char, emit_max_bytes + 64> memory;
  memory.fill('~');
  const size_t bytes = emit(HeadBuffer(memory.data(), emit_max_bytes));
  EXPECT_LE(bytes, emit_max_bytes);
  for (size_t i = emit_max_bytes; i < memory.size(); ++i) EXPECT_EQ(memory[i], '~');
  return {memory.data(), bytes};
}

std::string response(const ResponsePlan& plan) {
  return emitted([&](HeadBuffer out) { return emit_response(plan, date, out); });
}
std::string error(Status status, const AnswerOptions& options = {}) {
  return emitted([&](HeadBuffer out) { return emit_error(status, options, date, out); });
}
std::string redirect(std::string_view path, std::string_view query = {}) {
  Request request;
  request.query = query;
  return emitted([&](HeadBuffer out) {
    return emit_directory_redirect(request, path, {.keep_alive = true}, date, out).bytes;
  });
}
std::string content_of(const std::string& bytes) {
  return bytes.substr(bytes.find("\r\n\r\n") + 4);
}

ResponsePlan whole() {
  ResponsePlan plan;
  plan.keep_alive = true;
  plan.resource = resource;
  plan.body = plan.selected = {0, 1000};
  return plan;
}

TEST(Head, Whole) {
  EXPECT_EQ(response(whole()), "HTTP/1.1 200 OK\r\nServer: sluice\r\n" + date_line +
                                   "Content-Length: 1000\r\n"
                                   "Content-Type: video/mp4\r\n"
                                   "Last-Modified: Sun, 06 Nov 1994 08:48:37 GMT\r\n"
                                   "ETag: \"000000000000beef\"\r\n"
                                   "Accept-Ranges: bytes\r\n\r\n");
}

TEST(Head, Partial) {
  ResponsePlan plan = whole();
  plan.status = Status::partial_content;
  plan.selected = {4'294'967'296, 10};
  plan.resource.size_bytes = 8'589'934'592;
  EXPECT_EQ(response(plan), "HTTP/1.1 206 Partial Content\r\nServer: sluice\r\n" + date_line +
                                "Content-Length: 10\r\n"
                                "Content-Range: bytes 4294967296-4294967305/8589934592\r\n"
                                "Content-Type: video/mp4\r\n"
                                "Last-Modified: Sun, 06 Nov 1994 08:48:37 GMT\r\n"
                                "ETag: \"000000000000beef\"\r\n"
                                "Accept-Ranges: bytes\r\n\r\n");
}

TEST(Head, PartialAfterIfRangeDoesNotRepeatWhatTheClientHas) {
  ResponsePlan plan = whole();
  plan.status = Status::partial_content;
  plan.selected = {0, 10};
  plan.is_after_if_range = true;
  const std::string head = response(plan);
  EXPECT_THAT(head, HasSubstr("Content-Range: bytes 0-9/1000\r\n"));
  EXPECT_THAT(head, HasSubstr("ETag: "));
  EXPECT_THAT(head, Not(HasSubstr("Last-Modified")));
  EXPECT_THAT(head, Not(HasSubstr("Content-Type")));
}

TEST(Head, NotModified) {
  ResponsePlan plan = whole();
  plan.status = Status::not_modified;
  EXPECT_EQ(response(plan), "HTTP/1.1 304 Not Modified\r\nServer: sluice\r\n" + date_line +
                                "ETag: \"000000000000beef\"\r\n\r\n");
}

TEST(Head, UnsatisfiableRangeNamesTheSize) {
  ResponsePlan plan = whole();
  plan.status = Status::range_not_satisfiable;
  const std::string bytes = response(plan);
  EXPECT_THAT(bytes, StartsWith("HTTP/1.1 416 Range Not Satisfiable\r\n"));
  EXPECT_THAT(bytes, HasSubstr("\r\nContent-Range: bytes */1000\r\n"));
  EXPECT_THAT(bytes, HasSubstr("Content-Length: " + std::to_string(content_of(bytes).size())));
}

TEST(Head, PreconditionFailed) {
  ResponsePlan plan = whole();
  plan.status = Status::precondition_failed;
  EXPECT_THAT(response(plan), StartsWith("HTTP/1.1 412 Precondition Failed\r\n"));
  EXPECT_FALSE(content_of(response(plan)).empty());
  plan.is_head = true;
  EXPECT_TRUE(content_of(response(plan)).empty());
}

TEST(Head, SaysWhatHappensToTheConnection) {
  ResponsePlan plan = whole();
  EXPECT_THAT(response(plan), Not(HasSubstr("Connection:")));
  plan.says_keep_alive = true;
  EXPECT_THAT(response(plan), HasSubstr("\r\nConnection: keep-alive\r\n"));
  plan.keep_alive = plan.says_keep_alive = false;
  EXPECT_THAT(response(plan), HasSubstr("\r\nConnection: close\r\n"));
}

TEST(Head, LastModifiedIsNeverLaterThanDate) {
  ResponsePlan plan = whole();
  plan.resource.modified_unix_s = date.unix_s() + 1;
  EXPECT_THAT(response(plan), HasSubstr("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
  plan.resource.modified_unix_s = std::numeric_limits<int64_t>::min();
  EXPECT_THAT(response(plan), HasSubstr("\r\nLast-Modified: Mon, 01 Jan 0001 00:00:00 GMT\r\n"));
}

TEST(Head, TheLongestOneFits) {
  ResponsePlan plan = whole();
  const std::string type = "a/" + std::string(media_type_max_bytes - 2, 'b');
  constexpr uint64_t huge = std::numeric_limits<uint64_t>::max();
  plan.status = Status::partial_content;
  plan.keep_alive = plan.says_keep_alive = true;
  plan.resource = {.size_bytes = huge, .etag = huge, .media_type = type};
  plan.selected = {huge - 2, 2};
  EXPECT_THAT(response(plan), HasSubstr(type));
  plan.resource.media_type = {};
  EXPECT_THAT(response(plan), HasSubstr("Content-Type: application/octet-stream\r\n"));
  const std::string longer = type + "b";
  plan.resource.media_type = longer;
  EXPECT_THAT(response(plan), HasSubstr("Content-Type: application/octet-stream\r\n"));
}

TEST(Error, HasAShortPage) {
  EXPECT_EQ(error(Status::not_found, {.keep_alive = true}),
            "HTTP/1.1 404 Not Found\r\nServer: sluice\r\n" + date_line +
                "Content-Type: text/html\r\nContent-Length: 66\r\n\r\n"
                "<!doctype html><title>404 Not Found</title><h1>404 Not Found</h1>\n");
}

TEST(Error, EachStatusSaysItsLengthAndFits) {
  for (const Status status :
       {Status::bad_request, Status::forbidden, Status::not_found, Status::method_not_allowed,
        Status::request_timeout, Status::content_too_large, Status::uri_too_long,
        Status::expectation_failed, Status::misdirected_request, Status::header_fields_too_large,
        Status::internal_server_error, Status::not_implemented, Status::service_unavailable,
        Status::version_not_supported}) {
    const std::string bytes = error(status);
    EXPECT_THAT(bytes, StartsWith("HTTP/1.1 " + std::string(status_text(status)) + "\r\n"));
    EXPECT_THAT(bytes, HasSubstr("\r\nContent-Length: " + std::to_string(content_of(bytes).size()) +
                                 "\r\n"));
    EXPECT_THAT(bytes, HasSubstr("\r\nConnection: close\r\n"));
    const std::string head = error(status, {.is_head = true});
    EXPECT_EQ(head + content_of(bytes), bytes);
  }
}

TEST(Error, MethodNotAllowedSaysWhatIs) {
  EXPECT_THAT(error(Status::method_not_allowed), HasSubstr("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
}

TEST(Error, UnavailableSaysWhenToComeBack) {
  EXPECT_THAT(error(Status::service_unavailable), HasSubstr("\r\nRetry-After: 1\r\n"));
}

TEST(Options, SaysWhatIsAllowed) {
  const std::string bytes =
      emitted([](HeadBuffer out) { return emit_options({.keep_alive = true}, date, out); });
  EXPECT_EQ(bytes, "HTTP/1.1 200 OK\r\nServer: sluice\r\n" + date_line +
                       "Allow: GET, HEAD, OPTIONS\r\nAccept-Ranges: bytes\r\n"
                       "Content-Length: 0\r\n\r\n");
}

TEST(Redirect, AddsTheSlash) {
  EXPECT_THAT(redirect("a"), StartsWith("HTTP/1.1 301 Moved Permanently\r\n"));
  EXPECT_THAT(redirect("a"), HasSubstr("\r\nLocation: /a/\r\n"));
  EXPECT_THAT(redirect("a/b"), HasSubstr("\r\nLocation: /a/b/\r\n"));
}

TEST(Redirect, KeepsTheQuery) {
  EXPECT_THAT(redirect("a", "x=1&y=%20?/"), HasSubstr("\r\nLocation: /a/?x=1&y=%20?/\r\n"));
  EXPECT_THAT(redirect("a", "{|}[]^`\\"),
              HasSubstr("\r\nLocation: /a/?%7B%7C%7D%5B%5D%5E%60%5C\r\n"));
}

TEST(Redirect, EncodesEveryByteThatCouldMeanSomethingElse) {
  EXPECT_THAT(redirect("a\r\nX: y"), HasSubstr("\r\nLocation: /a%0D%0AX:%20y/\r\n"));
  EXPECT_THAT(redirect("\xc3\xa4?#%\"<\\"),
              HasSubstr("\r\nLocation: /%C3%A4%3F%23%25%22%3C%5C/\r\n"));
}

TEST(Redirect, NeverPointsToAnotherHost) {
  EXPECT_THAT(redirect(""), HasSubstr("\r\nLocation: /\r\n"));
  EXPECT_THAT(redirect("\\example.org"), HasSubstr("\r\nLocation: /%5Cexample.org/\r\n"));
}

TEST(Redirect, BecomesRelativeWhereTheWholePathDoesNotFit) {
  const std::string parent(900, 'p');
  const std::string bytes = redirect(parent + "/a:b", "q");
  EXPECT_THAT(bytes, HasSubstr("\r\nLocation: ./a:b/?q\r\n"));
  EXPECT_THAT(bytes, EndsWith("</h1>\n"));
}

TEST(Redirect, LeavesTheQueryOutWhereItDoesNotFit) {
  EXPECT_THAT(redirect("a/b", std::string(2000, 'q')), HasSubstr("\r\nLocation: ./b/\r\n"));
}

TEST(Redirect, GivesUpWhereNothingFits) {
  EXPECT_THAT(redirect(std::string(250, '\xff')), HasSubstr("Location: /%FF%FF"));
  EXPECT_THAT(redirect(std::string(300, '\xff')), StartsWith("HTTP/1.1 414 "));
}

TEST(Redirect, LongestFileNameAlwaysFits) {
  const std::string path = std::string(3000, 'x') + "/" + std::string(255, '\xff');
  const std::string query(2000, 'q');
  Request request;
  request.query = query;
  for (const AnswerOptions& options :
       {AnswerOptions{}, AnswerOptions{.keep_alive = true},
        AnswerOptions{.keep_alive = true, .says_keep_alive = true}}) {
    const std::string bytes = emitted([&](HeadBuffer out) {
      return emit_directory_redirect(request, path, options, date, out).bytes;
    });
    EXPECT_THAT(bytes, StartsWith("HTTP/1.1 301 "));
    EXPECT_THAT(bytes, EndsWith("</h1>\n"));
  }
}

}  // namespace
}  // namespace sluice::http
