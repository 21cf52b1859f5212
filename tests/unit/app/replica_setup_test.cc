#include "replica_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace sluice::app {
namespace {

using testing::HasSubstr;

class ClusterKey : public testing::Test {
 protected:
  ClusterKey() {
    std::string name = "/tmp/sluice-key-XXXXXX";
    close(mkstemp(name.data()));
    path = name;
  }
  ~ClusterKey() override { unlink(path.c_str()); }
  Result<std::vector<std::byte>> read(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return read_cluster_key(path);
  }
  std::string path;
};

TEST_F(ClusterKey, IsTheFileWithoutItsLastLineEnd) {
  const std::string secret = "0123456789abcdef0123";
  for (const char* end : {"", "\n", "\r\n"}) {
    const auto key = read(secret + end);
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_EQ(as_text(*key), secret);
  }
  EXPECT_TRUE(read(secret, 0640));
}

TEST_F(ClusterKey, IsRefusedWhereItIsNoSecret) {
  EXPECT_THAT(read("0123456789abcdef0123", 0644).error().message, HasSubstr("run chmod 600"));
  EXPECT_THAT(read("short\n").error().message, HasSubstr("5 bytes are too short"));
  EXPECT_THAT(read(std::string(4'097, 'x')).error().message, HasSubstr("longer than 4096"));
  EXPECT_THAT(read_cluster_key("/nowhere/key").error().message,
              HasSubstr("--cluster-key /nowhere/key: No such file"));
}

TEST(NodeId, IsTheNamesAlone) {
  EXPECT_EQ(node_id_of("alpha"), node_id_of("alpha"));
  EXPECT_NE(node_id_of("alpha"), node_id_of("beta"));
  EXPECT_FALSE(node_id_of("alpha").is_none());
}

TEST(Resolve, GivesTheAddressInThePlaceOfTheName) {
  EXPECT_EQ(*resolve("192.0.2.1:7010"), "192.0.2.1:7010");
  EXPECT_EQ(*resolve("[2001:db8::1]:7010"), "[2001:db8::1]:7010");
  EXPECT_FALSE(resolve("no.such.host.invalid:7010"));
  EXPECT_FALSE(resolve("192.0.2.1"));
}

}  // namespace
}  // namespace sluice::app
