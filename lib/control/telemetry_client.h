// TelemetryClient: the other end of DPDK's telemetry socket (protocol v2), without DPDK.
//
// Read first: https://doc.dpdk.org/guides/howto/telemetry.html. A Unix socket of packets: the
// server says hello with {"version", "pid", "max_output_len"}; then each packet "/command,params"
// is answered by one packet {"/command": value}, value null for a command that is unknown or
// failed. Blocking, with a time-out; one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace sluice::control {

using Json = nlohmann::ordered_json;

/// What the server said first.
struct TelemetryHello {
  std::string version;
  int64_t pid = 0;
  uint32_t output_bytes_max = 0;
};

// Framing: what a packet holds. Pure; for the client and its tests.

/// Errors: not a hello.
[[nodiscard]] Result<TelemetryHello> parse_hello(std::string_view packet);
/// "/command" or "/command,parameters".
/// Errors: no slash in front, or longer than the server reads (1023 bytes; the command alone 55).
[[nodiscard]] Result<std::string> frame_request(std::string_view command,
                                                std::string_view parameters);
/// The value that the answer to `command` holds.
/// Errors: not JSON (cut off at the server's limit, perhaps), another command's answer, null.
[[nodiscard]] Result<Json> parse_answer(std::string_view command, std::string_view packet);

/// A running process that listens.
struct TelemetryInstance {
  std::string name;  // the directory's name, "sluice-1234"
  std::string socket_path;
};

/// Where DPDK of this user keeps its sockets: $RUNTIME_DIRECTORY or /var/run for root, else
/// $XDG_RUNTIME_DIR or /tmp; "/dpdk" appended.
[[nodiscard]] std::string telemetry_directory();
/// Where the socket of the process of that name is.
[[nodiscard]] std::string socket_of(const std::string& directory, std::string_view instance);
/// Every socket below `directory` on which a process listens, by name.
[[nodiscard]] std::vector<TelemetryInstance> find_instances(const std::string& directory);

class TelemetryClient {
 public:
  /// Errors: nobody listens, or not with this protocol.
  [[nodiscard]] static Result<TelemetryClient> connect(const std::string& socket_path,
                                                       Duration timeout);

  TelemetryClient(TelemetryClient&& other) noexcept;
  TelemetryClient& operator=(TelemetryClient&& other) noexcept;
  TelemetryClient(const TelemetryClient&) = delete;
  TelemetryClient& operator=(const TelemetryClient&) = delete;
  ~TelemetryClient();

  /// Errors: as frame_request() and parse_answer(); no answer in time; the process is gone.
  [[nodiscard]] Result<Json> ask(std::string_view command, std::string_view parameters = {});
  [[nodiscard]] const TelemetryHello& hello() const { return hello_; }

 private:
  TelemetryClient() = default;
  [[nodiscard]] Result<std::string> receive();

  int socket_ = -1;
  TelemetryHello hello_;
  std::string buffer_;
};

}  // namespace sluice::control
