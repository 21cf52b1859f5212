#include "control/replica_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/command_line.h"
#include "control/config_file.h"

namespace sluice::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> base = {"serve", "--root", "/srv",        "--port",
                                       "tap",   "--ip",   "192.0.2.1/24"};
const std::vector<std::string> pair = {
    "--node-name",   "a",    "--replica-listen", "192.0.2.1:7010",
    "--cluster-key", "/key", "--peer",           "b.example:7010"};

Result<CommandLine> parse(const std::vector<std::string>& first,
                          const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = base;
  arguments.insert(arguments.end(), first.begin(), first.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  return parse_command_line(arguments);
}

std::string refusal(const std::vector<std::string>& first,
                    const std::vector<std::string>& more = {}) {
  const Result<CommandLine> parsed = parse(first, more);
  return parsed ? "" : parsed.error().message;
}

TEST(ReplicaOptions, OffByDefault) {
  const Result<CommandLine> line = parse({});
  ASSERT_TRUE(line);
  EXPECT_FALSE(line->options.replica.enabled());
}

TEST(ReplicaOptions, ANameAnAddressAKeyAndPeersAreEnough) {
  const Result<CommandLine> line = parse(pair, {"--peer", "[2001:db8::3]:7010"});
  ASSERT_TRUE(line) << line.error().message;
  const ReplicaOptions& options = line->options.replica;
  EXPECT_TRUE(options.enabled());
  EXPECT_EQ(options.node_name, "a");
  EXPECT_EQ(options.listen, "192.0.2.1:7010");
  EXPECT_EQ(options.cluster_key_file, "/key");
  EXPECT_THAT(options.peers, ElementsAre("b.example:7010", "[2001:db8::3]:7010"));
  EXPECT_EQ(options.copies, 0);
  EXPECT_EQ(options.hold_percent, 50);
  EXPECT_FALSE(options.hold_bytes);
  EXPECT_EQ(options.rate_bytes_per_s, 0u);
  EXPECT_EQ(options.share_percent, 50);
  EXPECT_EQ(options.scrub_bytes_per_s, 64u << 20);
  EXPECT_EQ(options.rdma, Rdma::automatic);
}

TEST(ReplicaOptions, EverythingElse) {
  const Result<CommandLine> line =
      parse(pair, {"--copies", "2", "--hold", "80%", "--replica-rate", "1.5G/s", "--replica-share",
                   "30%", "--scrub-rate", "0", "--rdma", "required", "--rdma-device", "mlx5_0"});
  ASSERT_TRUE(line) << line.error().message;
  const ReplicaOptions& options = line->options.replica;
  EXPECT_EQ(options.copies, 2);
  EXPECT_EQ(options.hold_percent, 80);
  EXPECT_EQ(options.rate_bytes_per_s, 1'610'612'736u);
  EXPECT_EQ(options.share_percent, 30);
  EXPECT_EQ(options.scrub_bytes_per_s, 0u);
  EXPECT_EQ(options.rdma, Rdma::required);
  EXPECT_EQ(options.rdma_device, "mlx5_0");
  const Result<CommandLine> sized = parse(pair, {"--hold", "3G"});
  ASSERT_TRUE(sized);
  EXPECT_EQ(sized->options.replica.hold_bytes, 3u << 30);
}

TEST(ReplicaOptions, EtcdInsteadOfPeers) {
  const std::vector<std::string> cluster = {"--node-name",      "a",
                                            "--replica-listen", "[2001:db8::1]:7010",
                                            "--cluster-key",    "/key",
                                            "--etcd",           "http://192.0.2.9:2379",
                                            "--etcd",           "https://etcd.example:2379/"};
  const Result<CommandLine> line = parse(cluster, {"--copies", "5"});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_THAT(line->options.replica.etcd,
              ElementsAre("http://192.0.2.9:2379", "https://etcd.example:2379/"));
  EXPECT_THAT(refusal(cluster, {"--peer", "b:1"}),
              HasSubstr("--peer and --etcd exclude each other"));
}

TEST(ReplicaOptions, InTheConfigFileToo) {
  const Result<ConfigFile> file = parse_config(
      "root = \"/srv\"\nport = \"tap\"\nip = \"192.0.2.1/24\"\nnode-name = \"a\"\n"
      "replica-listen = \"192.0.2.1:7010\"\ncluster-key = \"/key\"\ncopies = 2\nhold = \"60%\"\n"
      "peer = [\"b:7010\", \"c:7010\"]\n");
  ASSERT_TRUE(file) << file.error().message;
  const Result<ServeOptions> options = understand(file->settings);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_THAT(options->replica.peers, ElementsAre("b:7010", "c:7010"));
  EXPECT_EQ(options->replica.copies, 2);
}

TEST(ReplicaOptions, SaysWhatIsMissing) {
  EXPECT_THAT(refusal({"--peer", "b:7010"}), HasSubstr("--node-name NAME is missing"));
  EXPECT_THAT(refusal({"--copies", "2"}), HasSubstr("--node-name NAME is missing"));
  EXPECT_THAT(refusal({"--node-name", "a"}), HasSubstr("--replica-listen IP:PORT is missing"));
  EXPECT_THAT(refusal({"--node-name", "a", "--replica-listen", "192.0.2.1:1"}),
              HasSubstr("--cluster-key FILE is missing"));
  EXPECT_THAT(
      refusal({"--node-name", "a", "--replica-listen", "192.0.2.1:1", "--cluster-key", "/k"}),
      HasSubstr("--peer HOST:PORT or --etcd URL is missing"));
}

TEST(ReplicaOptions, SaysWhatIsWrong) {
  EXPECT_THAT(refusal(pair, {"--node-name", "a b"}), HasSubstr("--node-name: 'a b'"));
  EXPECT_THAT(refusal(pair, {"--replica-listen", "0.0.0.0:7010"}),
              HasSubstr("--replica-listen: 0.0.0.0 is no address that peers could dial"));
  EXPECT_THAT(refusal(pair, {"--replica-listen", "localhost:7010"}),
              HasSubstr("'localhost' is not an address"));
  for (const char* bad : {"192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", ":7010",
                          "2001:db8::1:7010", "[::1:7010", "a b:1", "[]:1", ""}) {
    EXPECT_THAT(refusal(pair, {"--peer", bad}), HasSubstr("is not HOST:PORT")) << bad;
  }
  for (const char* bad : {"192.0.2.9:2379", "ftp://x:1", "http://x", ""}) {
    EXPECT_THAT(refusal(pair, {"--etcd", bad}), HasSubstr("http://192.0.2.9:2379")) << bad;
  }
  EXPECT_THAT(refusal(pair, {"--copies", "0"}), HasSubstr("--copies"));
  EXPECT_THAT(refusal(pair, {"--copies", "17"}), HasSubstr("--copies"));
  EXPECT_THAT(refusal(pair, {"--copies", "3"}), HasSubstr("--copies 3: there are 2 nodes"));
  EXPECT_THAT(refusal(pair, {"--hold", "100%"}), HasSubstr("from 1% to 90%"));
  EXPECT_THAT(refusal(pair, {"--hold", "x"}), HasSubstr("--hold"));
  EXPECT_THAT(refusal(pair, {"--replica-share", "0"}), HasSubstr("--replica-share"));
  EXPECT_THAT(refusal(pair, {"--replica-rate", "fast"}), HasSubstr("--replica-rate"));
  EXPECT_THAT(refusal(pair, {"--rdma", "maybe"}), HasSubstr("--rdma: 'maybe' is not auto or off"));
  EXPECT_THAT(refusal(pair, {"--rdma", "off", "--rdma-device", "rxe0"}),
              HasSubstr("--rdma-device and --rdma off exclude each other"));
  EXPECT_THAT(refusal(pair, {"--peer", "192.0.2.1:7010"}), HasSubstr("this node itself"));
}

}  // namespace
}  // namespace sluice::control
