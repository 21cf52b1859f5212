#include "http/http_date.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::http {
namespace {

constexpr int64_t rfc_example = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr int64_t now = 1'795'250'000;        // November 2026

std::string formatted(int64_t unix_s) {
  std::array<char, http_date_bytes> text;
  format_http_date(unix_s, text);
  return {text.data(), text.size()};
}

TEST(HttpDate, FormatsTheExampleOfTheRfc) {
  EXPECT_EQ(formatted(rfc_example), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(HttpDate, FormatsTheEdges) {
  EXPECT_EQ(formatted(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(formatted(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(formatted(951'782'400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(formatted(4'107'542'400), "Mon, 01 Mar 2100 00:00:00 GMT");
  EXPECT_EQ(formatted(253'402'300'799), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(formatted(std::numeric_limits<int64_t>::max()), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(formatted(std::numeric_limits<int64_t>::min()), "Mon, 01 Jan 0001 00:00:00 GMT");
}

TEST(HttpDate, ReadsAllThreeFormats) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now), rfc_example);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now), rfc_example);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994", now), rfc_example);
  EXPECT_EQ(parse_http_date("Wed Nov 16 08:49:37 1994", now), rfc_example + 10 * 86'400);
}

TEST(HttpDate, ReadsBackEveryDayOfFourCenturies) {
  for (int64_t day = -146'097; day < 146'097; ++day) {
    const int64_t second = day * 86'400 + 43'210;
    ASSERT_EQ(parse_http_date(formatted(second), now), second) << formatted(second);
  }
}

TEST(HttpDate, TwoDigitYearsReachFiftyYearsAhead) {
  // RFC 9110 section 5.6.7; now is 21 November 2026 or so.
  EXPECT_EQ(parse_http_date("Sunday, 01-Nov-76 00:00:00 GMT", now), 3'371'414'400);  // 2076
  EXPECT_EQ(parse_http_date("Friday, 31-Dec-76 00:00:00 GMT", now), 220'838'400);    // 1976
  EXPECT_EQ(parse_http_date("Saturday, 01-Jan-77 00:00:00 GMT", now), 220'924'800);  // 1977
  EXPECT_EQ(parse_http_date("Saturday, 01-Jan-00 00:00:00 GMT", now), 946'684'800);  // 2000
  EXPECT_EQ(parse_http_date("Tuesday, 29-Feb-00 00:00:00 GMT", now), 951'782'400);   // 2000
  EXPECT_EQ(parse_http_date("Monday, 29-Feb-99 00:00:00 GMT", now), std::nullopt);   // 1999
}

TEST(HttpDate, TakesALeapSecond) {
  EXPECT_EQ(parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT", now), 1'483'228'800);
}

TEST(HttpDate, RefusesWhatIsNotExactlyADate) {
  for (const std::string_view text : {
           "",
           "0",
           "Sun, 06 Nov 1994 08:49:37",
           "Sun, 06 Nov 1994 08:49:37 GMT ",
           " Sun, 06 Nov 1994 08:49:37 GMT",
           "Sun, 06 Nov 1994 08:49:37 UTC",
           "Sun, 06 Nov 1994 08:49:37 gmt",
           "sun, 06 Nov 1994 08:49:37 GMT",
           "Sum, 06 Nov 1994 08:49:37 GMT",
           "Sun, 06 nov 1994 08:49:37 GMT",
           "Sun, 6 Nov 1994 08:49:37 GMT",
           "Sun, 00 Nov 1994 08:49:37 GMT",
           "Sun, 31 Nov 1994 08:49:37 GMT",
           "Sun, 29 Feb 1900 08:49:37 GMT",
           "Sun, 06 Nov 1994 24:49:37 GMT",
           "Sun, 06 Nov 1994 08:60:37 GMT",
           "Sun, 06 Nov 1994 08:49:61 GMT",
           "Sun, 06 Nov 1994 08-49-37 GMT",
           "Sun, +6 Nov 1994 08:49:37 GMT",
           "Sun, 06 Nov -994 08:49:37 GMT",
           "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
           "Sun, 06-Nov-94 08:49:37 GMT",
           "Sunday, 06 Nov 94 08:49:37 GMT",
           "Sunday, 06-Nov-1994 08:49:37 GMT",
           "Sunday, 06-Nov-xx 08:49:37 GMT",
           "Sunday,",
           ",",
           "Sun Nov 6 08:49:37 1994",
           "Sun Nov  6 08:49:37 94  ",
           "Sun Nov 06 08:49:37 1994 GMT",
           "Sun Nov  x 08:49:37 1994",
       }) {
    EXPECT_EQ(parse_http_date(text, now), std::nullopt) << text;
  }
}

TEST(DateCache, FormatsAgainOnlyForANewSecond) {
  DateCache date(rfc_example);
  EXPECT_EQ(date.text(), "Sun, 06 Nov 1994 08:49:37 GMT");
  date.set(rfc_example + 1);
  EXPECT_EQ(date.text(), "Sun, 06 Nov 1994 08:49:38 GMT");
  EXPECT_EQ(date.unix_s(), rfc_example + 1);
}

}  // namespace
}  // namespace sluice::http
