#include "http/authority.h"

#include <gtest/gtest.h>

namespace sluice::http {
namespace {

TEST(Authority, AcceptsNamesAddressesAndPorts) {
  for (const std::string_view text :
       {"example.org", "example.org:", "example.org:80", "a:65535", "10.0.0.2:8080", "localhost",
        "under_score", "xn--bcher-kva.example", "%C3%A4.example", "a!$&'()*+,;=b", "[::]", "[::1]",
        "[fd00::1]:80", "[1:2:3:4:5:6:7:8]", "[1::3:4:5:6:7:8]", "[::ffff:192.0.2.1]",
        "[1:2:3:4:5:6:192.0.2.1]", "[v1.fe80:a]", "256.1.1.1"}) {
    EXPECT_TRUE(is_authority(text, {})) << text;
  }
}

TEST(Authority, RefusesEverythingElse) {
  for (const std::string_view text : {"a:65536",
                                      "a:99999999999999999999",
                                      "a:8o",
                                      "a:-1",
                                      "a:80:80",
                                      "user@host",
                                      "u:p@host",
                                      "a b",
                                      "a/b",
                                      "a?b",
                                      "a#b",
                                      "a\\b",
                                      "a\"b",
                                      "%",
                                      "%4",
                                      "%4g",
                                      "[",
                                      "[]",
                                      "[::1",
                                      "::1",
                                      "[::1]x",
                                      "[::1]:x",
                                      "[1:2:3:4:5:6:7]",
                                      "[1:2:3:4:5:6:7:8:9]",
                                      "[1::2::3]",
                                      "[:1]",
                                      "[1:]",
                                      "[:::]",
                                      "[12345::]",
                                      "[::192.0.2]",
                                      "[::192.0.2.256]",
                                      "[::1.2.3.4:5]",
                                      "[1:2:3:4:5:6:7:1.2.3.4]",
                                      "[::01.2.3.4]",
                                      "[fe80::1%25eth0]",
                                      "[v1.]",
                                      "[v.a]",
                                      "[va]",
                                      "\x80",
                                      ":",
                                      ":80"}) {
    EXPECT_FALSE(is_authority(text, {})) << text;
  }
}

TEST(Authority, OnlyAHostFieldMayBeEmpty) {
  EXPECT_TRUE(is_authority("", {.may_be_empty = true}));
  EXPECT_FALSE(is_authority("", {}));
  EXPECT_FALSE(is_authority(":80", {.may_be_empty = true}));
}

TEST(Authority, ConnectNeedsAPort) {
  EXPECT_TRUE(is_authority("a:443", {.needs_port = true}));
  EXPECT_FALSE(is_authority("a", {.needs_port = true}));
  EXPECT_FALSE(is_authority("a:", {.needs_port = true}));
}

}  // namespace
}  // namespace sluice::http
