#include "http/http_date.h"

#include <algorithm>
#include <cstring>

#include "http/syntax.h"

namespace sluice::http {
namespace {

constexpr int64_t day_s = 86'400;
constexpr std::string_view day_names = "SunMonTueWedThuFriSat";
constexpr std::string_view month_names = "JanFebMarAprMayJunJulAugSepOctNovDec";
constexpr std::string_view long_day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                               "Thursday", "Friday", "Saturday"};
// Mon, 01 Jan 0001 00:00:00 and Fri, 31 Dec 9999 23:59:59
constexpr int64_t first_s = -62'135'596'800;
constexpr int64_t last_s = 253'402'300'799;

struct Civil {
  int64_t year = 1970;
  int64_t month = 1;  // 1 to 12
  int64_t day = 1;    // 1 to 31
};

// H. Hinnant, "chrono-compatible low-level date algorithms" (2013): days_from_civil. Years that
// start in March make the leap day the last one.
constexpr int64_t days_from(const Civil& date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t month = date.month + (date.month > 2 ? -3 : 9);
  const int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

constexpr Civil civil_from(int64_t days) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month = (5 * day_of_year + 2) / 153;
  const Civil date{.year = year_of_era + era * 400 + (month >= 10 ? 1 : 0),
                   .month = month + (month < 10 ? 3 : -9),
                   .day = day_of_year - (153 * month + 2) / 5 + 1};
  return date;
}

static_assert(days_from({1970, 1, 1}) == 0);
static_assert(days_from({2000, 3, 1}) == 11'017);
static_assert(civil_from(11'016).month == 2 && civil_from(11'016).day == 29);

constexpr bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr int64_t days_in(int64_t year, int64_t month) {
  constexpr std::array<int64_t, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[static_cast<size_t>(month - 1)];
}

void put_two(char* out, int64_t value) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

// The number that `text` consists of, or -1.
int64_t number(std::string_view text) {
  int64_t value = 0;
  for (const char c : text) {
    if (!is_in(c, character::digit)) return -1;
    value = value * 10 + (c - '0');
  }
  return text.empty() ? -1 : value;
}

// 1 to 12, or 0.
int64_t month_of(std::string_view name) {
  for (size_t i = 0; i < 12; ++i) {
    if (name == month_names.substr(i * 3, 3)) return static_cast<int64_t>(i) + 1;
  }
  return 0;
}

bool is_day_name(std::string_view name) {
  for (size_t i = 0; i < 7; ++i) {
    if (name == day_names.substr(i * 3, 3)) return true;
  }
  return false;
}

// 08:49:37. A leap second counts as the first second of the next minute.
std::optional<int64_t> parse_time_of_day(std::string_view text) {
  if (text.size() != 8 || text[2] != ':' || text[5] != ':') return std::nullopt;
  const int64_t hour = number(text.substr(0, 2));
  const int64_t minute = number(text.substr(3, 2));
  const int64_t second = number(text.substr(6, 2));
  const bool is_time =
      hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60;
  if (!is_time) return std::nullopt;
  return hour * 3600 + minute * 60 + second;
}

std::optional<int64_t> join(const Civil& date, std::string_view time_of_day) {
  const bool is_date = date.year >= 0 && date.month >= 1 && date.day >= 1 &&
                       date.day <= days_in(date.year, date.month);
  const std::optional<int64_t> time = parse_time_of_day(time_of_day);
  if (!is_date || !time) return std::nullopt;
  return days_from(date) * day_s + *time;
}

// Sun, 06 Nov 1994 08:49:37 GMT
std::optional<int64_t> parse_imf_fixdate(std::string_view text) {
  const bool is_shaped = text.size() == http_date_bytes && is_day_name(text.substr(0, 3)) &&
                         text.substr(3, 2) == ", " && text[7] == ' ' && text[11] == ' ' &&
                         text[16] == ' ' && text.substr(25) == " GMT";
  if (!is_shaped) return std::nullopt;
  return join({.year = number(text.substr(12, 4)),
               .month = month_of(text.substr(8, 3)),
               .day = number(text.substr(5, 2))},
              text.substr(17, 8));
}

// Sunday, 06-Nov-94 08:49:37 GMT
std::optional<int64_t> parse_rfc850(std::string_view text, int64_t now_unix_s) {
  const size_t comma = std::min(text.find(','), text.size());
  const auto is_this = [&](std::string_view name) { return name == text.substr(0, comma); };
  if (std::none_of(std::begin(long_day_names), std::end(long_day_names), is_this)) {
    return std::nullopt;
  }
  const std::string_view rest = text.substr(comma);
  const bool is_shaped = rest.size() == 24 && rest.starts_with(", ") && rest[4] == '-' &&
                         rest[8] == '-' && rest[11] == ' ' && rest.substr(20) == " GMT";
  const int64_t short_year = is_shaped ? number(rest.substr(9, 2)) : -1;
  if (short_year < 0) return std::nullopt;
  const Civil now = civil_from(std::clamp(now_unix_s, int64_t{0}, last_s) / day_s);
  Civil date{.year = now.year / 100 * 100 + 100 + short_year,
             .month = month_of(rest.substr(5, 3)),
             .day = number(rest.substr(2, 2))};
  // RFC 9110 section 5.6.7: the latest century that is not more than 50 years ahead.
  const int64_t limit_days = days_from({now.year + 50, now.month, now.day});
  while (days_from(date) > limit_days) date.year -= 100;
  return join(date, rest.substr(12, 8));
}

// Sun Nov  6 08:49:37 1994
std::optional<int64_t> parse_asctime(std::string_view text) {
  const bool is_shaped = text.size() == 24 && is_day_name(text.substr(0, 3)) && text[3] == ' ' &&
                         text[7] == ' ' && text[10] == ' ' && text[19] == ' ';
  if (!is_shaped) return std::nullopt;
  const std::string_view day = text.substr(8, 2);
  return join({.year = number(text.substr(20, 4)),
               .month = month_of(text.substr(4, 3)),
               .day = number(day[0] == ' ' ? day.substr(1) : day)},
              text.substr(11, 8));
}

}  // namespace

void format_http_date(int64_t unix_s, std::span<char, http_date_bytes> out) {
  unix_s = std::clamp(unix_s, first_s, last_s);
  const int64_t second_of_day = ((unix_s % day_s) + day_s) % day_s;
  const int64_t days = (unix_s - second_of_day) / day_s;
  const Civil date = civil_from(days);
  const auto weekday = static_cast<size_t>(((days + 4) % 7 + 7) % 7);  // 1970 began on a Thursday

  char* to = out.data();
  std::memcpy(to, "Sun, 06 Nov 1994 08:49:37 GMT", http_date_bytes);
  std::memcpy(to, day_names.data() + weekday * 3, 3);
  put_two(to + 5, date.day);
  std::memcpy(to + 8, month_names.data() + (date.month - 1) * 3, 3);
  put_two(to + 12, date.year / 100);
  put_two(to + 14, date.year % 100);
  put_two(to + 17, second_of_day / 3600);
  put_two(to + 20, second_of_day / 60 % 60);
  put_two(to + 23, second_of_day % 60);
}

std::optional<int64_t> parse_http_date(std::string_view text, int64_t now_unix_s) {
  if (text.size() == http_date_bytes && text[3] == ',') return parse_imf_fixdate(text);
  if (text.find(',') != std::string_view::npos) return parse_rfc850(text, now_unix_s);
  return parse_asctime(text);
}

}  // namespace sluice::http
