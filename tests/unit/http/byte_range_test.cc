#include "http/byte_range.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace sluice::http {
namespace {

constexpr uint64_t huge = std::numeric_limits<uint64_t>::max();

void expect_range(std::string_view value, uint64_t size, const ByteRange& expected) {
  const RangeResult result = parse_range(value, size);
  EXPECT_EQ(result.outcome, RangeOutcome::satisfiable) << value;
  EXPECT_EQ(result.range.offset_bytes, expected.offset_bytes) << value;
  EXPECT_EQ(result.range.length_bytes, expected.length_bytes) << value;
}

TEST(ByteRange, TakesClosedOpenAndSuffixRanges) {
  expect_range("bytes=0-499", 10'000, {0, 500});
  expect_range("bytes=500-999", 10'000, {500, 500});
  expect_range("bytes=0-0", 10'000, {0, 1});
  expect_range("bytes=9999-9999", 10'000, {9999, 1});
  expect_range("bytes=9500-", 10'000, {9500, 500});
  expect_range("bytes=-500", 10'000, {9500, 500});
  expect_range("bytes=-1", 10'000, {9999, 1});
}

TEST(ByteRange, IsCutToTheRepresentation) {
  expect_range("bytes=9500-20000", 10'000, {9500, 500});
  expect_range("bytes=-20000", 10'000, {0, 10'000});
  expect_range("bytes=0-", 1, {0, 1});
  expect_range("bytes=4294967296-8589934591", 10'000'000'000, {4'294'967'296, 4'294'967'296});
}

TEST(ByteRange, NumbersOfAnyLengthDoNotOverflow) {
  const std::string nines(400, '9');
  expect_range("bytes=1-" + nines, 10, {1, 9});
  expect_range("bytes=-" + nines, 10, {0, 10});
  expect_range("bytes=0-18446744073709551615", 10, {0, 10});
  expect_range("bytes=0-18446744073709551616", 10, {0, 10});
  expect_range("bytes=18446744073709551613-18446744073709551615", huge, {huge - 2, 2});
  EXPECT_EQ(parse_range("bytes=" + nines + "-", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=" + nines + "-" + nines + "0", 10).outcome,
            RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=" + nines + "0-" + nines, 10).outcome, RangeOutcome::ignored);
  expect_range("bytes=000000000000000000000000000002-03", 10, {2, 2});
}

TEST(ByteRange, UnitsAreFoldedAndListsMayHaveSpaceAroundCommas) {
  expect_range("BYTES=1-2", 10, {1, 2});
  expect_range("bytes= 1-2 ", 10, {1, 2});
  expect_range("bytes=,1-2 ,\t,", 10, {1, 2});
}

TEST(ByteRange, BadSyntaxIsIgnored) {
  for (const std::string_view value : {"",
                                       "bytes",
                                       "bytes=",
                                       "bytes=,",
                                       "bytes=-",
                                       "bytes=1",
                                       "bytes=a-b",
                                       "bytes=1-2x",
                                       "bytes=x1-2",
                                       "bytes=1 -2",
                                       "bytes=1- 2",
                                       "bytes=- 5",
                                       "bytes =1-2",
                                       " bytes=1-2",
                                       "bytes:1-2",
                                       "byte=1-2",
                                       "seconds=1-2",
                                       "bytes=2-1",
                                       "bytes=1-2-3",
                                       "bytes=--5",
                                       "bytes=+1-2",
                                       "bytes=-+2",
                                       "bytes=0x1-2",
                                       "bytes=1-2;3-4",
                                       "bytes=1-2,5-4",
                                       "bytes=1-2,x",
                                       "bytes=1.0-2",
                                       "bytes==1-2"}) {
    EXPECT_EQ(parse_range(value, 10).outcome, RangeOutcome::ignored) << value;
  }
}

TEST(ByteRange, BeyondTheEndIsUnsatisfiable) {
  EXPECT_EQ(parse_range("bytes=10-", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=10-20", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-0", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=10-,-0,99-100", 10).outcome, RangeOutcome::unsatisfiable);
}

TEST(ByteRange, NothingOfAnEmptyRepresentationCanBeSelected) {
  EXPECT_EQ(parse_range("bytes=0-", 0).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=0-0", 0).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-0", 0).outcome, RangeOutcome::unsatisfiable);
  // RFC 9110 section 14.1.2 calls this one satisfiable: 200, without content.
  EXPECT_EQ(parse_range("bytes=-5", 0).outcome, RangeOutcome::ignored);
  EXPECT_EQ(parse_range("bytes=0-,-5", 0).outcome, RangeOutcome::ignored);
}

TEST(ByteRange, SeveralThatTouchOrOverlapAreOne) {
  expect_range("bytes=0-4,5-9", 100, {0, 10});
  expect_range("bytes=5-9,0-4", 100, {0, 10});
  expect_range("bytes=0-6,3-9,4-4", 100, {0, 10});
  expect_range("bytes=90-,-20", 100, {80, 20});
  expect_range("bytes=0-0,100-,200-300", 100, {0, 1});
  expect_range("bytes=0-99,5-6", 100, {0, 100});
}

TEST(ByteRange, SeveralWithAGapAreIgnored) {
  EXPECT_EQ(parse_range("bytes=0-4,6-9", 100).outcome, RangeOutcome::ignored);
  EXPECT_EQ(parse_range("bytes=0-0,-1", 100).outcome, RangeOutcome::ignored);
}

TEST(ByteRange, TooManyAreIgnored) {
  std::string value = "bytes=0-0";
  for (size_t i = 1; i < ranges_max; ++i) value += ",0-0";
  expect_range(value, 100, {0, 1});
  EXPECT_EQ(parse_range(value + ",0-0", 100).outcome, RangeOutcome::ignored);
  EXPECT_EQ(parse_range(value + ",500-", 100).outcome, RangeOutcome::ignored);
}

}  // namespace
}  // namespace sluice::http
