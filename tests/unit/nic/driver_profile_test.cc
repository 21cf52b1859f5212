#include "nic/driver_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "nic/paths.h"

namespace sluice::nic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string content_of(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class ProfileDirectory : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("sluice-profiles-" + std::to_string(getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return (directory_ / name).string();
  }
  /// tap.toml with one line changed.
  std::string write_changed(const std::string& from, const std::string& to) {
    std::string text = content_of(fs::path(source_drivers_directory) / "tap.toml");
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return write("changed.toml", text);
  }

  fs::path directory_;
};

TEST(DriversConfig, EveryFileIsComplete) {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(source_drivers_directory)) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    const auto profile = read_profile(entry.path().string());
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_FALSE(profile->title.empty()) << entry.path();
    EXPECT_GT(profile->verified.size(), 20u) << entry.path();
    EXPECT_EQ(profile->verified.find("PLACEHOLDER"), std::string::npos) << entry.path();
    if (profile->driver != "default") {
      EXPECT_FALSE(profile->pmd_names.empty());
    }
    const auto both = [](bool use, bool avoid) { return use && avoid; };
    EXPECT_FALSE(both(profile->use.rx_checksum, profile->avoid.rx_checksum));
    EXPECT_FALSE(both(profile->use.tx_checksum, profile->avoid.tx_checksum));
    EXPECT_FALSE(both(profile->use.tcp_segmentation, profile->avoid.tcp_segmentation));
    EXPECT_FALSE(both(profile->use.chained_mbufs, profile->avoid.chained_mbufs));
    // Each wish is stated one way or the other.
    EXPECT_TRUE(profile->use.chained_mbufs || profile->avoid.chained_mbufs) << entry.path();
    EXPECT_TRUE(profile->use.tcp_segmentation || profile->avoid.tcp_segmentation) << entry.path();
    if (profile->polling == Polling::adaptive) {
      EXPECT_GT(profile->sleep_us_max, 0u) << entry.path();
    }
  }
  EXPECT_GE(files, 17u);
}

TEST(DriversConfig, EveryFileIsInstalled) {
  const std::string build = content_of(fs::path(source_drivers_directory) / "meson.build");
  for (const auto& entry : fs::directory_iterator(source_drivers_directory)) {
    if (entry.path().extension() == ".toml") {
      EXPECT_THAT(build, HasSubstr("'" + entry.path().filename().string() + "'"));
    }
  }
}

TEST(DriversConfig, DriversOfTheIssueAreThere) {
  for (const char* name :
       {"net_tap",      "net_af_packet", "net_af_xdp", "net_memif",       "net_null",
        "net_ring",     "net_pcap",      "net_virtio", "net_virtio_user", "net_vmxnet3",
        "net_e1000_em", "net_e1000_igb", "net_ixgbe",  "net_ixgbe_vf",    "net_i40e",
        "net_iavf",     "net_ice",       "mlx5_pci",   "net_bnxt",        "net_ena"}) {
    const auto profile = find_profile(source_drivers_directory, name);
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_FALSE(profile->is_default) << name;
  }
}

TEST(FindProfile, TakesTheShortNameToo) {
  EXPECT_EQ(find_profile(source_drivers_directory, "tap")->driver, "tap");
  EXPECT_EQ(find_profile(source_drivers_directory, "net_e1000_em")->driver, "e1000");
}

TEST(FindProfile, FallsBackToTheDefault) {
  const auto profile = find_profile(source_drivers_directory, "net_nobody");
  ASSERT_TRUE(profile);
  EXPECT_TRUE(profile->is_default);
  EXPECT_FALSE(profile->use.tcp_segmentation);
}

TEST(FindProfile, NamesCannotLeaveTheDirectory) {
  const auto profile = find_profile(source_drivers_directory, "../lib/tap");
  ASSERT_TRUE(profile);
  EXPECT_TRUE(profile->is_default);
}

TEST_F(ProfileDirectory, FailsWithoutADefault) {
  EXPECT_FALSE(find_profile(directory_.string(), "net_tap"));
}

TEST_F(ProfileDirectory, OptionWinsOverEnvironment) {
  setenv("SLUICE_DRIVERS_CONFIG", "/", 1);
  EXPECT_EQ(drivers_config_directory(directory_.string()).value(), directory_.string());
  EXPECT_EQ(drivers_config_directory("").value(), "/");
  setenv("SLUICE_DRIVERS_CONFIG", "/nowhere", 1);
  EXPECT_FALSE(drivers_config_directory(""));
  unsetenv("SLUICE_DRIVERS_CONFIG");
  EXPECT_TRUE(drivers_config_directory(""));
}

TEST_F(ProfileDirectory, ComplaintsNameFileAndKey) {
  struct Case {
    const char* from;
    const char* to;
    const char* says;
  };
  for (const Case& one : {
           Case{"burst = 32", "burst = 65", "queues.burst must be from 1 to 64"},
           Case{"burst = 32", "burst = \"32\"", "queues.burst must be a whole number"},
           Case{"burst = 32", "", "queues.burst is missing"},
           Case{"burst = 32", "burst = 32\nbrust = 32", "queues.brust is not a key"},
           Case{"mode = \"kernel\"", "mode = \"magic\"", "steering.mode must be one of: software"},
           Case{"derive_mac = true", "derive_mac = 1", "quirks.derive_mac must be true or false"},
           Case{"use = [\"chained_mbufs\"]", "use = [\"lro\"]", "not lro"},
           Case{"use = [\"chained_mbufs\"]", "use = \"lro\"", "must be a list"},
           Case{"use = [\"chained_mbufs\"]", "use = [1]", "must be a list"},
           Case{"[quirks]", "[quirk", "changed.toml:"},
           Case{"[quirks]", "[quirk]", "quirk"},
       }) {
    const std::string path = write_changed(one.from, one.to);
    const auto profile = read_profile(path);
    ASSERT_FALSE(profile) << one.to;
    EXPECT_THAT(profile.error().message, HasSubstr("changed.toml"));
    EXPECT_THAT(profile.error().message, HasSubstr(one.says));
  }
}

TEST_F(ProfileDirectory, MissingFileIsNamed) {
  EXPECT_THAT(read_profile("/nowhere/x.toml").error().message, HasSubstr("/nowhere/x.toml"));
}

}  // namespace
}  // namespace sluice::nic
