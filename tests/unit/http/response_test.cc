#include "http/response.h"

#include <gtest/gtest.h>

#include "parsed.h"

namespace sluice::http {
namespace {

constexpr int64_t modified = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr int64_t now = modified + 1000;
const std::string same_date = "Sun, 06 Nov 1994 08:49:37 GMT";
const std::string date_before = "Sun, 06 Nov 1994 08:49:36 GMT";
const std::string date_after = "Sun, 06 Nov 1994 08:49:38 GMT";
const std::string own_tag = "\"000000000000beef\"";
const std::string weak_tag = "W/" + own_tag;
const std::string other_tag = "\"dead\"";
const Resource resource{
    .size_bytes = 1000, .modified_unix_s = modified, .etag = 0xbeef, .media_type = "video/mp4"};

ResponsePlan plan_with(std::initializer_list<std::string> fields, std::string method = "GET") {
  std::string head = method + " /a HTTP/1.1\r\nHost: a\r\n";
  for (const std::string& field : fields) head += field + "\r\n";
  const Parsed request(head + "\r\n");
  return plan_response(*request, resource, {.now_unix_s = now, .keep_alive = true});
}
Status status_with(std::initializer_list<std::string> fields, std::string method = "GET") {
  return plan_with(fields, std::move(method)).status;
}

TEST(Response, WholeResource) {
  const ResponsePlan plan = plan_with({});
  EXPECT_EQ(plan.status, Status::ok);
  EXPECT_EQ(plan.body, (ByteRange{0, 1000}));
  EXPECT_TRUE(plan.keep_alive);
}

TEST(Response, HeadHasNoContentAndNoRange) {
  const ResponsePlan plan = plan_with({"Range: bytes=0-9"}, "HEAD");
  EXPECT_EQ(plan.status, Status::ok);
  EXPECT_EQ(plan.body, ByteRange{});
  EXPECT_EQ(plan.selected, (ByteRange{0, 1000}));
}

TEST(Response, OneRange) {
  const ResponsePlan plan = plan_with({"Range: bytes=100-199"});
  EXPECT_EQ(plan.status, Status::partial_content);
  EXPECT_EQ(plan.body, (ByteRange{100, 100}));
  EXPECT_FALSE(plan.is_after_if_range);
}

TEST(Response, ARangeOfAllIsStillPartial) {
  EXPECT_EQ(status_with({"Range: bytes=0-"}), Status::partial_content);
}

TEST(Response, RangesThatCannotBeServed) {
  EXPECT_EQ(status_with({"Range: bytes=1000-"}), Status::range_not_satisfiable);
  EXPECT_EQ(plan_with({"Range: bytes=1000-"}).body, ByteRange{});
  EXPECT_EQ(status_with({"Range: bytes=x"}), Status::ok);
  EXPECT_EQ(status_with({"Range: bytes=0-1,5-6"}), Status::ok);
  EXPECT_EQ(status_with({"Range: bytes=0-1", "Range: bytes=0-1"}), Status::ok);
}

// RFC 9110 section 13.1.1 and 13.1.4.
TEST(Response, IfMatchComparesStrongly) {
  EXPECT_EQ(status_with({"If-Match: " + own_tag}), Status::ok);
  EXPECT_EQ(status_with({"If-Match: *"}), Status::ok);
  EXPECT_EQ(status_with({"If-Match: " + other_tag + ", " + own_tag}), Status::ok);
  EXPECT_EQ(status_with({"If-Match: " + other_tag}), Status::precondition_failed);
  EXPECT_EQ(status_with({"If-Match: " + weak_tag}), Status::precondition_failed);
  EXPECT_EQ(status_with({"If-Match: garbage"}), Status::precondition_failed);
  EXPECT_EQ(status_with({"If-Match:"}), Status::precondition_failed);
}

TEST(Response, IfUnmodifiedSince) {
  EXPECT_EQ(status_with({"If-Unmodified-Since: " + same_date}), Status::ok);
  EXPECT_EQ(status_with({"If-Unmodified-Since: " + date_after}), Status::ok);
  EXPECT_EQ(status_with({"If-Unmodified-Since: " + date_before}), Status::precondition_failed);
  EXPECT_EQ(status_with({"If-Unmodified-Since: yesterday"}), Status::ok);
  EXPECT_EQ(
      status_with({"If-Unmodified-Since: " + date_before, "If-Unmodified-Since: " + date_before}),
      Status::ok);
}

TEST(Response, IfNoneMatchComparesWeakly) {
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag}), Status::not_modified);
  EXPECT_EQ(status_with({"If-None-Match: " + weak_tag}), Status::not_modified);
  EXPECT_EQ(status_with({"If-None-Match: *"}), Status::not_modified);
  EXPECT_EQ(status_with({"If-None-Match: " + other_tag}), Status::ok);
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag}, "HEAD"), Status::not_modified);
  EXPECT_EQ(plan_with({"If-None-Match: *"}).body, ByteRange{});
}

