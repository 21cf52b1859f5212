#include "control/quantity.h"

#include <gtest/gtest.h>

namespace sluice::control {
namespace {

TEST(Size, UnitsArePowersOf1024) {
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("64K").value(), 65536u);
  EXPECT_EQ(parse_size("64k").value(), 65536u);
  EXPECT_EQ(parse_size("64KiB").value(), 65536u);
  EXPECT_EQ(parse_size("64kB").value(), 65536u);
  EXPECT_EQ(parse_size("512M").value(), 512u << 20);
  EXPECT_EQ(parse_size("1.5G").value(), 1536u << 20);
  EXPECT_EQ(parse_size("2T").value(), uint64_t{2} << 40);
  EXPECT_EQ(parse_size("100B").value(), 100u);
}

TEST(Size, RejectsWhatIsNone) {
  for (const char* text : {"", "G", "-1", "+1", " 1", "1 G", "1X", "1GG", "1.G", "1.5", "0x10",
                           "1.2345G", "9999999999G", "99999999999999999999", "iB", "1Gi"}) {
    EXPECT_FALSE(parse_size(text).has_value()) << text;
  }
}

TEST(DurationText, UnitsFromMicrosecondsToHours) {
  EXPECT_EQ(parse_duration("30").value(), 30_s);
  EXPECT_EQ(parse_duration("30s").value(), 30_s);
  EXPECT_EQ(parse_duration("1.5s").value(), 1500_ms);
  EXPECT_EQ(parse_duration("500ms").value(), 500_ms);
  EXPECT_EQ(parse_duration("250us").value(), 250_us);
  EXPECT_EQ(parse_duration("2m").value(), 120_s);
  EXPECT_EQ(parse_duration("1h").value(), 3600_s);
  for (const char* text : {"", "s", "1 s", "-1s", "1d", "99999999999h"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
}

TEST(CoreList, NumbersAndRangesInTheOrderWritten) {
  EXPECT_EQ(parse_core_list("0").value(), (std::vector<uint32_t>{0}));
  EXPECT_EQ(parse_core_list("8,1-3").value(), (std::vector<uint32_t>{8, 1, 2, 3}));
  for (const char* text :
       {"", ",", "1,", ",1", "3-1", "1-", "1,1", "0-3,2", "a", "1024", "0-99999999999"}) {
    EXPECT_FALSE(parse_core_list(text).has_value()) << text;
  }
}

TEST(CoreList, IsWrittenAsItIsRead) {
  EXPECT_EQ(format_core_list({1, 2, 3, 7}), "1-3,7");
  EXPECT_EQ(format_core_list({8, 1}), "8,1");
  EXPECT_EQ(format_core_list({}), "");
}

TEST(Number, NamesTheRange) {
  EXPECT_EQ(parse_number("80", {.least = 1, .most = 65535}).value(), 80u);
  EXPECT_EQ(parse_number("0", {.least = 1, .most = 65535}).error().message,
            "'0' is not a number from 1 to 65535");
  EXPECT_FALSE(parse_number("65536", {.least = 1, .most = 65535}).has_value());
  EXPECT_FALSE(parse_number("80a", {.least = 1, .most = 65535}).has_value());
  EXPECT_FALSE(parse_number("", {.least = 0, .most = 65535}).has_value());
}

TEST(Format, SizesAndCounts) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(256u << 20), "256 MiB");
  EXPECT_EQ(format_size((uint64_t{1} << 40) + (uint64_t{1} << 38)), "1.25 TiB");
  EXPECT_EQ(format_size(uint64_t{5000} << 40), "5000 TiB");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234567), "1,234,567");
}

}  // namespace
}  // namespace sluice::control
