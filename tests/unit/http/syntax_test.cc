#include "http/syntax.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::http {
namespace {

TEST(Syntax, TokenBytesAreThoseOfTheRfc) {
  // RFC 9110 section 5.6.2.
  const std::string_view others = "!#$%&'*+-.^_`|~";
  for (int c = 0; c < 256; ++c) {
    const bool is_alnum =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool expected =
        is_alnum || (c != 0 && others.find(static_cast<char>(c)) != std::string_view::npos);
    EXPECT_EQ(is_in(static_cast<char>(c), character::token), expected) << c;
  }
}

TEST(Syntax, PathsAndQueriesHoldNoSpaceControlQuoteAngleNumberSignOrHighByte) {
  for (int c = 0; c < 256; ++c) {
    const bool is_visible = c > 0x20 && c < 0x7f;
    const bool is_excluded = c == '"' || c == '<' || c == '>' || c == '#';
    EXPECT_EQ(is_in(static_cast<char>(c), character::query), is_visible && !is_excluded) << c;
    EXPECT_EQ(is_in(static_cast<char>(c), character::path),
              is_visible && !is_excluded && c != '?' && c != '\\')
        << c;
  }
}

TEST(Syntax, FindsEveryControlByteAtEveryPlace) {
  for (int c = 0; c < 256; ++c) {
    for (size_t at = 0; at < 19; ++at) {
      std::string text(19, '\xff');
      text[at] = static_cast<char>(c);
      const bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
      EXPECT_EQ(find_control(text, 0), is_control ? at : text.size()) << c << " at " << at;
      EXPECT_EQ(find_control(text, at + 1), text.size());
    }
  }
}

TEST(Syntax, FindsTheFirstControlByteBehindTabs) {
  EXPECT_EQ(find_control("\t\t\t\t\t\t\t\t\t\r\n", 0), 9U);
  EXPECT_EQ(find_control("abc\tdef\x7f\x01", 0), 7U);
  EXPECT_EQ(find_control("", 0), 0U);
}

TEST(Syntax, ListsPassOverEmptyMembers) {
  ListCursor list(" , a ,,\tb,c ,");
  std::string_view member;
  ASSERT_TRUE(list.next(member));
  EXPECT_EQ(member, "a");
  ASSERT_TRUE(list.next(member));
  EXPECT_EQ(member, "b");
  ASSERT_TRUE(list.next(member));
  EXPECT_EQ(member, "c");
  EXPECT_FALSE(list.next(member));
}

TEST(Syntax, CaseIsFoldedForLettersOnly) {
  EXPECT_TRUE(equals_any_case("If-None-MATCH", "if-none-match"));
  EXPECT_FALSE(equals_any_case("@", "`"));
  EXPECT_FALSE(equals_any_case("\r", "-"));
  EXPECT_FALSE(equals_any_case("close ", "close"));
}

}  // namespace
}  // namespace sluice::http