TEST(Response, IfModifiedSince) {
  EXPECT_EQ(status_with({"If-Modified-Since: " + same_date}), Status::not_modified);
  EXPECT_EQ(status_with({"If-Modified-Since: " + date_after}), Status::not_modified);
  EXPECT_EQ(status_with({"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"}),
            Status::not_modified);
  EXPECT_EQ(status_with({"If-Modified-Since: " + date_before}), Status::ok);
  EXPECT_EQ(status_with({"If-Modified-Since: garbage"}), Status::ok);
  EXPECT_EQ(status_with({"If-Modified-Since: " + same_date, "If-Modified-Since: " + same_date}),
            Status::ok);
}

// RFC 9110 section 13.2.2.
TEST(Response, PreconditionsHaveTheirOrder) {
  // If-Match decides before If-Unmodified-Since is looked at, If-None-Match before
  // If-Modified-Since.
  EXPECT_EQ(status_with({"If-Match: " + own_tag, "If-Unmodified-Since: " + date_before}),
            Status::ok);
  EXPECT_EQ(status_with({"If-None-Match: " + other_tag, "If-Modified-Since: " + date_after}),
            Status::ok);
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag, "If-Modified-Since: " + date_before}),
            Status::not_modified);
  EXPECT_EQ(status_with({"If-None-Match: garbage", "If-Modified-Since: " + date_after}),
            Status::ok);
  // 412 before 304, 304 before 206 and 416.
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag, "If-Match: " + other_tag}),
            Status::precondition_failed);
  EXPECT_EQ(status_with({"If-Modified-Since: " + same_date, "If-Unmodified-Since: " + date_before}),
            Status::precondition_failed);
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag, "Range: bytes=0-1"}), Status::not_modified);
  EXPECT_EQ(status_with({"If-None-Match: " + own_tag, "Range: bytes=5000-"}), Status::not_modified);
  EXPECT_EQ(
      status_with({"If-Match: " + own_tag, "If-None-Match: " + other_tag, "Range: bytes=0-1"}),
      Status::partial_content);
}

// RFC 9110 section 13.1.5.
TEST(Response, IfRangeComparesStronglyAndExactly) {
  const std::string range = "Range: bytes=0-9";
  EXPECT_EQ(status_with({range, "If-Range: " + own_tag}), Status::partial_content);
  EXPECT_EQ(status_with({range, "If-Range: " + weak_tag}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: " + other_tag}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: " + same_date}), Status::partial_content);
  EXPECT_EQ(status_with({range, "If-Range: " + date_after}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: " + date_before}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: garbage"}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range:"}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: *"}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: " + own_tag + ", " + own_tag}), Status::ok);
  EXPECT_EQ(status_with({range, "If-Range: " + own_tag, "If-Range: " + own_tag}), Status::ok);
}

TEST(Response, IfRangeWithoutRangeMeansNothing) {
  EXPECT_EQ(status_with({"If-Range: " + other_tag}), Status::ok);
}

TEST(Response, IfRangeMayMeetAnUnsatisfiableRange) {
  EXPECT_EQ(status_with({"Range: bytes=5000-", "If-Range: " + own_tag}),
            Status::range_not_satisfiable);
  EXPECT_EQ(status_with({"Range: bytes=5000-", "If-Range: " + other_tag}), Status::ok);
}

TEST(Response, ADateOfThisVerySecondIsNoStrongValidator) {
  const Parsed request{"GET / HTTP/1.1", "Host: a", "Range: bytes=0-1", "If-Range: " + same_date};
  EXPECT_EQ(plan_response(*request, resource, {.now_unix_s = modified}).status, Status::ok);
  EXPECT_EQ(plan_response(*request, resource, {.now_unix_s = modified + 1}).status,
            Status::partial_content);
}

TEST(Response, AModificationInTheFutureCountsAsNow) {
  Resource future = resource;
  future.modified_unix_s = now + 100;
  const Parsed request{"GET / HTTP/1.1", "Host: a", "If-Modified-Since: " + same_date};
  EXPECT_EQ(plan_response(*request, future, {.now_unix_s = modified}).status, Status::not_modified);
  EXPECT_EQ(plan_response(*request, future, {.now_unix_s = modified + 1}).status, Status::ok);
}

TEST(Response, EmptyResource) {
  Resource empty = resource;
  empty.size_bytes = 0;
  const Parsed whole{"GET / HTTP/1.1", "Host: a"};
  EXPECT_EQ(plan_response(*whole, empty, {.now_unix_s = now}).status, Status::ok);
  const Parsed ranged{"GET / HTTP/1.1", "Host: a", "Range: bytes=0-"};
  EXPECT_EQ(plan_response(*ranged, empty, {.now_unix_s = now}).status,
            Status::range_not_satisfiable);
}

