#include "http/request_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parsed.h"

namespace sluice::http {
namespace {

ParseResult parsed(std::string_view bytes) {
  ParseProgress progress;
  Request request;
  return parse_request(bytes, progress, request);
}

// The answer to the whole must be the answer to it byte by byte, and in two parts cut anywhere.
ParseResult judged(const std::string& bytes) {
  const ParseResult whole = parsed(bytes);
  const auto expect_same = [&](const ParseResult& result, std::string_view how) {
    EXPECT_EQ(result.state, whole.state) << how << ": " << bytes;
    EXPECT_EQ(result.rejection, whole.rejection) << how << ": " << bytes;
    EXPECT_EQ(result.head_bytes, whole.head_bytes) << how << ": " << bytes;
    EXPECT_EQ(result.is_head, whole.is_head) << how << ": " << bytes;
  };
  ParseProgress progress;
  Request request;
  ParseResult grown;
  for (size_t size = 0; size <= bytes.size() && grown.state == ParseState::incomplete; ++size) {
    grown = parse_request(std::string(bytes, 0, size), progress, request);
  }
  expect_same(grown, "byte by byte");
  for (size_t cut = 0; cut < bytes.size() && bytes.size() < 500; ++cut) {
    ParseProgress cut_progress;
    ParseResult result = parse_request(std::string(bytes, 0, cut), cut_progress, request);
    if (result.state == ParseState::incomplete) {
      result = parse_request(bytes, cut_progress, request);
    }
    expect_same(result, "cut at " + std::to_string(cut));
  }
  return whole;
}

void expect_rejected(const std::string& bytes, Rejection rejection) {
  const ParseResult result = judged(bytes);
  EXPECT_EQ(result.state, ParseState::rejected) << bytes;
  EXPECT_EQ(static_cast<int>(result.rejection), static_cast<int>(rejection)) << bytes;
}
void expect_accepted(const std::string& bytes) {
  const ParseResult result = judged(bytes);
  EXPECT_EQ(result.state, ParseState::complete) << bytes;
  EXPECT_EQ(result.head_bytes, bytes.size()) << bytes;
}
// A good request with one more field line.
std::string with_field(const std::string& line) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + line + "\r\n\r\n";
}
std::string with_target(const std::string& target, const std::string& method = "GET") {
  return method + " " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

TEST(RequestParser, ReadsWhatCurlSends) {
  const Parsed request{"GET /dir/file.mp4?x=1 HTTP/1.1", "Host: 10.0.0.2:8080",
                       "User-Agent: curl/7.88.1", "Accept: */*", "Range: bytes=0-99"};
  EXPECT_EQ(request->method, Method::get);
  EXPECT_EQ(request->form, TargetForm::origin);
  EXPECT_EQ(request->target, "/dir/file.mp4?x=1");
  EXPECT_EQ(request->path, "/dir/file.mp4");
  EXPECT_EQ(request->query, "x=1");
  EXPECT_EQ(request->host, "10.0.0.2:8080");
  EXPECT_EQ(request->minor_version, 1);
  EXPECT_EQ(request->body, BodyFraming::none);
  EXPECT_EQ(request->range.first, "bytes=0-99");
  EXPECT_EQ(request->range.lines, 1);
  EXPECT_FALSE(request->if_range.is_present());
  EXPECT_TRUE(request->keep_alive);
}

TEST(RequestParser, TakesOneRequestOfAPipeline) {
  const std::string one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
  const ParseResult result = judged(one + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(result.state, ParseState::complete);
  EXPECT_EQ(result.head_bytes, one.size());
}

TEST(RequestParser, WaitsForTheEndOfTheHead) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  for (size_t size = 0; size < head.size(); ++size) {
    EXPECT_EQ(parsed(head.substr(0, size)).state, ParseState::incomplete) << size;
  }
}

TEST(RequestParser, ARequestAfterMovingIsReadWhereItIsNow) {
  ParseProgress progress;
  Request request;
  std::string first = "GET /a HTTP/1.1\r\nHost: one\r\nRange: bytes=0-1\r\n";
  EXPECT_EQ(parse_request(first, progress, request).state, ParseState::incomplete);
  const std::string moved = first + "\r\n";
  first.assign(first.size(), '!');
  ASSERT_EQ(parse_request(moved, progress, request).state, ParseState::complete);
  EXPECT_EQ(request.host, "one");
  EXPECT_EQ(request.range.first, "bytes=0-1");
  EXPECT_EQ(request.range.lines, 1);
  EXPECT_GE(request.host.data(), moved.data());
  EXPECT_LT(request.host.data(), moved.data() + moved.size());
}

TEST(RequestParser, KnowsMethodsByTheirExactName) {
  const std::pair<const char*, Method> cases[] = {
      {"GET", Method::get},          {"HEAD", Method::head},       {"OPTIONS", Method::options},
      {"POST", Method::post},        {"PUT", Method::put},         {"DELETE", Method::delete_},
      {"TRACE", Method::trace},      {"PATCH", Method::patch},     {"get", Method::unknown},
      {"PROPFIND", Method::unknown}, {"M-SEARCH", Method::unknown}};
  for (const auto& [name, method] : cases) {
    const Parsed request(with_target("/", name));
    EXPECT_EQ(request->method, method) << name;
    EXPECT_EQ(request->method_text, name);
  }
}

TEST(RequestParser, RefusesBadMethods) {
  for (const std::string start :
       {" GET / HTTP/1.1", "G@T / HTTP/1.1", "GET\t/ HTTP/1.1", "\x16\x03\x01", "<html>", "\x80",
        "{\"a\":1}", "GET", "\r\n\r\nGET / HTTP/1.1", "\nGET / HTTP/1.1", " ", "\r\n "}) {
    expect_rejected(start + "\r\n", Rejection::method_malformed);
  }
}

TEST(RequestParser, RefusesGarbageBeforeItsLineEnds) {
  EXPECT_EQ(parsed("\x16").rejection, Rejection::method_malformed);
  EXPECT_EQ(parsed("GE(").rejection, Rejection::method_malformed);
  EXPECT_EQ(parsed("GET /\x01").rejection, Rejection::line_malformed);
}

TEST(RequestParser, RefusesEndlessMethods) {
  expect_accepted(with_target("/", std::string(method_max_bytes, 'M')));
  expect_rejected(with_target("/", std::string(method_max_bytes + 1, 'M')),
                  Rejection::method_too_long);
  EXPECT_EQ(parsed(std::string(method_max_bytes + 1, 'M')).rejection, Rejection::method_too_long);
}

TEST(RequestParser, OneEmptyLineInFrontIsPassedOver) {
  expect_accepted("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_rejected("\r\n\r\n", Rejection::method_malformed);
  expect_rejected("\rGET / HTTP/1.1\r\n", Rejection::line_malformed);
}

TEST(RequestParser, TheRequestLineIsThreeWords) {
  for (const std::string line : {"GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
                                 "GET / HTTP/1.1 ", "GET / x HTTP/1.1", "GET ", "GET  "}) {
    expect_rejected(line + "\r\nHost: a\r\n\r\n", Rejection::request_line_malformed);
  }
}

TEST(RequestParser, VersionsOfOneAreRead) {
  EXPECT_EQ((Parsed{"GET / HTTP/1.1", "Host: a"})->minor_version, 1);
  EXPECT_EQ((Parsed{"GET / HTTP/1.0"})->minor_version, 0);
  EXPECT_EQ((Parsed{"GET / HTTP/1.2", "Host: a"})->minor_version, 1);
  EXPECT_EQ((Parsed{"GET / HTTP/1.9", "Host: a"})->minor_version, 1);
}

TEST(RequestParser, OtherMajorVersionsAreNotSupported) {
  for (const std::string version : {"HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"}) {
    expect_rejected("GET / " + version + "\r\n\r\n", Rejection::version_unsupported);
  }
  // The preface of HTTP/2 (RFC 9113 section 3.4).
  expect_rejected("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Rejection::version_unsupported);
}

TEST(RequestParser, RefusesBadVersions) {
  for (const std::string version :
       {"HTTP/1", "HTTP/1.", "HTTP/1.10", "HTTP/11", "http/1.1", "HTTP/1,1", "HTTP/a.b",
        "HTTP/ 1.1", "HTPP/1.1", "HTTP/01.1", "HTTP/1.1\t", "HTTP/-1.1", "ICE/1.0", "1.1"}) {
    const ParseResult result = judged("GET / " + version + "\r\n\r\n");
    EXPECT_EQ(result.state, ParseState::rejected) << version;
    EXPECT_EQ(status_of(result.rejection), Status::bad_request) << version;
  }
}

TEST(RequestParser, TakesOriginForm) {
  for (const std::string target :
       {"/", "//", "/a/b/c", "/a;b=c,d", "/%20%zz", "/~a/-._!$&'()*+,;=:@", "/?", "/?a=b&c?/",
        "/[1].mp4", "/a|b^c{d}`", "/a?\\", "/.../", "/../.."}) {
    expect_accepted(with_target(target));
  }
  EXPECT_EQ(Parsed(with_target("/?"))->query, "");
  EXPECT_EQ(Parsed(with_target("/a?b?c"))->query, "b?c");
}

TEST(RequestParser, RefusesBytesThatNoUriHas) {
  for (const std::string target :
       {"/a#b", "/#", "/a\"b", "/<a>", "/a\\b", "/\xc3\xa4", "/a\xff", "/a\tb", "/?a#b", "/?a\"b",
        "/?\xc3\xa4", "a", "a/b", "?a", "%2F", "\\", "#"}) {
    expect_rejected(with_target(target), Rejection::target_malformed);
  }
}

TEST(RequestParser, TakesAbsoluteForm) {
  const Parsed request{"GET http://example.org:8080/a?b HTTP/1.1", "Host: other"};
  EXPECT_EQ(request->form, TargetForm::absolute);
  EXPECT_EQ(request->path, "/a");
  EXPECT_EQ(request->query, "b");
  // RFC 9112 section 3.2.2: the Host field is ignored, but must be there.
  EXPECT_EQ(request->host, "example.org:8080");
  EXPECT_EQ(Parsed(with_target("HTTP://a"))->path, "/");
  EXPECT_EQ(Parsed(with_target("http://a?b"))->path, "/");
  EXPECT_EQ(Parsed(with_target("http://a?b"))->query, "b");
  EXPECT_EQ(Parsed(with_target("http://[::1]:80//x"))->path, "//x");
  expect_rejected("GET http://a/ HTTP/1.1\r\n\r\n", Rejection::host_missing);
}

TEST(RequestParser, RefusesBadAbsoluteForms) {
  for (const std::string target : {"http:",        "http:/",          "http:/a",
                                   "http://",      "http:///a",       "http://?a",
                                   "http://:80/",  "http://u@a/",     "http://u:p@a/",
                                   "http://a:b/",  "http://a:70000/", "http://[::1/",
                                   "http://a\\b/", "http://a#b",      "http://a/#",
                                   "http://a/\"",  "1ttp://a/",       ":",
                                   "://a",         "ht_p://a/",       "https://a/\"",
                                   "-a:b"}) {
    expect_rejected(with_target(target), Rejection::target_malformed);
  }
}

TEST(RequestParser, OtherSchemesAreForSomebodyElse) {
  for (const std::string target : {"https://a/", "ftp://a/b", "mailto:a@b", "coap+tcp://x", "a:"}) {
    expect_rejected(with_target(target), Rejection::target_misdirected);
  }
}

TEST(RequestParser, AsteriskIsForOptions) {
  EXPECT_EQ(Parsed(with_target("*", "OPTIONS"))->form, TargetForm::asterisk);
  EXPECT_EQ(Parsed(with_target("*", "OPTIONS"))->host, "a");
  expect_rejected(with_target("*"), Rejection::target_malformed);
  expect_rejected(with_target("*", "HEAD"), Rejection::target_malformed);
  expect_rejected(with_target("*a", "OPTIONS"), Rejection::target_malformed);
}

TEST(RequestParser, AuthorityFormIsForConnect) {
  const Parsed request(with_target("a:443", "CONNECT"));
  EXPECT_EQ(request->form, TargetForm::authority);
  EXPECT_EQ(request->host, "a:443");
  for (const std::string target : {"a", "a:", "/", "*", "http://a/", "u@a:1", "a:1/", ":443"}) {
    expect_rejected(with_target(target, "CONNECT"), Rejection::target_malformed);
  }
  expect_rejected(with_target("a/b:443", "GET"), Rejection::target_malformed);
}

TEST(RequestParser, Http11NeedsOneHost) {
  expect_rejected("GET / HTTP/1.1\r\n\r\n", Rejection::host_missing);
  expect_rejected("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", Rejection::host_missing);
  expect_rejected(with_field("Host: a"), Rejection::host_malformed);
  expect_rejected(with_field("hOSt: b"), Rejection::host_malformed);
  expect_accepted("GET / HTTP/1.0\r\n\r\n");
  expect_rejected("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Rejection::host_malformed);
  expect_accepted("GET / HTTP/1.1\r\nHost:\r\n\r\n");
}

TEST(RequestParser, RefusesBadHosts) {
  for (const std::string host : {"a b", "a,b/", "a/b", "u@a", "a:b", "a:99999", "[::1", "a?", "a#b",
                                 "http://a", "a\tb", "\xc3\xa4", "a:80, b:80", ":80"}) {
    expect_rejected("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", Rejection::host_malformed);
    expect_rejected("GET / HTTP/1.0\r\nHost: " + host + "\r\n\r\n", Rejection::host_malformed);
  }
}

TEST(RequestParser, FieldValuesAreTrimmed) {
  EXPECT_EQ((Parsed{"GET / HTTP/1.1", "Host:\t a \t"})->host, "a");
  EXPECT_EQ((Parsed{"GET / HTTP/1.1", "Host:a"})->host, "a");
  expect_accepted(with_field("X: a\tb \xff\x80"));
  expect_accepted(with_field("X:"));
  expect_accepted(with_field("!#$%&'*+-.^_`|~09azAZ: :"));
}

TEST(RequestParser, RefusesBadFieldLines) {
  for (const std::string line : {"X", ":", ": a", "X : a", "X\t: a", " X: a", "\tX: a", "X a",
                                 "X(: a", "\xc3: a", "X\x80: a", "\"X\": a", "Host a:b"}) {
    expect_rejected(with_field(line), Rejection::field_malformed);
  }
  // A folded line (RFC 9112 section 5.2).
  expect_rejected(with_field("X: a\r\n b"), Rejection::field_malformed);
  // The first line behind the request line with a space in front (section 2.2).
  expect_rejected("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Rejection::field_malformed);
}

TEST(RequestParser, RefusesControlBytesAndLooseLineEnds) {
  for (const std::string& line :
       {std::string("X: a\0b", 6), std::string("X: \x01"), std::string("X: \x7f"),
        std::string("X: a\rb"), std::string("X: a\nY: b"), std::string("X: a\r\r\nY: b"),
        std::string("X\v: a"), std::string("X: \x1b[0m")}) {
    expect_rejected(with_field(line), Rejection::line_malformed);
  }
  expect_rejected("GET / HTTP/1.1\nHost: a\n\n", Rejection::line_malformed);
  expect_rejected("GET / HTTP/1.1\r\nHost: a\r\n\n", Rejection::line_malformed);
  expect_rejected("GET / HTTP/1.1\r\nHost: a\r\n\rx", Rejection::line_malformed);
  expect_rejected("GET /\r HTTP/1.1\r\n", Rejection::line_malformed);
}

TEST(RequestParser, ContentLengthIsOneNumber) {
  EXPECT_EQ(Parsed(with_field("Content-Length: 42"))->content_length, 42U);
  EXPECT_EQ(Parsed(with_field("Content-Length: 42"))->body, BodyFraming::content_length);
  EXPECT_EQ(Parsed(with_field("Content-Length: 0042"))->content_length, 42U);
  EXPECT_EQ(Parsed(with_field("content-length:0"))->content_length, 0U);
  EXPECT_EQ(Parsed(with_field("Content-Length: 18446744073709551614"))->content_length,
            ~uint64_t{0} - 1);
  EXPECT_EQ(Parsed(with_field("Content-Length: 18446744073709551616"))->content_length,
            ~uint64_t{0});
  EXPECT_EQ(Parsed(with_field("Content-Length: " + std::string(100, '9')))->content_length,
            ~uint64_t{0});
  for (const std::string value :
       {"", "a", "-1", "+1", "1a", "1 1", "1,1", "1, 1", "1.0", "0x1", "1;", "\"1\"", ",1"}) {
    expect_rejected(with_field("Content-Length: " + value), Rejection::length_malformed);
  }
  expect_rejected(with_field("Content-Length: 1\r\nContent-Length: 1"),
                  Rejection::length_malformed);
  expect_rejected(with_field("Content-Length: 1\r\ncontent-LENGTH: 2"),
                  Rejection::length_malformed);
}

TEST(RequestParser, TransferEncodingIsChunked) {
  EXPECT_EQ(Parsed(with_field("Transfer-Encoding: chunked"))->body, BodyFraming::chunked);
  EXPECT_EQ(Parsed(with_field("transfer-encoding:\tChUnKeD "))->body, BodyFraming::chunked);
  for (const std::string value :
       {"", "identity", "chunked, identity", "gzip", "chunked, chunked", "chunked, gzip", ",",
        "chunked,", ",chunked", "chunked;", "chunked;q=1", "chunked, gzip, chunked", "xchunked",
        "chunkedx", "chunked chunked", "\"chunked\"", "chunked;a=\"b,chunked\""}) {
    expect_rejected(with_field("Transfer-Encoding: " + value), Rejection::coding_malformed);
  }
  expect_rejected(with_field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
                  Rejection::coding_malformed);
  expect_rejected(with_field("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
                  Rejection::coding_malformed);
}

TEST(RequestParser, OtherCodingsBeforeChunkedAreNotImplemented) {
  expect_rejected(with_field("Transfer-Encoding: gzip, chunked"), Rejection::coding_unknown);
  expect_rejected(with_field("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
                  Rejection::coding_unknown);
  expect_rejected(with_field("Transfer-Encoding: x;a=b, chunked"), Rejection::coding_unknown);
}

TEST(RequestParser, TwoFramingsAreRefused) {
  expect_rejected(with_field("Transfer-Encoding: chunked\r\nContent-Length: 5"),
                  Rejection::framing_ambiguous);
  expect_rejected(with_field("Content-Length: 0\r\nTransfer-Encoding: chunked"),
                  Rejection::framing_ambiguous);
  expect_rejected(with_field("Content-Length: 5\r\nTransfer-Encoding: identity"),
                  Rejection::framing_ambiguous);
}

TEST(RequestParser, Http10HasNoTransferEncoding) {
  // RFC 9112 section 6.1.
  expect_rejected("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                  Rejection::coding_malformed);
}

bool keeps_alive(const std::string& version, const std::string& fields) {
  return Parsed("GET / " + version + "\r\nHost: a\r\n" + fields + "\r\n")->keep_alive;
}

// RFC 9112 section 9.3.
TEST(RequestParser, PersistenceFollowsVersionAndConnection) {
  EXPECT_TRUE(keeps_alive("HTTP/1.1", ""));
  EXPECT_TRUE(keeps_alive("HTTP/1.1", "Connection: keep-alive\r\n"));
  EXPECT_TRUE(keeps_alive("HTTP/1.1", "Connection: upgrade\r\n"));
  EXPECT_TRUE(keeps_alive("HTTP/1.1", "Connection: closed, xclose\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "Connection: keep-alive,CLOSE\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "Connection: a , close , b\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.0", ""));
  EXPECT_TRUE(keeps_alive("HTTP/1.0", "Connection: Keep-Alive\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.0", "Connection: keep-alive, close\r\n"));
}

// RFC 9110 section 10.1.1.
TEST(RequestParser, ExpectationsAreRead) {
  EXPECT_TRUE(Parsed(with_field("Expect: 100-CONTINUE"))->expects_continue);
  EXPECT_FALSE(Parsed(with_field("Expect: 100-continue"))->expects_unknown);
  EXPECT_TRUE(Parsed(with_field("Expect: 100"))->expects_unknown);
  EXPECT_TRUE(Parsed(with_field("Expect: 100-continue, a=\"b\""))->expects_unknown);
  EXPECT_FALSE(Parsed(with_field("Expect:"))->expects_unknown);
  const Parsed old{"GET / HTTP/1.0", "Expect: 100-continue", "Expect: x"};
  EXPECT_FALSE(old->expects_continue);
  EXPECT_FALSE(old->expects_unknown);
}

TEST(RequestParser, FieldsOfTheSameLengthAreNotMixedUp) {
  const Parsed request(
      with_field("Hose: b\r\nRangf: x\r\nExpecu: x\r\nIf-Matcx: x\r\n"
                 "Connectiom: close\r\nIf-None-Matcg: x\r\nContent-Lengtx: x\r\n"
                 "Transfer_Encoding: x\r\nIf-Modified_Since: x\r\n"
                 "If-Unmodified.Since: x"));
  EXPECT_EQ(request->host, "a");
  EXPECT_TRUE(request->keep_alive);
  EXPECT_FALSE(request->expects_unknown || request->range.is_present());
  EXPECT_FALSE(request->if_match.is_present() || request->if_none_match.is_present());
  EXPECT_FALSE(request->if_modified_since.is_present() ||
               request->if_unmodified_since.is_present());
  EXPECT_EQ(request->body, BodyFraming::none);
}

TEST(RequestParser, RepeatedFieldsAreCounted) {
  const Parsed request(
      with_field("Range: bytes=0-1\r\nrange: bytes=2-3\r\nIf-None-Match: \"a\"\r\n"
                 "X: y\r\nIf-None-Match: \"b\""));
  EXPECT_EQ(request->range.lines, 2);
  EXPECT_EQ(request->range.first, "bytes=0-1");
  EXPECT_EQ(request->if_none_match.lines, 2);
  EXPECT_EQ(request->fields,
            "Host: a\r\nRange: bytes=0-1\r\nrange: bytes=2-3\r\nIf-None-Match: \"a\"\r\nX: y\r\n"
            "If-None-Match: \"b\"\r\n");
}

TEST(RequestParser, LongRequestLinesAreRefused) {
  const size_t rest = std::string("GET  HTTP/1.1").size();
  const std::string longest = "/" + std::string(request_line_max_bytes - rest - 1, 'a');
  expect_accepted(with_target(longest));
  expect_rejected(with_target(longest + "a"), Rejection::request_line_too_long);
  EXPECT_EQ(parsed("GET /" + std::string(request_line_max_bytes - 5, 'a')).state,
            ParseState::incomplete);
  EXPECT_EQ(parsed("GET /" + std::string(request_line_max_bytes - 4, 'a')).rejection,
            Rejection::request_line_too_long);
}

TEST(RequestParser, LongHeadsAreRefused) {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const std::string longest(head_max_bytes - start.size() - 4, 'x');
  expect_accepted(start + longest + "\r\n\r\n");
  expect_rejected(start + longest + "x\r\n\r\n", Rejection::head_too_large);
  EXPECT_EQ(parsed(start + longest + "xxx").state, ParseState::incomplete);
  EXPECT_EQ(parsed(start + longest + "xxxx").rejection, Rejection::head_too_large);
  // Fields in any number, as long as they fit.
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  while (many.size() + 6 <= head_max_bytes) many += "a:\r\n";
  EXPECT_EQ(parsed(many + "\r\n").state, ParseState::complete);
}

TEST(RequestParser, TheFirstFaultIsTheOneThatCounts) {
  expect_rejected("GET / HTTP/2.0\r\nX\x01\r\n\r\n", Rejection::version_unsupported);
  expect_rejected("GET /\x01 HTTP/2.0\r\n\r\n", Rejection::line_malformed);
  expect_rejected("GET / HTTP/1.1\r\nX\r\nY\x01\r\n\r\n", Rejection::field_malformed);
}

TEST(RequestParser, RejectionsOfHeadAreKnownAsSuch) {
  EXPECT_TRUE(judged("HEAD / HTTP/1.1\r\n\r\n").is_head);
  EXPECT_TRUE(judged("HEAD / HTTP/3.0\r\n\r\n").is_head);
  EXPECT_TRUE(judged("HEAD /" + std::string(request_line_max_bytes, 'a')).is_head);
  EXPECT_TRUE(judged("HEAD / HTTP/1.1\r\nX\r\n\r\n").is_head);
  EXPECT_FALSE(judged("GET / HTTP/1.1\r\n\r\n").is_head);
}

TEST(RequestParser, EachRejectionHasItsStatus) {
  EXPECT_EQ(status_of(Rejection::method_too_long), Status::not_implemented);
  EXPECT_EQ(status_of(Rejection::request_line_too_long), Status::uri_too_long);
  EXPECT_EQ(status_of(Rejection::target_misdirected), Status::misdirected_request);
  EXPECT_EQ(status_of(Rejection::version_unsupported), Status::version_not_supported);
  EXPECT_EQ(status_of(Rejection::head_too_large), Status::header_fields_too_large);
  EXPECT_EQ(status_of(Rejection::coding_unknown), Status::not_implemented);
  EXPECT_EQ(status_of(Rejection::framing_ambiguous), Status::bad_request);
  EXPECT_EQ(counter_of(Rejection::framing_ambiguous),
            stats::Counter::http_reject_framing_ambiguous);
  EXPECT_EQ(counter_of(Rejection::method_malformed), stats::Counter::http_reject_method_malformed);
}

// TCP could not keep what was read, and the client sends less of it again.
TEST(RequestParser, ProgressOfMoreBytesThanThereAreIsForgotten) {
  ParseProgress progress;
  Request request;
  EXPECT_EQ(parse_request("GET / HTTP/1.1\r\nA: b", progress, request).state,
            ParseState::incomplete);
  EXPECT_EQ(parse_request("G", progress, request).state, ParseState::incomplete);
  EXPECT_EQ(parse_request("GET / HTTP/1.1\r\nHost: s\r\n\r\n", progress, request).state,
            ParseState::complete);
}

}  // namespace
}  // namespace sluice::http
