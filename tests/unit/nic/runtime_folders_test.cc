#include "nic/runtime_folders.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace sluice::nic {
namespace {

namespace fs = std::filesystem;

class RuntimeFolders : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sluice-folders-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    parent = pattern;
    const pid_t child = fork();
    if (child == 0) _exit(0);
    ASSERT_GT(child, 0);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    gone = "sluice-" + std::to_string(child);
  }
  void TearDown() override { fs::remove_all(parent); }

  fs::path make(const std::string& name) const {
    fs::create_directory(parent / name);
    return parent / name;
  }
  /// As DPDK's telemetry does. Returns the socket that listens.
  static int listen_in(const fs::path& folder) {
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string path = (folder / "dpdk_telemetry.v2").string();
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    return listener;
  }

  fs::path parent;
  std::string gone;  // named after a process that is no more
};

TEST_F(RuntimeFolders, OfAProcessThatIsGoneIsRemoved) {
  close(listen_in(make(gone)));
  EXPECT_EQ(remove_left_folders(parent), 1u);
  EXPECT_FALSE(fs::exists(parent / gone));
}

TEST_F(RuntimeFolders, AnEmptyOneIsRemoved) {
  make(gone);
  EXPECT_EQ(remove_left_folders(parent), 1u);
  EXPECT_FALSE(fs::exists(parent / gone));
}

TEST_F(RuntimeFolders, OfALivingProcessStays) {
  const std::string own = "sluice-" + std::to_string(getpid());
  close(listen_in(make(own)));
  EXPECT_EQ(remove_left_folders(parent), 0u);
  EXPECT_TRUE(fs::exists(parent / own / "dpdk_telemetry.v2"));
}

TEST_F(RuntimeFolders, WhereSomebodyListensItStays) {
  const int listener = listen_in(make(gone));
  EXPECT_EQ(remove_left_folders(parent), 0u);
  EXPECT_TRUE(fs::exists(parent / gone / "dpdk_telemetry.v2"));
  close(listener);
}

TEST_F(RuntimeFolders, WhatIsNotOursStays) {
  make("rte");
  make("sluice-");
  make("sluice-12a");
  std::ofstream(make(gone) / "config") << "x";
  EXPECT_EQ(remove_left_folders(parent), 0u);
  EXPECT_TRUE(fs::exists(parent / "rte"));
  EXPECT_TRUE(fs::exists(parent / "sluice-"));
  EXPECT_TRUE(fs::exists(parent / "sluice-12a"));
  EXPECT_TRUE(fs::exists(parent / gone / "config"));
}

TEST_F(RuntimeFolders, NoFolderAtAllIsNoError) {
  EXPECT_EQ(remove_left_folders(parent / "none"), 0u);
}

}  // namespace
}  // namespace sluice::nic