TEST(Response, PersistenceIsSaidToHttp10) {
  const Parsed old{"GET / HTTP/1.0", "Connection: keep-alive"};
  EXPECT_TRUE(plan_response(*old, resource, {.keep_alive = true}).says_keep_alive);
  EXPECT_FALSE(plan_response(*old, resource, {.keep_alive = false}).says_keep_alive);
  EXPECT_FALSE(plan_with({}).says_keep_alive);
}

MethodPlan method_plan(std::initializer_list<std::string> lines) {
  const Parsed request(lines);
  return plan_method(*request);
}

TEST(MethodPlan, ServesGetAndHead) {
  EXPECT_EQ(method_plan({"GET / HTTP/1.1", "Host: a"}).action, MethodAction::serve);
  EXPECT_EQ(method_plan({"HEAD / HTTP/1.1", "Host: a"}).action, MethodAction::serve);
  EXPECT_TRUE(method_plan({"GET / HTTP/1.1", "Host: a"}).keep_alive);
}

TEST(MethodPlan, AnswersOptions) {
  EXPECT_EQ(method_plan({"OPTIONS * HTTP/1.1", "Host: a"}).action, MethodAction::options);
  EXPECT_EQ(method_plan({"OPTIONS /a HTTP/1.1", "Host: a"}).action, MethodAction::options);
}

TEST(MethodPlan, KnownMethodsAreNotAllowed) {
  for (const std::string method : {"POST", "PUT", "DELETE", "TRACE", "PATCH"}) {
    const MethodPlan plan = method_plan({method + " /a HTTP/1.1", "Host: a"});
    EXPECT_EQ(plan.action, MethodAction::refuse) << method;
    EXPECT_EQ(plan.status, Status::method_not_allowed) << method;
    EXPECT_TRUE(plan.keep_alive) << method;
  }
}

TEST(MethodPlan, ConnectEndsTheConnection) {
  const MethodPlan plan = method_plan({"CONNECT a:443 HTTP/1.1", "Host: a:443"});
  EXPECT_EQ(plan.status, Status::method_not_allowed);
  EXPECT_FALSE(plan.keep_alive);
}

TEST(MethodPlan, UnknownMethodsAreNotImplemented) {
  for (const std::string method : {"get", "Get", "GETS", "PROPFIND", "QUERY", "X", "!"}) {
    EXPECT_EQ(method_plan({method + " /a HTTP/1.1", "Host: a"}).status, Status::not_implemented)
        << method;
  }
}

TEST(MethodPlan, ContentWithinTheLimitIsDrained) {
  const MethodPlan plan = method_plan({"GET / HTTP/1.1", "Host: a", "Content-Length: 65536"});
  EXPECT_EQ(plan.action, MethodAction::serve);
  EXPECT_TRUE(plan.keep_alive);
  EXPECT_TRUE(method_plan({"GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"}).keep_alive);
}

TEST(MethodPlan, ContentBeyondTheLimitIsRefused) {
  for (const std::string length : {"65537", "18446744073709551615", "99999999999999999999999"}) {
    const MethodPlan plan = method_plan({"GET / HTTP/1.1", "Host: a", "Content-Length: " + length});
    EXPECT_EQ(plan.status, Status::content_too_large) << length;
    EXPECT_FALSE(plan.keep_alive) << length;
  }
  // The method is wrong in any case.
  const MethodPlan post = method_plan({"POST / HTTP/1.1", "Host: a", "Content-Length: 65537"});
  EXPECT_EQ(post.status, Status::method_not_allowed);
  EXPECT_FALSE(post.keep_alive);
}

TEST(MethodPlan, ExpectationsWithContentEndTheConnection) {
  const MethodPlan plan =
      method_plan({"GET / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue"});
  EXPECT_EQ(plan.action, MethodAction::serve);
  EXPECT_FALSE(plan.keep_alive);
  EXPECT_TRUE(method_plan({"GET / HTTP/1.1", "Host: a", "Expect: 100-Continue"}).keep_alive);
}

TEST(MethodPlan, OtherExpectationsFail) {
  EXPECT_EQ(method_plan({"GET / HTTP/1.1", "Host: a", "Expect: 200-ok"}).status,
            Status::expectation_failed);
  EXPECT_EQ(method_plan({"GET / HTTP/1.1", "Host: a", "Expect: 100-continue, x=y"}).status,
            Status::expectation_failed);
  EXPECT_FALSE(
      method_plan({"GET / HTTP/1.1", "Host: a", "Expect: x", "Content-Length: 5"}).keep_alive);
  EXPECT_EQ(method_plan({"POST / HTTP/1.1", "Host: a", "Expect: x"}).status,
            Status::method_not_allowed);
  // RFC 9110 section 10.1.1: not from HTTP/1.0.
  EXPECT_EQ(method_plan({"GET / HTTP/1.0", "Expect: 200-ok"}).action, MethodAction::serve);
}

}  // namespace
}  // namespace sluice::http
