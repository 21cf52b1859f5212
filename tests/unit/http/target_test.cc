#include "http/target.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace sluice::http {
namespace {

struct Resolved {
  Status status;
  std::string path;
  bool is_directory;
};

Resolved resolve(std::string_view path) {
  Request request;
  request.path = path;
  std::array<char, 64> buffer;
  const ResolvedTarget target = resolve_target(request, buffer);
  return {target.status, std::string(target.path), target.is_directory};
}

void expect_file(std::string_view path, std::string_view expected) {
  const Resolved resolved = resolve(path);
  EXPECT_EQ(resolved.status, Status::ok) << path;
  EXPECT_EQ(resolved.path, expected) << path;
  EXPECT_FALSE(resolved.is_directory) << path;
}

void expect_directory(std::string_view path, std::string_view expected) {
  const Resolved resolved = resolve(path);
  EXPECT_EQ(resolved.status, Status::ok) << path;
  EXPECT_EQ(resolved.path, expected) << path;
  EXPECT_TRUE(resolved.is_directory) << path;
}

TEST(Target, IsRelativeToTheRoot) {
  expect_directory("/", "");
  expect_file("/a", "a");
  expect_file("/a/b.mp4", "a/b.mp4");
  expect_directory("/a/", "a");
  expect_directory("/a/b/", "a/b");
}

TEST(Target, IsDecodedOnce) {
  expect_file("/%61", "a");
  expect_file("/a%20b", "a b");
  expect_file("/a+b", "a+b");
  expect_file("/%25", "%");
  expect_file("/%2541", "%41");
  expect_file("/%252e%252e", "%2e%2e");
  expect_file("/%c3%A4", "\xc3\xa4");
  expect_file("/%5C..%5c", "\\..\\");
  expect_file("/a%0d%0Ab", "a\r\nb");
  expect_file("/a%3Fb%23c", "a?b#c");
}

TEST(Target, DotPartsAreResolved) {
  expect_file("/./a", "a");
  expect_file("/a/./b", "a/b");
  expect_file("/a/../b", "b");
  expect_file("/a/b/../c", "a/c");
  expect_file("/a/b/../../c", "c");
  expect_file("/a/%2e/%2E%2e/b", "b");
  expect_directory("/.", "");
  expect_directory("/a/.", "a");
  expect_directory("/a/b/..", "a");
  expect_directory("/a/..", "");
  expect_directory("/a/%2e%2e/", "");
}

TEST(Target, PartsOfOtherDotsAreNames) {
  expect_file("/...", "...");
  expect_file("/.a", ".a");
  expect_file("/..a", "..a");
  expect_file("/a..", "a..");
}

TEST(Target, RunsOfSlashesAreOne) {
  expect_directory("//", "");
  expect_file("//a", "a");
  expect_file("/a///b", "a/b");
  expect_directory("/a//", "a");
  expect_file("/a//../b", "b");
}

TEST(Target, NothingIsAboveTheRoot) {
  for (const std::string_view path : {"/..", "/../", "/../a", "/a/../..", "/%2e%2e", "/.%2e/a",
                                      "/a/../../b", "/./..", "//..", "/a/b/../../../c"}) {
    EXPECT_EQ(resolve(path).status, Status::bad_request) << path;
  }
}

TEST(Target, BadEscapesAreRefused) {
  for (const std::string_view path :
       {"/%", "/%4", "/%4g", "/%g4", "/a%", "/%%34", "/% 41", "/%00", "/a%00.mp4", "/%/a"}) {
    EXPECT_EQ(resolve(path).status, Status::bad_request) << path;
  }
}

TEST(Target, NoFileNameHoldsASlash) {
  EXPECT_EQ(resolve("/a%2Fb").status, Status::not_found);
  EXPECT_EQ(resolve("/..%2f..%2fetc").status, Status::not_found);
}

TEST(Target, PathsLongerThanTheBufferAreRefused) {
  expect_file("/" + std::string(64, 'a'), std::string(64, 'a'));
  EXPECT_EQ(resolve("/" + std::string(65, 'a')).status, Status::uri_too_long);
  EXPECT_EQ(resolve("/" + std::string(63, 'a') + "/b").status, Status::uri_too_long);
  EXPECT_EQ(resolve("/" + std::string(62, 'a') + "/bc").status, Status::uri_too_long);
  expect_file("/" + std::string(62, 'a') + "/b", std::string(62, 'a') + "/b");
  expect_directory("/" + std::string(64, 'a') + "/", std::string(64, 'a'));
  expect_file("/" + std::string(61, 'a') + "/../b", "b");
}

TEST(Target, FormsWithoutAPathAreRefused) {
  EXPECT_EQ(resolve("").status, Status::bad_request);
  EXPECT_EQ(resolve("*").status, Status::bad_request);
}

}  // namespace
}  // namespace sluice::http
