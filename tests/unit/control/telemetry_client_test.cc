#include "control/telemetry_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

namespace sluice::control {
namespace {

using testing::HasSubstr;

TEST(TelemetryFraming, Hello) {
  const auto hello =
      parse_hello(R"({"version":"DPDK 22.11.11","pid":4711,"max_output_len":16384})");
  ASSERT_TRUE(hello) << hello.error().message;
  EXPECT_EQ(hello->version, "DPDK 22.11.11");
  EXPECT_EQ(hello->pid, 4711);
  EXPECT_EQ(hello->output_bytes_max, 16384u);
}

TEST(TelemetryFraming, RejectsWhatIsNoHello) {
  for (const char* packet : {"", "{}", "[]", "hello", R"({"version":"x","pid":1})",
                             R"({"version":1,"pid":1,"max_output_len":16384})",
                             R"({"version":"x","pid":"1","max_output_len":16384})",
                             R"({"version":"x","pid":1,"max_output_len":-1})",
                             R"({"version":"x","pid":1,"max_output_len":0})",
                             R"({"version":"x","pid":1,"max_output_len":99999999999})",
                             R"({"version":"x","pid":1,"max_output_len":16384)"}) {
    EXPECT_FALSE(parse_hello(packet)) << packet;
  }
}

TEST(TelemetryFraming, Requests) {
  EXPECT_EQ(frame_request("/sluice/stats", "").value(), "/sluice/stats");
  EXPECT_EQ(frame_request("/sluice/stats", "0").value(), "/sluice/stats,0");
  EXPECT_EQ(frame_request("/a", "b,c").value(), "/a,b,c");
  EXPECT_FALSE(frame_request("sluice", ""));
  EXPECT_FALSE(frame_request("", ""));
  EXPECT_FALSE(frame_request("/a,b", ""));
  EXPECT_FALSE(frame_request("/" + std::string(55, 'a'), ""));
  EXPECT_FALSE(frame_request("/a", std::string(1024, 'b')));
}

TEST(TelemetryFraming, Answers) {
  EXPECT_EQ(parse_answer("/a", R"({"/a":{"b":18446744073709551615}})").value()["b"].get<uint64_t>(),
            18446744073709551615u);
  EXPECT_EQ(parse_answer("/a", R"({"/a":["x"]})").value()[0], "x");
  EXPECT_THAT(parse_answer("/a", R"({"/a":null})").error().message, HasSubstr("refused"));
  EXPECT_THAT(parse_answer("/a", R"({"/a":{"b":1)").error().message, HasSubstr("cut off"));
  EXPECT_THAT(parse_answer("/a", R"({"/b":1})").error().message, HasSubstr("another request"));
  EXPECT_FALSE(parse_answer("/a", R"({"/a":1,"/b":2})"));
  EXPECT_FALSE(parse_answer("/a", "[]"));
  EXPECT_FALSE(parse_answer("/a", ""));
}

// A directory with one instance, whose server answers as it is told.
class TelemetryServer : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sluice-telemetry-XXXXXX";
    directory_ = mkdtemp(pattern);
    std::filesystem::create_directory(directory_ + "/one");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = directory_ + "/one/dpdk_telemetry.v2";
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    ASSERT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener_, 4), 0);
  }
  void TearDown() override {
    if (server_.joinable()) server_.join();
    close(listener_);
    std::filesystem::remove_all(directory_);
  }
  void serve(std::string hello, std::string answer) {
    server_ = std::thread([this, hello, answer] {
      const int peer = accept(listener_, nullptr, nullptr);
      char request[1024];
      bool alive = send(peer, hello.data(), hello.size(), MSG_NOSIGNAL) > 0;
      while (alive && recv(peer, request, sizeof request, 0) > 0) {
        alive = !answer.empty() && send(peer, answer.data(), answer.size(), MSG_NOSIGNAL) > 0;
      }
      close(peer);
    });
  }
  [[nodiscard]] std::string socket_path() const { return directory_ + "/one/dpdk_telemetry.v2"; }

  static constexpr const char* hello_text = R"({"version":"x","pid":1,"max_output_len":16384})";
  std::string directory_;
  int listener_ = -1;
  std::thread server_;
};

TEST_F(TelemetryServer, IsAsked) {
  serve(hello_text, R"({"/sluice/info":{"pid":7}})");
  Result<TelemetryClient> client = TelemetryClient::connect(socket_path(), 2_s);
  ASSERT_TRUE(client) << client.error().message;
  const Result<Json> answer = client->ask("/sluice/info");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ((*answer)["pid"], 7);
  EXPECT_FALSE(client->ask("/other"));  // gets the other command's answer
  *client = TelemetryClient(std::move(*client));
}

TEST_F(TelemetryServer, EndsWhileAsked) {
  serve(hello_text, "");
  Result<TelemetryClient> client = TelemetryClient::connect(socket_path(), 2_s);
  ASSERT_TRUE(client) << client.error().message;
  const Result<Json> answer = client->ask("/sluice/info");
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("/sluice/info: the process closed"));
}

TEST_F(TelemetryServer, SpeaksSomethingElse) {
  serve("220 smtp", "");
  const Result<TelemetryClient> client = TelemetryClient::connect(socket_path(), 2_s);
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().message, HasSubstr("does not speak"));
}

TEST_F(TelemetryServer, IsFoundAndStaleSocketsAreNot) {
  std::filesystem::create_directory(directory_ + "/stale");
  std::filesystem::create_directory(directory_ + "/empty");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory_ + "/stale/dpdk_telemetry.v2";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int gone = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  ASSERT_EQ(bind(gone, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  close(gone);

  const auto found = find_instances(directory_);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "one");
  EXPECT_EQ(found[0].socket_path, socket_path());
  EXPECT_TRUE(find_instances("/nowhere").empty());
  EXPECT_FALSE(TelemetryClient::connect(path, 1_s));
}

}  // namespace
}  // namespace sluice::control
