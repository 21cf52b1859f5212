#include "http/body_drain.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::http {
namespace {

constexpr uint64_t limit = 10'000;

struct Drained {
  DrainState state;
  size_t bytes;
};

Request chunked() {
  Request request;
  request.body = BodyFraming::chunked;
  return request;
}
Request counted(uint64_t length) {
  Request request;
  request.body = BodyFraming::content_length;
  request.content_length = length;
  return request;
}

// Whole, then cut into pieces of every length: the answer must be the same.
Drained drained(const Request& request, std::string_view bytes, uint64_t limit_bytes = limit) {
  BodyDrain whole(request, limit_bytes);
  const Drained expected{.state = DrainState::more, .bytes = whole.drain(bytes)};
  for (size_t step = 1; step <= bytes.size() && step < 40; ++step) {
    BodyDrain drain(request, limit_bytes);
    size_t at = 0;
    while (at < bytes.size() && drain.state() == DrainState::more) {
      const std::string_view piece = bytes.substr(at, step);
      const size_t taken = drain.drain(piece);
      if (drain.state() == DrainState::more) {
        EXPECT_EQ(taken, piece.size());
      }
      at += taken;
    }
    EXPECT_EQ(at, expected.bytes) << bytes << " by " << step;
    EXPECT_EQ(drain.state(), whole.state()) << bytes << " by " << step;
  }
  return {whole.state(), expected.bytes};
}

void expect_done(std::string_view body) {
  const std::string next = "GET / HTTP/1.1\r\n";
  const Drained result = drained(chunked(), std::string(body) + next);
  EXPECT_EQ(result.state, DrainState::done) << body;
  EXPECT_EQ(result.bytes, body.size()) << body;
}
void expect_failed(std::string_view body) {
  EXPECT_EQ(drained(chunked(), body).state, DrainState::failed) << body;
}
void expect_more(std::string_view body) {
  EXPECT_EQ(drained(chunked(), body).state, DrainState::more) << body;
}

TEST(BodyDrain, NoContentIsDoneAtOnce) {
  EXPECT_EQ(BodyDrain().state(), DrainState::done);
  EXPECT_EQ(BodyDrain(Request{}, limit).state(), DrainState::done);
  EXPECT_EQ(BodyDrain(counted(0), limit).state(), DrainState::done);
  BodyDrain drain;
  EXPECT_EQ(drain.drain("GET"), 0U);
}

TEST(BodyDrain, ContentLengthIsReadExactly) {
  const Drained result = drained(counted(5), "12345GET / HTTP/1.1\r\n");
  EXPECT_EQ(result.state, DrainState::done);
  EXPECT_EQ(result.bytes, 5U);
  EXPECT_EQ(drained(counted(5), "1234").state, DrainState::more);
}

TEST(BodyDrain, ContentLengthBeyondTheLimitFailsAtOnce) {
  EXPECT_EQ(BodyDrain(counted(limit + 1), limit).state(), DrainState::failed);
  EXPECT_EQ(BodyDrain(counted(~uint64_t{0}), limit).state(), DrainState::failed);
  EXPECT_EQ(drained(counted(limit), std::string(limit, 'x')).state, DrainState::done);
}

TEST(BodyDrain, ReadsChunksToTheirEnd) {
  expect_done("0\r\n\r\n");
  expect_done("000\r\n\r\n");
  expect_done("5\r\nhello\r\n0\r\n\r\n");
  expect_done("5\r\nhello\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
  expect_done("05\r\n\r\n0\r\n\r\n0\r\n\r\n");
}

TEST(BodyDrain, ReadsPastExtensionsAndTrailers) {
  expect_done("5;name=value\r\nhello\r\n0;last\r\n\r\n");
  expect_done("5 ; name=\"a;b\"\r\nhello\r\n0\r\n\r\n");
  expect_done("0\r\nTrailer: x\r\nOther:\ty\r\nEmpty:\r\n\r\n");
}

TEST(BodyDrain, WaitsForTheRest) {
  for (const std::string_view body :
       {"", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n",
        "5\r\nhello\r\n0", "0\r\n", "0\r\n\r", "0\r\nTrailer", "0\r\nTrailer: x\r\n",
        "0\r\nTrailer: x\r\n\r"}) {
    expect_more(body);
  }
}

TEST(BodyDrain, RefusesBadSizes) {
  for (const std::string_view body :
       {"\r\n", "g\r\n", "-1\r\n", "+5\r\n", " 5\r\n", "0x5\r\n", "5 \r\n", "5\t\r\n", "5x\r\n",
        "5,\r\n", ";a\r\n", "5\n", "5;a\n", "5\r5", "5;a\rb", "5;a\x01\r\n", "ffffffffffffffff\r\n",
        "10000000000000005\r\n", "2711\r\n"}) {
    expect_failed(body);
  }
  expect_failed("5;\0\r\n" + std::string(1, '\0'));
}

TEST(BodyDrain, SizesDoNotOverflowWhateverTheLimit) {
  constexpr uint64_t no_limit = ~uint64_t{0};
  EXPECT_EQ(drained(chunked(), "fffffffffffffff\r\nx", no_limit).state, DrainState::more);
  EXPECT_EQ(drained(chunked(), "10000000000000000\r\nx", no_limit).state, DrainState::failed);
  EXPECT_EQ(drained(chunked(), "00000000000000000001\r\nx", no_limit).state, DrainState::more);
}

TEST(BodyDrain, RefusesDataWithoutItsLineEnd) {
  expect_failed("5\r\nhello0\r\n\r\n");
  expect_failed("5\r\nhello\n0\r\n\r\n");
  expect_failed("5\r\nhello\r\r\n");
  expect_failed("4\r\nhello\r\n0\r\n\r\n");
}

TEST(BodyDrain, RefusesBadTrailers) {
  for (const std::string_view body :
       {"0\r\n\n", "0\r\nname\r\n\r\n", "0\r\n: x\r\n\r\n", "0\r\nname : x\r\n\r\n",
        "0\r\na: b\r\n folded\r\n\r\n", "0\r\na: b\n\r\n", "0\r\na: b\x7f\r\n\r\n",
        "0\r\na: b\rc\r\n\r\n", "0\r\n\rX"}) {
    expect_failed(body);
  }
}

TEST(BodyDrain, BoundsChunkLines) {
  const std::string longest(chunk_line_max_bytes - 4, 'x');  // with "5;", CR and LF
  expect_done("5;" + longest + "\r\nhello\r\n0\r\n\r\n");
  expect_failed("5;" + longest + "x\r\nhello\r\n0\r\n\r\n");
  expect_failed(std::string(chunk_line_max_bytes + 1, '0'));
}

TEST(BodyDrain, BoundsTrailers) {
  std::string trailers;
  while (trailers.size() <= trailers_max_bytes) trailers += "Name: value\r\n";
  expect_failed("0\r\n" + trailers + "\r\n");
}

TEST(BodyDrain, BoundsEverythingTogether) {
  std::string body;
  while (body.size() <= limit) body += "1;extension=to-make-it-long\r\nx\r\n";
  EXPECT_EQ(drained(chunked(), body).state, DrainState::failed);
  EXPECT_LE(drained(chunked(), body).bytes, limit);
  // Exactly the limit is not too much.
  EXPECT_EQ(drained(chunked(), "5\r\nhello\r\n0\r\n\r\n", 15).state, DrainState::done);
  EXPECT_EQ(drained(chunked(), "5\r\nhello\r\n0\r\n\r\n", 14).state, DrainState::failed);
}

}  // namespace
}  // namespace sluice::http
