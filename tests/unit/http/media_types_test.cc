#include "http/media_types.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::http {
namespace {

constexpr std::string_view system_text =
    "# a comment\n"
    "\n"
    "application/json\t\t\tjson\n"
    "application/ace+cbor\n"
    "text/html   html htm\tshtml # and a comment\n"
    "text/vnd.trolltech.linguist\tts\n"
    "video/MP4 mp4 MPG4\r\n"
    "text/other html\n"
    "not-a-type bad1\n"
    "/x bad2\n"
    "x/ bad3\n"
    "a b/c bad4\n"
    "text/pl\x01in bad5\n"
    "application/gzip gz";

TEST(MediaTypes, FindsTheTypeOfTheLastExtension) {
  const MediaTypes types(system_text);
  EXPECT_EQ(types.of("a.json"), "application/json");
  EXPECT_EQ(types.of("dir.html/a.json"), "application/json");
  EXPECT_EQ(types.of("x/y/a.tar.gz"), "application/gzip");
  EXPECT_EQ(types.of("a.shtml"), "text/html");
}

TEST(MediaTypes, CaseDoesNotMatter) {
  const MediaTypes types(system_text);
  EXPECT_EQ(types.of("A.JSON"), "application/json");
  EXPECT_EQ(types.of("a.mpg4"), "video/mp4");
}

TEST(MediaTypes, FallsBackWhereThereIsNoExtension) {
  const MediaTypes types(system_text);
  for (const std::string_view path : {"", "a", ".json", "dir/.json", "dir.json/", "dir.json/a",
                                      "a.", "a.unheardof", "a.json ", "a.jsonx", "a.jso"}) {
    EXPECT_EQ(types.of(path), default_media_type) << path;
  }
  EXPECT_EQ(types.of("a." + std::string(10'000, 'x')), default_media_type);
}

TEST(MediaTypes, TheFirstLineCounts) {
  EXPECT_EQ(MediaTypes(system_text).of("a.html"), "text/html");
}

TEST(MediaTypes, MalformedTypesAreLeftOut) {
  const MediaTypes types(system_text);
  for (const std::string_view path : {"a.bad1", "a.bad2", "a.bad3", "a.bad4", "a.bad5"}) {
    EXPECT_EQ(types.of(path), default_media_type) << path;
  }
  const std::string overlong = "text/" + std::string(media_type_max_bytes, 'x') + " long\n";
  EXPECT_EQ(MediaTypes(overlong).of("a.long"), default_media_type);
}

TEST(MediaTypes, TransportStreamsAreVideo) {
  EXPECT_EQ(MediaTypes(system_text).of("segment0001.ts"), "video/mp2t");
}

TEST(MediaTypes, KnowsTheUsualOnesWithoutAFile) {
  const MediaTypes types("");
  EXPECT_EQ(types.of("index.html"), "text/html");
  EXPECT_EQ(types.of("live.m3u8"), "application/vnd.apple.mpegurl");
  EXPECT_EQ(types.of("a.mpd"), "application/dash+xml");
  EXPECT_EQ(types.of("a.m4s"), "video/iso.segment");
  EXPECT_GT(types.size(), 30U);
}

TEST(MediaTypes, AnyTextIsTaken) {
  std::string text;
  for (int i = 0; i < 256; ++i) text.push_back(static_cast<char>(i));
  EXPECT_EQ(MediaTypes(text).of("a.css"), "text/css");
  text += '\n';
  for (int i = 0; i < 3000; ++i) text += "a/b e" + std::to_string(i) + "\n";
  const MediaTypes types(text);
  EXPECT_EQ(types.of("x.e0"), "a/b");
  EXPECT_EQ(types.of("x.e2999"), "a/b");
  EXPECT_EQ(types.of("x.e3000"), default_media_type);
}

}  // namespace
}  // namespace sluice::http
