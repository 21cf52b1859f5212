#include "http/entity_tag.h"

#include <gtest/gtest.h>

#include "parsed.h"

namespace sluice::http {
namespace {

const EntityTag own(0x0123456789abcdefULL);

bool if_match(const Request& request) {
  return any_tag_matches(request, request.if_match, "if-match", own, TagComparison::strong);
}
bool if_none_match(const Request& request) {
  return any_tag_matches(request, request.if_none_match, "if-none-match", own, TagComparison::weak);
}
bool matches(const std::string& value) {
  const Parsed request{"GET / HTTP/1.1", "Host: a", "If-None-Match: " + value};
  return if_none_match(*request);
}
bool matches_strongly(const std::string& value) {
  const Parsed request{"GET / HTTP/1.1", "Host: a", "If-Match: " + value};
  return if_match(*request);
}

TEST(EntityTag, IsSixteenHexDigitsInQuotes) {
  EXPECT_EQ(own.text(), "\"0123456789abcdef\"");
  EXPECT_EQ(EntityTag(0).text(), "\"0000000000000000\"");
  EXPECT_EQ(EntityTag(~uint64_t{0}).text(), "\"ffffffffffffffff\"");
}

TEST(EntityTag, WeakComparisonTakesBothKinds) {
  EXPECT_TRUE(matches("\"0123456789abcdef\""));
  EXPECT_TRUE(matches("W/\"0123456789abcdef\""));
  EXPECT_FALSE(matches("\"0123456789abcdee\""));
}

TEST(EntityTag, StrongComparisonTakesOnlyStrongTags) {
  EXPECT_TRUE(matches_strongly("\"0123456789abcdef\""));
  EXPECT_FALSE(matches_strongly("W/\"0123456789abcdef\""));
}

TEST(EntityTag, AnyMemberOfAListCounts) {
  EXPECT_TRUE(matches("\"x\", \"0123456789abcdef\""));
  EXPECT_TRUE(matches(",\"x\",,W/\"y\" ,\t\"0123456789abcdef\","));
  EXPECT_TRUE(matches("\"a,b\",\"0123456789abcdef\""));
  EXPECT_FALSE(matches("\"x\", \"y\""));
  EXPECT_FALSE(matches("\"x,\"0123456789abcdef\""));
}

TEST(EntityTag, StarMatchesAloneOnly) {
  EXPECT_TRUE(matches("*"));
  EXPECT_FALSE(matches("\"x\", *"));
  EXPECT_FALSE(matches("*, \"x\""));
  EXPECT_FALSE(matches("**"));
}

TEST(EntityTag, MalformedMembersEndTheList) {
  for (const std::string value :
       {"0123456789abcdef", "'0123456789abcdef'", "\"0123456789abcdef", "0123456789abcdef\"",
        "w/\"0123456789abcdef\"", "W/0123456789abcdef", "W/ \"0123456789abcdef\"", "W/", "\"", "",
        "x, \"0123456789abcdef\"", "\"x\" \"0123456789abcdef\"", "\"x\"\"0123456789abcdef\"",
        "\"0123456789ABCDEF\"", "\"a b\", \"0123456789abcdef\""}) {
    EXPECT_FALSE(matches(value)) << value;
  }
}

TEST(EntityTag, SeveralLinesAreOneList) {
  const Parsed request{"GET / HTTP/1.1", "If-None-Match: \"x\"", "Host: a",
                       "if-none-match: \"0123456789abcdef\""};
  EXPECT_TRUE(if_none_match(*request));
  const Parsed other{"GET / HTTP/1.1", "If-None-Match: \"x\"", "Host: a", "If-None-Match: \"y\""};
  EXPECT_FALSE(if_none_match(*other));
  const Parsed star{"GET / HTTP/1.1", "If-None-Match: \"x\"", "Host: a", "If-None-Match: *"};
  EXPECT_FALSE(if_none_match(*star));
}

TEST(EntityTag, OneTagMustBeTheWholeText) {
  EXPECT_TRUE(tag_matches("\"0123456789abcdef\"", own, TagComparison::strong));
  EXPECT_FALSE(tag_matches("\"0123456789abcdef\" ", own, TagComparison::strong));
  EXPECT_FALSE(tag_matches("\"0123456789abcdef\",\"x\"", own, TagComparison::strong));
  EXPECT_FALSE(tag_matches("", own, TagComparison::weak));
}

}  // namespace
}  // namespace sluice::http
