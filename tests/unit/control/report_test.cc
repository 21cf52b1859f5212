#include "control/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::control {
namespace {

using testing::HasSubstr;
using testing::Not;

const Json& stats() {
  static const Json json = Json::parse(
      R"({"wire":{"rx_frames":1234567,"tx_frames":0},"tcp":{"tcp_resets":0,"bad":"x"}})");
  return json;
}

TEST(Report, FlattenKeepsNumbersAlone) {
  EXPECT_EQ(flatten(stats()).dump(), R"({"rx_frames":1234567,"tx_frames":0,"tcp_resets":0})");
  EXPECT_EQ(flatten(Json::array()).dump(), "{}");
  EXPECT_EQ(flatten(Json::parse(R"({"a":1})")).dump(), "{}");
}

TEST(Report, StatsLeaveOutZerosUnlessAsked) {
  const std::string text = format_stats(stats(), {});
  EXPECT_THAT(text, HasSubstr("wire\n"));
  EXPECT_THAT(text, HasSubstr("1,234,567"));
  EXPECT_THAT(text, Not(HasSubstr("tx_frames")));
  EXPECT_THAT(text, Not(HasSubstr("tcp\n")));
  EXPECT_THAT(format_stats(stats(), {.zeros = true}), HasSubstr("tcp_resets"));
  EXPECT_EQ(format_stats(Json("odd"), {}), "");
}

TEST(Report, RatesAreOfWhatChanged) {
  const Json after = Json::parse(R"({"wire":{"rx_frames":1234767,"tx_frames":0}})");
  const std::string text = format_rates(stats(), after, 2.0);
  EXPECT_THAT(text, HasSubstr("100/s"));
  EXPECT_THAT(text, Not(HasSubstr("tx_frames")));
  EXPECT_THAT(format_rates(after, stats(), 2.0), HasSubstr("-100/s"));
  EXPECT_EQ(format_rates(stats(), after, 0), "");
}

TEST(Report, AConnectionIsFourLines) {
  const Json row = Json::parse(
      R"({"peer":"10.0.0.1:4000","local":"10.0.0.2:80","state":"established","mss":1448,
          "srtt_us":1500,"acknowledged":7})");
  const std::string text = format_connection(row);
  EXPECT_THAT(text, HasSubstr("10.0.0.2:80 -> 10.0.0.1:4000\n"));
  EXPECT_THAT(text, HasSubstr("mss:1448"));
  EXPECT_THAT(text, HasSubstr("rtt:1.500"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_THAT(format_connection(Json::object()), HasSubstr("?"));
}

TEST(Report, ListsComeAsDictionaries) {
  const Json list = Json::parse(R"({"0":{"a":1},"1":{"a":2}})");
  EXPECT_TRUE(is_list(list));
  EXPECT_EQ(as_list(list).dump(), R"([{"a":1},{"a":2}])");
  EXPECT_FALSE(is_list(Json::object()));
  EXPECT_FALSE(is_list(Json::parse(R"({"0":1})")));
  EXPECT_EQ(as_list(Json(1)).dump(), "[]");
}

TEST(Report, DictionariesAreAligned) {
  EXPECT_EQ(format_dictionary(Json::parse(R"({"a":1,"long":"text"})")), "a:     1\nlong:  text\n");
  EXPECT_EQ(format_dictionary(Json(7)), "7\n");
}

}  // namespace
}  // namespace sluice::control
