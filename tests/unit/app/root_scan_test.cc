#include "root_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class RootScanTest : public testing::Test {
 protected:
  RootScanTest() {
    std::string name = (fs::temp_directory_path() / "sluice-scan-XXXXXX").string();
    root = mkdtemp(name.data());
  }
  ~RootScanTest() override { fs::remove_all(root); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  /// Long after everything that was written: "+path" for new or changed, "-path" for gone.
  std::vector<std::string> look(int64_t later_ns = 10'000'000'000) {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    std::vector<std::string> out;
    for (const RootScan::Change& each :
         scan.look(now.tv_sec * 1'000'000'000 + now.tv_nsec + later_ns)) {
      out.push_back((each.gone ? "-" : "+") + each.path);
    }
    return out;
  }

  fs::path root;
  RootScan scan{root.string(), 4};
};

TEST_F(RootScanTest, TellsWhatIsNewChangedAndGone) {
  write("a", "1");
  write("d/e/b", "2");
  scan = RootScan(root.string(), 4);
  EXPECT_THAT(look(), UnorderedElementsAre("+a", "+d/e/b"));
  EXPECT_THAT(look(), IsEmpty());
  write("a", "other");
  fs::remove(root / "d/e/b");
  EXPECT_THAT(look(), UnorderedElementsAre("+a", "-d/e/b"));
  EXPECT_THAT(look(), IsEmpty());
}

TEST_F(RootScanTest, AReplacedFileOfTheSameSizeHasChanged) {
  scan = RootScan(root.string(), 4);
  write("a", "1");
  EXPECT_THAT(look(), UnorderedElementsAre("+a"));
  write("b", "2");
  fs::rename(root / "b", root / "a");
  EXPECT_THAT(look(), UnorderedElementsAre("+a"));
}

TEST_F(RootScanTest, WhatChangedAMomentAgoIsLeftForLater) {
  scan = RootScan(root.string(), 4);
  write("a", "1");
  EXPECT_THAT(look(0), IsEmpty());
  EXPECT_THAT(look(), UnorderedElementsAre("+a"));
  write("a", "2");
  EXPECT_THAT(look(0), IsEmpty());  // nor is it gone
  EXPECT_THAT(look(), UnorderedElementsAre("+a"));
}

TEST_F(RootScanTest, TakesFilesAlone) {
  scan = RootScan(root.string(), 4);
  write("d/f", "1");
  ASSERT_EQ(mkfifo((root / "fifo").c_str(), 0600), 0);
  fs::create_symlink("d/f", root / "link");
  fs::create_directory_symlink("..", root / "d/up");  // would go round and round
  fs::create_symlink("nowhere", root / "dangling");
  EXPECT_THAT(look(), UnorderedElementsAre("+d/f", "+link"));
}

TEST_F(RootScanTest, SaysWhenThereAreTooMany) {
  scan = RootScan(root.string(), 4);
  for (const char* name : {"1", "2", "3", "4", "5", "6"}) write(name, "x");
  EXPECT_EQ(look().size(), 4u);
  EXPECT_TRUE(scan.is_full());
  EXPECT_THAT(look(), IsEmpty());
  for (const char* name : {"1", "2", "3"}) fs::remove(root / name);
  look();
  look();
  EXPECT_FALSE(scan.is_full());
}

}  // namespace
}  // namespace sluice::app
