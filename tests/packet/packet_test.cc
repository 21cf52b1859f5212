// Plays every script of tests/packet/scripts; each is one test, named after its file.

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "player.h"

namespace sluice::packet {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> all_scripts() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(SLUICE_PACKET_SCRIPTS)) {
    if (entry.path().extension() == ".pkt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

class PacketScript : public testing::TestWithParam<fs::path> {};

TEST_P(PacketScript, Plays) {
  std::ifstream in(GetParam());
  std::ostringstream contents;
  contents << in.rdbuf();
  const std::string text = contents.str();
  EXPECT_TRUE(text.starts_with("// ")) << "a script begins with what it shows, and the section";
  Script script;
  Staging staging;
  std::string error;
  ASSERT_TRUE(parse_script(text, script, error)) << GetParam() << ": " << error;
  ASSERT_TRUE(make_staging(script, staging, error)) << GetParam() << ": " << error;
  error = Player(staging).play(script);
  EXPECT_TRUE(error.empty()) << GetParam().string() << ": " << error;
}

INSTANTIATE_TEST_SUITE_P(Scripts, PacketScript, testing::ValuesIn(all_scripts()),
                         [](const testing::TestParamInfo<fs::path>& script) {
                           return script.param.stem().string();
                         });

TEST(Script, RefusesNonsenseWithTheLine) {
  Script script;
  std::string error;
  EXPECT_FALSE(parse_script("+0 < S 0:0(0) win 1\n+0 > S. 0:1(0) ack 1\n", script, error));
  EXPECT_EQ(error, "line 2: not a packet: > S. 0:1(0) ack 1");
  EXPECT_FALSE(parse_script("soon < S 0:0(0)\n", script, error));
  EXPECT_EQ(error, "line 1: not a time: soon");
}

}  // namespace
}  // namespace sluice::packet
