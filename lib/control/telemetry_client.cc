#include "control/telemetry_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace sluice::control {
namespace {

// DPDK 22.11, lib/telemetry/telemetry.c: MAX_CMD_LEN, and the buffer of client_handler().
constexpr size_t command_bytes_max = 55;
constexpr size_t request_bytes_max = 1023;
// Larger announcements are not believed.
constexpr uint32_t output_bytes_limit = 16u << 20;
constexpr uint32_t hello_bytes_max = 1024;

constexpr std::string_view socket_name = "dpdk_telemetry.v2";

std::string last_error() {
  return std::strerror(errno);
}

constexpr time_t connect_patience_s = 2;

int open_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  // A process that stands still (SIGSTOP) takes no more connections at some time: not for ever.
  const timeval limit{.tv_sec = connect_patience_s, .tv_usec = 0};
  const bool limited = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0;
  if (!limited || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

}  // namespace

Result<TelemetryHello> parse_hello(std::string_view packet) {
  const Json json = Json::parse(packet, nullptr, false);
  const auto is_hello = [&] {
    return json.is_object() && json.contains("version") && json["version"].is_string() &&
           json.contains("pid") && json["pid"].is_number_integer() &&
           json.contains("max_output_len") && json["max_output_len"].is_number_unsigned();
  };
  if (!is_hello()) return fail("does not speak DPDK's telemetry protocol v2");
  const auto bytes = json["max_output_len"].get<uint64_t>();
  if (bytes < 64 || bytes > output_bytes_limit) {
    return fail(fmt::format("announces answers of {} bytes", bytes));
  }
  return TelemetryHello{.version = json["version"].get<std::string>(),
                        .pid = json["pid"].get<int64_t>(),
                        .output_bytes_max = static_cast<uint32_t>(bytes)};
}

Result<std::string> frame_request(std::string_view command, std::string_view parameters) {
  if (!command.starts_with('/')) {
    return fail(fmt::format("'{}' is not a command: they begin with a slash", command));
  }
  if (command.size() > command_bytes_max || command.find(',') != std::string_view::npos) {
    return fail(fmt::format("'{}' is not a command: too long, or a comma in it", command));
  }
  std::string request(command);
  if (!parameters.empty()) {
    request += ',';
    request += parameters;
  }
  if (request.size() > request_bytes_max) return fail("too long: requests end at 1023 bytes");
  return request;
}

Result<Json> parse_answer(std::string_view command, std::string_view packet) {
  Json json = Json::parse(packet, nullptr, false);
  if (json.is_discarded()) return fail("the answer is no JSON: it was cut off, perhaps");
  if (!json.is_object() || json.size() != 1 || json.begin().key() != command) {
    return fail("the answer belongs to another request");
  }
  Json& value = json.begin().value();
  if (value.is_null()) return fail("refused: unknown command or wrong parameters");
  return std::move(value);
}

std::string telemetry_directory() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  std::string run = variable("RUNTIME_DIRECTORY");
  if (run.empty()) {
    if (geteuid() == 0) {
      run = "/var/run";
    } else {
      run = variable("XDG_RUNTIME_DIR");
      if (run.empty()) run = "/tmp";
    }
  }
  return run + "/dpdk";
}

std::string socket_of(const std::string& directory, std::string_view instance) {
  return (std::filesystem::path(directory) / instance / socket_name).string();
}

std::vector<TelemetryInstance> find_instances(const std::string& directory) {
  std::vector<TelemetryInstance> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::filesystem::path path = entry.path() / socket_name;
    // A socket file that nobody listens on was left behind by a process that was killed.
    const int fd = open_socket(path.string());
    if (fd < 0) continue;
    close(fd);
    found.push_back({entry.path().filename().string(), path.string()});
  }
  std::sort(found.begin(), found.end(),
            [](const TelemetryInstance& a, const TelemetryInstance& b) { return a.name < b.name; });
  return found;
}

Result<TelemetryClient> TelemetryClient::connect(const std::string& socket_path, Duration timeout) {
  TelemetryClient client;
  client.socket_ = open_socket(socket_path);
  if (client.socket_ < 0) {
    return fail(fmt::format("{}: nobody listens there ({})", socket_path, last_error()));
  }
  timeval limit{};
  limit.tv_sec = timeout.ms() / 1000;
  limit.tv_usec = timeout.us() % 1'000'000;
  if (setsockopt(client.socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      setsockopt(client.socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
    return fail(fmt::format("{}: {}", socket_path, last_error()));
  }
  client.buffer_.resize(hello_bytes_max);
  Result<std::string> packet = client.receive();
  if (!packet) return fail(packet.error().in(socket_path));
  Result<TelemetryHello> hello = parse_hello(*packet);
  if (!hello) return fail(hello.error().in(socket_path));
  client.hello_ = *std::move(hello);
  client.buffer_.resize(client.hello_.output_bytes_max);
  return client;
}

TelemetryClient::TelemetryClient(TelemetryClient&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      hello_(std::move(other.hello_)),
      buffer_(std::move(other.buffer_)) {}

TelemetryClient& TelemetryClient::operator=(TelemetryClient&& other) noexcept {
  std::swap(socket_, other.socket_);
  std::swap(hello_, other.hello_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

TelemetryClient::~TelemetryClient() {
  if (socket_ >= 0) close(socket_);
}

Result<std::string> TelemetryClient::receive() {
  ssize_t n = 0;
  do {
    n = recv(socket_, buffer_.data(), buffer_.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return fail("the process closed the connection (it ended, or has too many clients)");
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return fail("no answer in time");
    return fail(last_error());
  }
  return std::string(buffer_.data(), static_cast<size_t>(n));
}

Result<Json> TelemetryClient::ask(std::string_view command, std::string_view parameters) {
  const std::string context(command);
  const Result<std::string> request = frame_request(command, parameters);
  if (!request) return fail(request.error());
  if (send(socket_, request->data(), request->size(), MSG_NOSIGNAL) < 0) {
    return fail(Error{last_error()}.in(context));
  }
  Result<std::string> packet = receive();
  if (!packet) return fail(packet.error().in(context));
  Result<Json> answer = parse_answer(command, *packet);
  if (!answer) return fail(answer.error().in(context));
  return answer;
}

}  // namespace sluice::control
